"""When something was seen, and what the clock that said so would show now.

A device's wall clock may be wrong, and be put right while captures wait. The service learns how wrong the clock was
from the time that it is told at each delivery: for a capture that waited, this must be what *the clock it was stamped
with* would show by then, had nobody touched it. The kernel's count since it started, which nobody can set, tells how
long ago that was. After a restart of the device nothing tells it, and the heartbeats from back then have to do.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Stamp:
    """One reading of the device's clocks: the wall's, and `up_s` seconds since the start of system `boot_id`."""

    wall: datetime
    up_s: float
    boot_id: str

    def carried_on(self, now: "Stamp") -> datetime | None:
        """What this reading's wall clock would show at `now`, had it not been set; None if the device has restarted."""
        if self.boot_id != now.boot_id or now.up_s < self.up_s:
            return None
        return self.wall + timedelta(seconds=now.up_s - self.up_s)


def read_clocks() -> Stamp:
    """Both clocks, now."""
    return Stamp(datetime.now(UTC), _up_s(), _boot_id())


def _up_s() -> float:
    """Counts on while the device sleeps, where the system offers that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:  # not Linux: each process counts for itself
        return f"process {time.time() - time.monotonic():.0f}"

"""What waits for the networks, in two lines, and which of it is run together next."""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import inf
from typing import Final

from app.inference.admission import NOTHING, Size
from app.inference.port import Analysis, Ask, BatchLimits, Lane

# Bulk work that has waited this long is run once before more interactive work is: a job goes on, slowly, at a door
# where somebody always waits.
BULK_PATIENCE_S: Final = 2.0


@dataclass(slots=True, eq=False)
class Waiting:
    """An ask in its lane, since when, and what its caller looks at."""

    ask: Ask
    lane: Lane
    since_s: float
    future: Future[Analysis] = field(default_factory=Future)
    size: Size = field(init=False)

    def __post_init__(self) -> None:
        self.size = Size(self.ask.n_images, self.ask.n_pixels)


class Lanes:
    """Two first-in-first-out lines. Not safe for several threads at once."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._lines: dict[Lane, deque[Waiting]] = {lane: deque() for lane in Lane}
        self._sizes = dict.fromkeys(Lane, NOTHING)
        self._bulk_ran_s = -inf

    def size(self, lane: Lane) -> Size:
        """How much waits in a lane."""
        return self._sizes[lane]

    def n_asks(self, lane: Lane) -> int:
        return len(self._lines[lane])

    def add(self, waiting: Waiting) -> None:
        self._lines[waiting.lane].append(waiting)
        self._sizes[waiting.lane] += waiting.size

    def remove(self, future: Future[Analysis]) -> None:
        """Take out of its lane whoever looks at this, if they are still there."""
        for lane, line in self._lines.items():
            for waiting in line:
                if waiting.future is future:
                    line.remove(waiting)
                    self._sizes[lane] -= waiting.size
                    return

    def clear(self) -> list[Waiting]:
        """Take out everybody."""
        everybody = [waiting for lane in Lane for waiting in self._lines[lane]]
        for lane in Lane:
            self._lines[lane].clear()
            self._sizes[lane] = NOTHING
        return everybody

    def next_lane(self, now_s: float, *, may_be_bulk: bool = True) -> Lane | None:
        """Whose turn it is; None when nothing waits that may run."""
        bulk = self._lines[Lane.BULK] if may_be_bulk else None
        if bulk and now_s - max(bulk[0].since_s, self._bulk_ran_s) >= BULK_PATIENCE_S:
            return Lane.BULK
        if self._lines[Lane.INTERACTIVE]:
            return Lane.INTERACTIVE
        return Lane.BULK if bulk else None

    def linger_s(self, lane: Lane, now_s: float) -> float:
        """How much longer its first ask had better wait for more to share its batch; 0 when it is to be run now."""
        if len(self._batch(lane)) < self.n_asks(lane) or self._sizes[lane].n_images >= self._limits.max_images:
            return 0.0
        return max(0.0, self._lines[lane][0].since_s + self._limits.linger_s - now_s)

    def take(self, lane: Lane, now_s: float) -> list[Waiting]:
        """The next batch of a lane, without those who have been cancelled; may be empty for that reason."""
        batch = self._batch(lane)
        if lane is Lane.BULK:
            self._bulk_ran_s = now_s
        for waiting in batch:
            self._lines[lane].popleft()
            self._sizes[lane] -= waiting.size
        return [waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()]

    def _batch(self, lane: Lane) -> list[Waiting]:
        """In order, up to the first that no longer fits: nobody is overtaken."""
        batch: list[Waiting] = []
        total = NOTHING
        for waiting in self._lines[lane]:
            total += waiting.size
            if batch and (total.n_images > self._limits.max_images or total.n_pixels > self._limits.max_pixels):
                break
            batch.append(waiting)
        return batch

"""When something really happened: what a device's clock said, corrected by how wrong that clock is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from app.cameras.clocks import clock_offset_s
from app.db.tables import Camera
from app.errors import ProblemError

# Clocks that are set by the network differ by less; more is a clock that nobody has measured.
FUTURE_S: Final = 300.0
# As far back as anybody may write an event by hand: payrolls are not reopened later.
_OLDEST_BY_HAND: Final = timedelta(days=1100)


@dataclass(frozen=True, slots=True)
class Moment:
    """`captured_at` by the device's clock, `occurred_at` the true time, `clock_offset_s` later."""

    captured_at: datetime
    occurred_at: datetime
    clock_offset_s: float


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """What a request says of time: what the device's clock showed when it was sent, and when it came."""

    device_time: datetime | None
    received_at: datetime


def true_moment(
    session: Session, camera: Camera | None, captured_at: datetime | None, clock: DeviceClock, max_age_days: int
) -> Moment:
    """The moment of a capture; what cannot be is refused with 422."""
    if captured_at is None:
        return Moment(clock.received_at, clock.received_at, 0.0)
    offset_s = _offset_s(session, camera, captured_at, clock)
    occurred_at = _shifted(captured_at, offset_s)
    ahead_s = (occurred_at - clock.received_at).total_seconds()
    if ahead_s > FUTURE_S:
        detail = (
            f"captured_at is {ahead_s:.0f} s in the future. Set the device's clock, or send it along as X-Device-Time."
        )
        raise ProblemError(422, "captured_at_in_future", detail)
    if -ahead_s > timedelta(days=max_age_days).total_seconds():
        detail = (
            f"captured_at is more than {max_age_days} days ago (ROLLCALL_CAPTURE_MAX_AGE_DAYS). Set the device's "
            "clock, or write the event by hand with POST /v1/events."
        )
        raise ProblemError(422, "captured_at_too_old", detail)
    return Moment(captured_at, occurred_at, offset_s)


def refuse_impossible_time(occurred_at: datetime, now: datetime) -> None:
    """For what people write by hand."""
    if (occurred_at - now).total_seconds() > FUTURE_S:
        raise ProblemError(422, "occurred_at_in_future", "occurred_at is in the future. Nobody was there yet.")
    if now - occurred_at > _OLDEST_BY_HAND:
        detail = f"occurred_at is more than {_OLDEST_BY_HAND.days} days ago. Check the year."
        raise ProblemError(422, "occurred_at_too_old", detail)


def _offset_s(session: Session, camera: Camera | None, captured_at: datetime, clock: DeviceClock) -> float:
    if clock.device_time is not None:
        return (clock.received_at - clock.device_time).total_seconds()
    return 0.0 if camera is None else clock_offset_s(session, camera, captured_at)


def _shifted(captured_at: datetime, offset_s: float) -> datetime:
    try:
        return captured_at + timedelta(seconds=offset_s)
    except OverflowError:
        raise ProblemError(422, "captured_at_too_old", "captured_at is not a time that anything happened at.") from None

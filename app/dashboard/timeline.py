"""A day drawn along the clock: the shifts, the stays, and every time that somebody was seen. Pure; x is in percent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.attendance.shift_times import Interval
from app.db.tables import Event

_HOUR: Final = timedelta(hours=1)
# More hours than this are labelled every second, third, ... so that the figures do not touch on a phone.
_MOST_LABELS: Final = 9


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time from `x`, `width` long."""

    x: float
    width: float
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment; `kind` is in, out or none for an event, tick for an hour."""

    x: float
    at: datetime
    kind: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything on the picture. `now` is None on days that are over."""

    shifts: list[Bar]
    stays: list[Bar]
    marks: list[Mark]
    ticks: list[Mark]
    now: float | None


def timeline_of(shifts: Sequence[Interval], events: Sequence[Event], now: datetime) -> Timeline | None:
    """`events` are those that count, in order of time; None where there is nothing to draw."""
    moments = [*(at for shift in shifts for at in shift), *(event.occurred_at for event in events)]
    if not moments:
        return None
    scale = _Scale.around(min(moments), max(moments))
    return Timeline(
        shifts=[scale.bar(*shift) for shift in shifts],
        stays=[scale.bar(*stay) for stay in stays_of(events)],
        marks=[scale.mark(event.occurred_at, event.direction or "none") for event in events],
        ticks=[scale.mark(at, "tick") for at in scale.hours],
        now=scale.x(now) if scale.starts_at < now < scale.ends_at else None,
    )


def stays_of(events: Sequence[Event]) -> list[Interval]:
    """From each IN to the OUT that follows it."""
    found: list[Interval] = []
    came_at: datetime | None = None
    for event in events:
        if event.direction == "in" and came_at is None:
            came_at = event.occurred_at
        elif event.direction == "out" and came_at is not None:
            found.append((came_at, event.occurred_at))
            came_at = None
    return found


@dataclass(frozen=True, slots=True)
class _Scale:
    starts_at: datetime
    ends_at: datetime

    @classmethod
    def around(cls, first: datetime, last: datetime) -> "_Scale":
        """Whole hours, with some room on both sides."""
        starts_at = (first - _HOUR / 2).replace(minute=0, second=0, microsecond=0)
        ends_at = (last + _HOUR / 2).replace(minute=0, second=0, microsecond=0) + _HOUR
        return cls(starts_at, ends_at)

    @property
    def hours(self) -> list[datetime]:
        n_hours = int((self.ends_at - self.starts_at) / _HOUR)
        step = -(-n_hours // _MOST_LABELS)
        return [self.starts_at + _HOUR * n for n in range(step, n_hours, step)]

    def x(self, at: datetime) -> float:
        return round(100 * ((at - self.starts_at) / (self.ends_at - self.starts_at)), 2)

    def bar(self, starts_at: datetime, ends_at: datetime) -> Bar:
        return Bar(self.x(starts_at), round(self.x(ends_at) - self.x(starts_at), 2), starts_at, ends_at)

    def mark(self, at: datetime, kind: str) -> Mark:
        return Mark(self.x(at), at, kind)

"""When a shift is on some date, in some zone: wall clocks made into moments, also in nights that have none or two."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from app.attendance.plan import Break, Shift

Interval = tuple[datetime, datetime]

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ShiftTimes:
    """The moments of one shift on one date, aware UTC; without a shift, of the date itself.

    A punch may belong to it from `opens_at` to before `closes_at`.
    """

    opens_at: datetime
    starts_at: datetime
    ends_at: datetime
    closes_at: datetime
    breaks: tuple[Interval, ...] = ()


def times_of(shift: Shift, local_date: date, zone: str) -> ShiftTimes:
    rules = shift.rules
    return shift_times(
        shift.starts, shift.ends, rules.early_window_s, rules.late_window_s, rules.breaks, local_date, zone
    )


# As many shifts, dates and zones as are in use at the same time; the same ones come with every capture.
@lru_cache(maxsize=8192)
def shift_times(
    starts: time, ends: time, early_s: int, late_s: int, breaks: tuple[Break, ...], local_date: date, zone: str
) -> ShiftTimes:
    clock = ZoneInfo(zone)
    start, end = span(starts, ends, local_date)
    return ShiftTimes(
        opens_at=moment(start - timedelta(seconds=early_s), clock),
        starts_at=moment(start, clock),
        ends_at=moment(end, clock),
        closes_at=moment(end + timedelta(seconds=late_s), clock),
        breaks=tuple(break_times(pause, start, clock) for pause in breaks),
    )


@lru_cache(maxsize=2048)
def date_times(local_date: date, zone: str) -> ShiftTimes:
    """From midnight to midnight."""
    clock = ZoneInfo(zone)
    starts_at, ends_at = (moment(wall, clock) for wall in span(time(), time(), local_date))
    return ShiftTimes(starts_at, starts_at, ends_at, ends_at)


def span(starts: time, ends: time, local_date: date) -> Interval:
    """On the wall; an end that is not later than the start is on the next day."""
    start, end = datetime.combine(local_date, starts), datetime.combine(local_date, ends)
    return start, end if end > start else end + DAY


def break_times(pause: Break, shift_start: datetime, clock: ZoneInfo) -> Interval:
    """A break that comes before the shift on the clock comes after midnight; it is as long as always in any night."""
    start, end = span(pause.starts, pause.ends, shift_start.date())
    starts_at = moment(start + DAY if start < shift_start else start, clock)
    return starts_at, starts_at + (end - start)


def moment(wall: datetime, clock: ZoneInfo) -> datetime:
    """When a clock shows this time: the first time if it does so twice, or the moment at which it jumps over it.

    So of two times on the wall the later one never comes first.
    """
    at = wall.replace(tzinfo=clock, fold=0).astimezone(UTC)
    if at.astimezone(clock).replace(tzinfo=None) == wall:
        return at
    return jump_between(wall.replace(tzinfo=clock, fold=1).astimezone(UTC), at, clock)


def jump_between(before: datetime, after: datetime, clock: ZoneInfo) -> datetime:
    """The first second that has the offset of `after`."""
    offset = after.astimezone(clock).utcoffset()
    while after - before > SECOND:
        middle = before + (after - before) // SECOND // 2 * SECOND
        if middle.astimezone(clock).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after

"""How long somebody worked in one slot, how late they came, and what that makes of it. Pure.

Work is what lies between an IN and the OUT after it. Of two INs without an OUT between them the first counts, of two
OUTs the last. Time is what really went by: a night shift in which the clock is set back is an hour longer. Breaks are
taken off where they were worked through. Only work after a shift's end is overtime, not coming early; on days off and
holidays there is no overtime, nor is anybody late: all of the work is out of the ordinary there.

What a shift was, the first that applies:

1. missing out, missing in: there is an IN without an OUT after it, or no IN before the first OUT. This goes before days
   off and holidays, because somebody has to say how long the work was;
2. holiday, day off: nobody was expected;
3. absent: nobody came, or for less than the rules call an absence; half day: for less than they call a day;
4. late: the first IN is later than the grace allows; present.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from app.attendance.placing import Slot
from app.attendance.plan import DayStatus, Direction, ShiftPart
from app.attendance.presences import Presence
from app.attendance.shift_times import Interval

# What began here may end where it is another time, so that a clock says nothing of how late that can be.
_EVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stay:
    """What presences say about one slot: INs and OUTs in order, and the work between them.

    `worked` leaves out what already counts for another shift of the day; `pauses` were punched.
    """

    slot: Slot
    marks: tuple[tuple[datetime, Direction], ...]
    worked: tuple[Interval, ...]
    pauses: tuple[Interval, ...]

    @property
    def first_in(self) -> datetime | None:
        return next((at for at, direction in self.marks if direction == "in"), None)

    @property
    def last_out(self) -> datetime | None:
        return next((at for at, direction in reversed(self.marks) if direction == "out"), None)

    @property
    def is_missing_in(self) -> bool:
        return bool(self.marks) and self.marks[0][1] == "out"

    @property
    def is_missing_out(self) -> bool:
        return bool(self.marks) and self.marks[-1][1] == "in"


@dataclass(frozen=True, slots=True)
class Figures:
    """All in seconds."""

    worked_s: int
    break_s: int
    late_s: int
    early_leave_s: int
    overtime_s: int


def stay_of(
    slot: Slot, presences: Sequence[Presence], directions: Sequence[Direction | None], counted: Sequence[Interval]
) -> Stay:
    """`counted` is the work that other shifts of the day have, so that no second is paid twice."""
    marks = tuple((presence.at, one) for presence, one in zip(presences, directions, strict=True) if one is not None)
    worked = between_in_and_out(marks)
    pauses = [(left, back) for (_, left), (back, _) in zip(worked, worked[1:], strict=False)]
    return Stay(slot, marks, tuple(without(worked, counted)), tuple(without(pauses, counted)))


def between_in_and_out(marks: Iterable[tuple[datetime, Direction]]) -> list[Interval]:
    """The first of several INs, and the last of several OUTs; an OUT before any IN says nothing."""
    found: list[Interval] = []
    came: datetime | None = None
    for at, direction in marks:
        if direction == "in":
            came = came or at
        elif came is not None:
            found.append((came, at))
            came = None
        elif found:
            found[-1] = (found[-1][0], at)
    return found


def figures_of(stay: Stay) -> Figures:
    slot = stay.slot
    times = slot.times
    unpaid_s = overlap_s(stay.worked, times.breaks)
    core = (times.starts_at, times.ends_at) if slot.shift else (times.starts_at, _EVER)
    is_expected = slot.shift is not None and slot.expectation == "expected"
    return Figures(
        worked_s=max(0, seconds(stay.worked) - unpaid_s),
        break_s=unpaid_s + overlap_s(stay.pauses, [core]),
        late_s=late_s(stay) if is_expected else 0,
        early_leave_s=early_leave_s(stay) if is_expected else 0,
        overtime_s=overlap_s(stay.worked, [(times.ends_at, _EVER)]) if is_expected else 0,
    )


def late_s(stay: Stay) -> int:
    """From the start on, if it is more than the grace. Unknown, so 0, if the check-in was forgotten."""
    if stay.slot.shift is None or stay.first_in is None or stay.is_missing_in:
        return 0
    late = (stay.first_in - stay.slot.times.starts_at).total_seconds()
    return int(late) if late > stay.slot.shift.rules.grace_in_s else 0


def early_leave_s(stay: Stay) -> int:
    """Up to the end, if it is more than the grace. Unknown, so 0, if the check-out was forgotten."""
    if stay.slot.shift is None or stay.last_out is None or stay.is_missing_out:
        return 0
    early = (stay.slot.times.ends_at - stay.last_out).total_seconds()
    return int(early) if early > stay.slot.shift.rules.grace_out_s else 0


def status_of(stay: Stay, figures: Figures) -> DayStatus:
    """The first that applies, as listed above."""
    slot = stay.slot
    if stay.is_missing_out or stay.is_missing_in:
        return DayStatus.MISSING_OUT if stay.is_missing_out else DayStatus.MISSING_IN
    if slot.expectation in ("holiday", "day_off"):
        return DayStatus(slot.expectation)
    if slot.shift is None:
        return DayStatus.PRESENT
    if not stay.marks or figures.worked_s < slot.shift.rules.absent_below_s:
        return DayStatus.ABSENT
    if figures.worked_s < slot.shift.rules.half_day_below_s:
        return DayStatus.HALF_DAY
    return DayStatus.LATE if figures.late_s else DayStatus.PRESENT


def part_of(stay: Stay, figures: Figures, status: DayStatus, explanation: str) -> ShiftPart:
    shift, times = stay.slot.shift, stay.slot.times
    return ShiftPart(
        shift_id=shift.id if shift else None,
        shift_name=shift.name if shift else None,
        expected_from=times.starts_at if shift else None,
        expected_to=times.ends_at if shift else None,
        first_in=stay.first_in,
        last_out=stay.last_out,
        worked_s=figures.worked_s,
        break_s=figures.break_s,
        late_s=figures.late_s,
        early_leave_s=figures.early_leave_s,
        overtime_s=figures.overtime_s,
        status=status,
        explanation=explanation,
    )


def seconds(intervals: Iterable[Interval]) -> int:
    return int(sum((end - start for start, end in intervals), timedelta()).total_seconds())


def overlap_s(intervals: Iterable[Interval], others: Sequence[Interval]) -> int:
    """`others` must not overlap each other."""
    pairs = ((max(a, c), min(b, d)) for a, b in intervals for c, d in others)
    return seconds((start, end) for start, end in pairs if end > start)


def without(intervals: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """What of the first lies outside the second."""
    left = list(intervals)
    for start, end in others:
        pieces = (piece for a, b in left for piece in ((a, min(b, start)), (max(a, end), b)))
        left = [(a, b) for a, b in pieces if b > a]
    return left

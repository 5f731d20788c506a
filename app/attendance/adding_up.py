"""A day from its shifts. Pure.

What a day of several shifts was: missing out or missing in if one of them is; else absent if nobody came to any shift
that was expected, a half day if somebody came to some only, or too short; else late, present, a holiday, a day off.
"""

from collections.abc import Sequence
from datetime import datetime

from app.attendance.explaining import day_words
from app.attendance.placing import Expectation, Slot
from app.attendance.plan import DayStatus, ShiftPart, WorkedDay

_MISSING = (DayStatus.MISSING_OUT, DayStatus.MISSING_IN)
_NOT_DUE = {DayStatus.HOLIDAY, DayStatus.DAY_OFF}
_SHORT = {DayStatus.ABSENT, DayStatus.HALF_DAY}
_REST = (DayStatus.LATE, DayStatus.PRESENT, DayStatus.HOLIDAY, DayStatus.DAY_OFF)


def day_of(
    date_slot: Slot, parts: Sequence[ShiftPart], closes_at: datetime, n_events: int, holiday: str | None
) -> WorkedDay:
    return WorkedDay(
        local_date=date_slot.local_date,
        zone=date_slot.zone,
        status=day_status([(part.status, part.shift_id is not None) for part in parts], date_slot.expectation),
        first_in=min((part.first_in for part in parts if part.first_in), default=None),
        last_out=max((part.last_out for part in parts if part.last_out), default=None),
        worked_s=sum(part.worked_s for part in parts),
        break_s=sum(part.break_s for part in parts),
        late_s=sum(part.late_s for part in parts),
        early_leave_s=sum(part.early_leave_s for part in parts),
        overtime_s=sum(part.overtime_s for part in parts),
        n_events=n_events,
        closes_at=closes_at,
        explanation=day_words(parts, date_slot.expectation, holiday),
        parts=tuple(parts),
    )


def day_status(statuses: Sequence[tuple[DayStatus, bool]], expectation: Expectation) -> DayStatus:
    """`statuses` are those of the parts, and whether each is a shift: other work does not make up for one."""
    found = {status for status, _ in statuses}
    for missing in _MISSING:
        if missing in found:
            return missing
    due = {status for status, is_shift in statuses if is_shift} - _NOT_DUE
    if due & _SHORT:
        return DayStatus.ABSENT if due == {DayStatus.ABSENT} else DayStatus.HALF_DAY
    empty = DayStatus.HOLIDAY if expectation == "holiday" else DayStatus.DAY_OFF
    return next((status for status in _REST if status in found), empty)

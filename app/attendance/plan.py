"""What the rules of attendance take and return: punches and shifts in, days with an explanation out. Plain data."""

from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum
from typing import Literal

Direction = Literal["in", "out"]


class DirectionRule(StrEnum):
    """What a punch is when its camera does not say: every other one out, or only the day's last one."""

    ALTERNATING = "alternating"
    FIRST_LAST = "first_last"


class DayStatus(StrEnum):
    """What a day was. Only the first three are decided by how long somebody worked."""

    PRESENT = "present"
    LATE = "late"
    HALF_DAY = "half_day"
    ABSENT = "absent"
    MISSING_OUT = "missing_out"
    MISSING_IN = "missing_in"
    DAY_OFF = "day_off"
    HOLIDAY = "holiday"


@dataclass(frozen=True, slots=True)
class Punch:
    """One event of one person as the rules see it.

    `at` is aware UTC; `zone` an IANA name, that of the clock the person lived by then; `given` what its camera or
    sender says. Punches no further apart than `repeat_window_s` are one presence.
    """

    id: str
    at: datetime
    zone: str
    given: Direction | None = None
    repeat_window_s: int = 120


@dataclass(frozen=True, slots=True)
class Break:
    """A pause on the wall clock of a shift, not worked; of a shift that ends tomorrow it may be after midnight."""

    starts: time
    ends: time


@dataclass(frozen=True, slots=True)
class ShiftRules:
    """How a shift is judged; all in seconds.

    Coming up to `grace_in_s` late or leaving up to `grace_out_s` early counts as on time. Who worked less than
    `half_day_below_s` has a half day, less than `absent_below_s` is absent; 0 switches either off. A punch belongs to
    the shift from `early_window_s` before its start to `late_window_s` after its end. `breaks` are taken off what was
    worked, unless people punch out for them.
    """

    grace_in_s: int = 300
    grace_out_s: int = 300
    half_day_below_s: int = 0
    absent_below_s: int = 0
    early_window_s: int = 2 * 3600
    late_window_s: int = 6 * 3600
    direction_rule: DirectionRule = DirectionRule.ALTERNATING
    breaks: tuple[Break, ...] = ()


@dataclass(frozen=True, slots=True)
class Shift:
    """Working hours on the wall clock; `ends` not later than `starts` is on the next day. `days`: 0 is Monday."""

    id: str
    name: str
    starts: time
    ends: time
    days: frozenset[int] = frozenset({0, 1, 2, 3, 4})
    rules: ShiftRules = ShiftRules()


@dataclass(frozen=True, slots=True)
class Assignment:
    """A shift that a person works on the days from `first_date` to `last_date`; None is open.

    On days that an assignment which is not `is_standing` covers, standing ones do not count.
    """

    shift: Shift
    first_date: date | None = None
    last_date: date | None = None
    is_standing: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What is expected of one person: shifts by day, and days on which nobody is expected, with their names.

    `home_zone` is the person's own, else that of their site, for days without a punch.
    """

    assignments: tuple[Assignment, ...] = ()
    holidays: dict[date, str] = field(default_factory=dict)
    home_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class JudgedPunch:
    """What a punch turned out to be. `duplicate_of` is the id of the first punch of the same presence."""

    id: str
    local_date: date
    shift_id: str | None
    direction: Direction | None
    duplicate_of: str | None
    explanation: str


@dataclass(frozen=True, slots=True)
class ShiftPart:
    """One shift of a day, or the day itself where no shift is assigned (`shift_id` None). Times are aware UTC."""

    shift_id: str | None
    shift_name: str | None
    expected_from: datetime | None
    expected_to: datetime | None
    first_in: datetime | None
    last_out: datetime | None
    worked_s: int
    break_s: int
    late_s: int
    early_leave_s: int
    overtime_s: int
    status: DayStatus
    explanation: str


@dataclass(frozen=True, slots=True)
class WorkedDay:
    """One person's day. `closes_at`: until then a missing check-out is merely still to come. Times are aware UTC.

    `n_events` counts presences, not the punches that repeat them.
    """

    local_date: date
    zone: str
    status: DayStatus
    first_in: datetime | None
    last_out: datetime | None
    worked_s: int
    break_s: int
    late_s: int
    early_leave_s: int
    overtime_s: int
    n_events: int
    closes_at: datetime
    explanation: str
    parts: tuple[ShiftPart, ...]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the rules make of punches: each of them judged, in order of time, and each day that has one."""

    punches: tuple[JudgedPunch, ...]
    days: tuple[WorkedDay, ...]

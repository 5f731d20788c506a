"""Shifts and the roster on the wire."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, model_validator

from app.attendance.plan import DirectionRule, ShiftRules
from app.http.fields import CalendarDay, Id, Input, Name

_RULES = ShiftRules()
_WORK_DAYS = (0, 1, 2, 3, 4)
_WALL_TIME = re.compile("(?:[01][0-9]|2[0-3]):[0-5][0-9]")


def _wall_time(value: str) -> str:
    if not _WALL_TIME.fullmatch(value):
        raise ValueError("must be a time on the wall such as 09:00, up to 23:59")
    return value


def _weekdays(value: Sequence[int]) -> list[int]:
    return sorted(set(value))


WallTime = Annotated[str, AfterValidator(_wall_time)]
Seconds = Annotated[int, Field(ge=0, le=86_400)]
Weekday = Annotated[int, Field(ge=0, le=6)]
Weekdays = Annotated[list[Weekday], Field(min_length=1, max_length=7), AfterValidator(_weekdays)]


class Break(Input):
    """A pause on the wall clock of the shift."""

    starts: WallTime
    ends: WallTime


class Rules(Input):
    """How a shift is judged; all in seconds."""

    grace_in_s: Seconds = Field(_RULES.grace_in_s, description="Coming this late is still on time.")
    grace_out_s: Seconds = Field(_RULES.grace_out_s, description="Leaving this early is still on time.")
    half_day_below_s: Seconds = Field(_RULES.half_day_below_s, description="Who worked less has a half day; 0: never.")
    absent_below_s: Seconds = Field(_RULES.absent_below_s, description="Who worked less was absent; 0: nobody.")
    early_window_s: Seconds = Field(
        _RULES.early_window_s, description="How long before its start a punch belongs to it."
    )
    late_window_s: Seconds = Field(_RULES.late_window_s, description="How long after its end a punch belongs to it.")
    direction_rule: DirectionRule = Field(
        _RULES.direction_rule,
        description="What a punch is whose camera does not say: every other one out, or only the day's last one.",
    )
    breaks: list[Break] = Field(
        default_factory=list, max_length=10, description="Taken off what was worked, unless people punch out for them."
    )


class ShiftCreate(Rules):
    """A new shift. An end that is not later than its start lies on the next day."""

    name: Name
    starts: WallTime = Field(examples=["09:00"])
    ends: WallTime = Field(examples=["18:00"])
    days: Weekdays = Field(list(_WORK_DAYS), description="Weekdays on which it begins; 0 is Monday.")


class Shift(BaseModel):
    """Working hours on the wall clock."""

    id: str
    name: str
    starts: str
    ends: str
    days: list[int]
    grace_in_s: int
    grace_out_s: int
    half_day_below_s: int
    absent_below_s: int
    early_window_s: int
    late_window_s: int
    direction_rule: DirectionRule
    breaks: list[Break]
    created_at: datetime
    retired_at: datetime | None


class RosterEntryCreate(Input):
    """Somebody works a shift on some days, in place of their standing one."""

    person_id: Id
    shift_id: Id
    first_date: CalendarDay
    last_date: CalendarDay

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> "RosterEntryCreate":
        if self.last_date < self.first_date:
            raise ValueError("last_date must not be before first_date")
        return self


class RosterEntry(BaseModel):
    """Who works which shift, from the first to the last of these days; null is open."""

    id: str
    person_id: str
    shift_id: str
    first_date: date | None
    last_date: date | None
    is_standing: bool = Field(description="It is, or was, the person's `shift_id`; other entries go before it.")
    created_at: datetime
    created_by: str

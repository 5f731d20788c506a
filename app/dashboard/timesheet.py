"""A month of some people as a grid: what each day was, and what the month comes to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.attendance.days import days_of
from app.attendance.placing import Timetable
from app.attendance.plan import Plan
from app.attendance.schemas import Day
from app.dashboard.statuses import Look, Speaker, span
from app.db.tables import Person
from app.exports.totals import Totals
from app.shifts.service import plans_of

_IDLE: Final = {"day_off": "off", "holiday": "free", "expected": "none", "unplanned": "none"}


@dataclass(frozen=True, slots=True)
class Month:
    """Its first and last day; `today` is that of the deployment's clock."""

    first: date
    last: date
    today: date

    @classmethod
    def named(cls, name: str | None, now: datetime, zone: str) -> "Month":
        """The month written as `2026-11`; by default the one that it is."""
        today = now.astimezone(ZoneInfo(zone)).date()
        first = date.fromisoformat(f"{name}-01") if name else today.replace(day=1)
        return cls(first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1), today)

    @property
    def name(self) -> str:
        return _name_of(self.first)

    @property
    def before(self) -> str:
        return _name_of(self.first - timedelta(days=1))

    @property
    def after(self) -> str:
        return _name_of(self.last + timedelta(days=1))

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range(self.last.day)]


@dataclass(frozen=True, slots=True)
class Cell:
    """One person's day: a key of `statuses.LOOKS` and how it looks, with what is stored of it, if anything is.

    `approval` is `current`, `changed` since, or empty; `words` say all of it, `worked` how long somebody worked.
    """

    date: date
    status: str
    look: Look
    words: str
    worked: str
    is_early: bool
    approval: str
    day: Day | None


@dataclass(frozen=True, slots=True)
class Row:
    """One person's month."""

    person: Person
    cells: list[Cell]
    totals: Totals = field(default_factory=Totals)


def rows_of(session: Session, people: Sequence[Person], month: Month, default_zone: str, speaker: Speaker) -> list[Row]:
    """The month of each of these people, read at once; not of who has left and did not come."""
    ids = [person.id for person in people]
    if not ids:
        return []
    by_person: dict[str, dict[date, Day]] = defaultdict(dict)
    for day in days_of(session, ids, month.first, month.last, default_zone):
        by_person[day.person.id][day.date] = day
    plans = plans_of(session, ids, month.first, month.last, default_zone)
    shown = (person for person in people if person.active or by_person[person.id])
    return [_row(person, by_person[person.id], plans.get(person.id, Plan()), month, speaker) for person in shown]


def _row(person: Person, days: Mapping[date, Day], plan: Plan, month: Month, speaker: Speaker) -> Row:
    timetable = Timetable(plan)
    row = Row(person, [_cell(date_, days.get(date_), timetable, month.today, speaker) for date_ in month.days])
    for day in days.values():
        row.totals.add(day)
    return row


def _cell(date_: date, day: Day | None, timetable: Timetable, today: date, speaker: Speaker) -> Cell:
    status = day.status if day is not None else _IDLE[timetable.expectation(date_)]
    if status == "none" and date_ > today:
        status = "future"
    worked_s = day.worked_s if day is not None else 0
    is_early, approval = day is not None and day.early_leave_s > 0, _approval(day)
    holiday = timetable.plan.holidays.get(date_)
    words = speaker.words(status, holiday=holiday, worked_s=worked_s, is_early=is_early, approval=approval)
    worked = span(worked_s) if worked_s else ""
    return Cell(date_, status, speaker.looks[status], words, worked, is_early, approval, day)


def _approval(day: Day | None) -> str:
    if day is None or day.approval is None:
        return ""
    return "current" if day.approval.is_current else "changed"


def _name_of(day: date) -> str:
    return f"{day:%Y-%m}"

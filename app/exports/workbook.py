"""Days as an Excel workbook, put together as it is sent: no file, and memory grows with people, not with days."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final

from app.attendance.schemas import Day
from app.exports.rows import COLUMNS, hours, local, minutes
from app.exports.sheets import Package, Sheet
from app.exports.totals import PersonTotals

# What Excel can hold in one sheet, with its header; more days go on in another one.
MOST_ROWS: Final = 1_048_576
# "timezone" because a cell of a time cannot say it; the CSV file says the distance from UTC in each time.
DAY_COLUMNS = (*COLUMNS[:-1], "timezone", COLUMNS[-1])
TOTAL_COLUMNS = (
    "employee_code",
    "name",
    "department",
    "present_days",
    "late_days",
    "half_days",
    "absent_days",
    "missing_punch_days",
    "worked_days_off",
    "open_days",
    "worked_h",
    "late_min",
    "early_leave_min",
    "overtime_min",
)


def workbook_of(days: Iterable[Day], most_rows: int = MOST_ROWS) -> Iterator[bytes]:
    """The file in pieces: a sheet of days, or several, and one of each person's totals."""
    package = Package()
    people: dict[str, PersonTotals] = {}
    yield from _sheets(package, "Days", DAY_COLUMNS, (_counted(day, people) for day in days), most_rows)
    totals = sorted(people.values(), key=lambda total: total.employee_code)
    yield from _sheets(package, "Totals", TOTAL_COLUMNS, map(_total_cells, totals), most_rows)
    yield from package.end()


def _sheets(
    package: Package, title: str, columns: Sequence[str], rows: Iterator[Sequence[Any]], most_rows: int
) -> Iterator[bytes]:
    """As many as it takes; a sheet without rows says that there are none."""
    n_sheets = 0
    first: Sequence[Any] | None = next(rows, ())
    while first is not None:
        n_sheets += 1
        name = title if n_sheets == 1 else f"{title} {n_sheets}"
        here = chain([first], islice(rows, most_rows - 2)) if first else iter(())
        yield from package.sheet(Sheet(name, columns), here)
        first = next(rows, None)


def _counted(day: Day, people: dict[str, PersonTotals]) -> list[Any]:
    person = PersonTotals(day.person.employee_code, day.person.name, day.department)
    people.setdefault(day.person.id, person).totals.add(day)
    return _day_cells(day)


def _day_cells(day: Day) -> list[Any]:
    return [
        day.date,
        day.person.employee_code,
        day.person.name,
        day.department,
        day.status,
        _wall_time(day.first_in, day.timezone),
        _wall_time(day.last_out, day.timezone),
        hours(day.worked_s),
        minutes(day.late_s),
        minutes(day.early_leave_s),
        minutes(day.overtime_s),
        day.timezone,
        day.explanation,
    ]


def _total_cells(total: PersonTotals) -> list[Any]:
    *counts, worked_s, late_s, early_leave_s, overtime_s = astuple(total.totals)
    seconds = hours(worked_s), minutes(late_s), minutes(early_leave_s), minutes(overtime_s)
    return [total.employee_code, total.name, total.department, *counts, *seconds]


def _wall_time(at: datetime | None, zone: str) -> datetime | None:
    """Without its zone, which Excel has no place for."""
    wall = local(at, zone)
    return None if wall is None else wall.replace(tzinfo=None, microsecond=0)

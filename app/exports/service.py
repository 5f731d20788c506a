"""Puts exports together; days are read as they are written out, a block at a time."""

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date

from sqlalchemy.orm import Session

from app.attendance.days import DayRange, days_of, stream_days
from app.attendance.schemas import Day
from app.db.engine import Database
from app.db.tables import Person
from app.exports.rows import COLUMNS, ODOO_COLUMNS, day_row, odoo_rows
from app.exports.schemas import MonthSummary
from app.exports.totals import Totals
from app.exports.workbook import workbook_of
from app.identification.schemas import PersonRef
from app.people.csv_file import write_rows


def csv_lines(days: Iterator[Day]) -> Iterator[str]:
    """One row per person and day."""
    return write_rows((day_row(day) for day in days), COLUMNS)


def odoo_lines(days: Iterator[Day]) -> Iterator[str]:
    """One row per time that somebody came and went."""
    return write_rows((row for day in days for row in odoo_rows(day)), ODOO_COLUMNS)


def xlsx_pieces(days: Iterator[Day]) -> Iterator[bytes]:
    """A workbook of one row per person and day, and each person's totals."""
    return workbook_of(days)


def days_in(database: Database, wanted: DayRange, default_zone: str) -> Iterator[Day]:
    return stream_days(
        database,
        first=wanted.first,
        last=wanted.last,
        person_id=wanted.person_id,
        default_zone=default_zone,
        who=wanted.who,
    )


def month_of(month: str) -> tuple[date, date]:
    """The first and last day of a month written as `2026-11`."""
    year, number = map(int, month.split("-"))
    return date(year, number, 1), date(year, number, monthrange(year, number)[1])


def summaries(session: Session, people: Sequence[Person], month: str, default_zone: str) -> list[MonthSummary]:
    """The month of each of these people; not of who has left and did not come."""
    totals: dict[str, Totals] = {person.id: Totals() for person in people}
    n_days = dict.fromkeys(totals, 0)
    for day in days_of(session, list(totals), *month_of(month), default_zone):
        totals[day.person.id].add(day)
        n_days[day.person.id] += 1
    return [_summary(person, month, totals[person.id]) for person in people if person.active or n_days[person.id]]


def _summary(person: Person, month: str, totals: Totals) -> MonthSummary:
    ref = PersonRef(id=person.id, employee_code=person.employee_code, name=person.name)
    return MonthSummary(month=month, person=ref, department=person.department, **asdict(totals))

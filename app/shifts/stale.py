"""Marks days that a changed holiday, roster or person may have changed; `app.attendance.stale` works them out anew.

Whoever marks holds the people's rows from before the change until the commit. A capture that is worked out meanwhile
waits for them, and so is either among the days that are marked or sees the change: no day is missed.
"""

from datetime import date, timedelta

from sqlalchemy import ColumnElement, Date, func, insert, literal, select
from sqlalchemy.orm import Session

from app.attendance.rules import REACH_DAYS
from app.db.tables import Day, Person, StaleDay

_COLUMNS = ["person_id", "local_date"]


def lock_person(session: Session, person_id: str) -> Person | None:
    """The person as they are now, to themselves until the commit; None where there is nobody."""
    statement = select(Person).where(Person.id == person_id).with_for_update(key_share=True)
    return session.scalars(statement.execution_options(populate_existing=True)).one_or_none()


def lock_everybody(session: Session) -> None:
    """For a change that touches many: one statement locks them all, in the order in which everybody locks people."""
    everybody = select(Person.id).order_by(Person.id).with_for_update(key_share=True).subquery()
    session.execute(select(func.count()).select_from(everybody))


def mark_person(session: Session, person_id: str, first: date | None = None, last: date | None = None) -> None:
    """One person's days from the first to the last that changed, and their neighbours; None is open."""
    touched = [Day.person_id == person_id]
    if first is not None:
        touched.append(Day.local_date >= first - timedelta(days=REACH_DAYS))
    if last is not None:
        touched.append(Day.local_date <= last + timedelta(days=REACH_DAYS))
    _mark(session, *touched)


def mark_holiday(session: Session, day: date) -> None:
    """That day, of everybody who has a day within its reach: it is worked out with its neighbours.

    That some of them work at other sites costs less than finding out.
    """
    reach = timedelta(days=REACH_DAYS)
    near = Day.local_date.between(day - reach, day + reach)
    marked = select(StaleDay.person_id).where(StaleDay.person_id == Day.person_id, StaleDay.local_date == day)
    people = select(Day.person_id, literal(day, Date())).where(near, ~marked.exists()).distinct()
    session.execute(insert(StaleDay).from_select(_COLUMNS, people))


def _mark(session: Session, *touched: ColumnElement[bool]) -> None:
    marked = select(StaleDay.person_id).where(
        StaleDay.person_id == Day.person_id, StaleDay.local_date == Day.local_date
    )
    days = select(Day.person_id, Day.local_date).where(*touched, ~marked.exists())
    session.execute(insert(StaleDay).from_select(_COLUMNS, days))

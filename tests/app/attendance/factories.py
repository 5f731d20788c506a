"""Makes what the ledger is about. Every argument is a keyword."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.attendance.ledger import Bookkeeper, worked_columns
from app.attendance.plan import Punch
from app.attendance.rules import work_out
from app.db.engine import Database
from app.db.tables import Day, Event, Shift, ShiftAssignment
from app.db.types import new_id, utc_now
from app.shifts.service import plans_of
from tests.app.factories import make_person

ZONE = "Europe/Berlin"
BOOKS = Bookkeeper(ZONE)


def make_event(*, person_id: str | None, at: datetime, **columns: Any) -> Event:
    """An event that is in no session yet."""
    usual: dict[str, Any] = {
        "site_id": "site_default",
        "timezone": ZONE,
        "repeat_window_s": 120,
        "method": "manual",
        "outcome": "identified" if person_id else "unknown",
        "received_at": utc_now(),
        "created_by": "key:test",
        "given_direction": None,
        "is_deleted": False,
    }
    return Event(**{"id": new_id("evt"), "person_id": person_id, "occurred_at": at, **usual, **columns})


def make_shift(*, session: Session, starts: str = "09:00", ends: str = "17:00", **rules: Any) -> Shift:
    days = rules.pop("days", [0, 1, 2, 3, 4])
    shift = Shift(id=new_id("shf"), name="Day", starts=starts, ends=ends, days=days, rules=rules, created_at=utc_now())
    session.add(shift)
    session.flush()
    return shift


def make_assignment(
    *, session: Session, person_id: str, shift: Shift, first: date | None = None, last: date | None = None
) -> ShiftAssignment:
    """Standing where it is open on both sides."""
    assignment = ShiftAssignment(
        id=new_id("asg"),
        person_id=person_id,
        shift_id=shift.id,
        first_date=first,
        last_date=last,
        is_standing=first is None and last is None,
        created_at=utc_now(),
        created_by="key:test",
    )
    session.add(assignment)
    session.flush()
    return assignment


def make_worker(*, database: Database, employee_code: str | None = None, shift: str | None = "09:00-17:00") -> str:
    """The id of somebody who was added long ago and works a shift on weekdays."""
    with database.write() as session:
        person = make_person(session=session, employee_code=employee_code)
        person.created_at = utc_now() - timedelta(days=400)
        if shift is not None:
            starts, ends = shift.split("-")
            worked = make_shift(session=session, starts=starts, ends=ends)
            make_assignment(session=session, person_id=person.id, shift=worked)
        return person.id


def add_events(*, database: Database, events: Sequence[Event]) -> list[str]:
    """Stores events as a capture does; returns their ids."""
    with database.write() as session:
        BOOKS.add(session, events)
        return [event.id for event in events]


def days_of(*, database: Database, person_id: str) -> dict[date, dict[str, Any]]:
    """A person's stored days on which something happened, without what says when they were worked out."""
    with database.read() as session:
        of = select(Day).where(Day.person_id == person_id, Day.n_events > 0)
        rows = session.scalars(of.order_by(Day.local_date))
        return {row.local_date: _shown(row) for row in rows}


def judged_events(*, database: Database, person_id: str) -> dict[str, tuple[Any, ...]]:
    """What the rules said of a person's events, by id."""
    with database.read() as session:
        of = select(Event).where(Event.person_id == person_id, Event.is_deleted.is_(False))
        return {
            row.id: (row.local_date, row.direction, row.duplicate_of, row.shift_id, row.explanation)
            for row in session.scalars(of)
        }


def from_scratch(
    *, database: Database, person_id: str
) -> tuple[dict[date, dict[str, Any]], dict[str, tuple[Any, ...]]]:
    """The days and events that the rules make of all events of a person at once."""
    with database.read() as session:
        of = select(Event).where(Event.person_id == person_id, Event.is_deleted.is_(False))
        events = list(session.scalars(of))
        first, last = date(2020, 1, 1), date(2030, 1, 1)
        plan = plans_of(session, [person_id], first, last, ZONE)[person_id]
    ledger = work_out([_punch(event) for event in events], plan)
    days = {day.local_date: worked_columns(day) for day in ledger.days}
    judged = {
        one.id: (one.local_date, one.direction, one.duplicate_of, one.shift_id, one.explanation)
        for one in ledger.punches
    }
    return days, judged


def refuse_difference(*, database: Database, people: Iterable[str]) -> None:
    """Fails where what is stored is not what follows from all events at once."""
    for person_id in people:
        days, judged = from_scratch(database=database, person_id=person_id)
        assert days_of(database=database, person_id=person_id) == days
        assert judged_events(database=database, person_id=person_id) == judged


def _shown(row: Day) -> dict[str, Any]:
    hidden = {"person_id", "local_date", "version", "updated_at"}
    return {name: getattr(row, name) for name in Day.__table__.columns.keys() if name not in hidden}  # noqa: SIM118


def _punch(event: Event) -> Punch:
    given: Any = event.given_direction
    return Punch(event.id, event.occurred_at, event.timezone, given, event.repeat_window_s)

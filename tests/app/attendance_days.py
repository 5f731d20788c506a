"""Makes days of the ledger, for tests of what makes them stale. Every argument is a keyword."""

from datetime import date

from sqlalchemy.orm import Session

from app.db.tables import Day, Person
from tests.app.factories import NOON


def make_day(*, session: Session, person: Person, local_date: date) -> Day:
    """A day as the rules might have left it."""
    nothing = dict.fromkeys(("worked_s", "break_s", "late_s", "early_leave_s", "overtime_s"), 0)
    day = Day(
        person_id=person.id,
        local_date=local_date,
        timezone="UTC",
        status="present",
        n_events=2,
        closes_at=NOON,
        explanation="",
        parts=[],
        version=1,
        updated_at=NOON,
        **nothing,
    )
    session.add(day)
    session.flush()
    return day

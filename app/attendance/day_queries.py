"""All SQL of lists of days: those that are stored, and whoever was expected on days that have no row."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Row, func, or_, select, tuple_, union
from sqlalchemy.orm import Session

from app.db.tables import Day, DayApproval, Event, EventCorrection, Person, Shift, ShiftAssignment

PersonDate = tuple[str, date]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is said about days beside their rows, by person and date."""

    people: dict[str, Row[str, str, str, str | None]]
    approvals: dict[PersonDate, DayApproval]
    n_corrections: dict[PersonDate, int]


@dataclass(frozen=True, slots=True)
class Tenure:
    """From when to when somebody may be expected."""

    added_at: datetime
    left_at: datetime | None


def people_on(session: Session, day: date, after: str, limit: int) -> list[str]:
    """Ids, in order, of whoever has a row on a date or an assignment to a shift that is worked on that weekday."""
    shifts = [row.id for row in session.execute(select(Shift.id, Shift.days)) if day.weekday() in row.days]
    stored = select(Day.person_id).where(Day.local_date == day, Day.person_id > after)
    expected = (
        select(Person.id)
        .join(ShiftAssignment, ShiftAssignment.person_id == Person.id)
        .where(or_(Person.active, Person.deactivated_at >= datetime.combine(day, time(), UTC)))
        .where(Person.created_at < _end(day), Person.id > after, ShiftAssignment.shift_id.in_(shifts))
        .where(or_(ShiftAssignment.first_date.is_(None), ShiftAssignment.first_date <= day))
        .where(or_(ShiftAssignment.last_date.is_(None), ShiftAssignment.last_date >= day))
    )
    # Each half is cut by itself, so that neither database sorts everybody for one page.
    halves = [half.order_by(half.selected_columns[0]).limit(limit).subquery() for half in (stored, expected.distinct())]
    both = union(*(select(half.c[0].label("id")) for half in halves)).subquery()
    return list(session.scalars(select(both.c.id).order_by(both.c.id).limit(limit)))


def tenures(session: Session, people: Collection[str]) -> dict[str, Tenure]:
    """Those of these people who are active, or of whom it is known until when they were."""
    if not people:
        return {}
    of = select(Person.id, Person.created_at, Person.deactivated_at).where(Person.id.in_(people))
    rows = session.execute(of.where(or_(Person.active, Person.deactivated_at.is_not(None))))
    return {row.id: Tenure(row.created_at, row.deactivated_at) for row in rows}


def rows(session: Session, people: Sequence[str], first: date, last: date) -> dict[PersonDate, Day]:
    """Stored days of some people."""
    of = select(Day).where(Day.person_id.in_(people), Day.local_date >= first, Day.local_date <= last)
    return {(day.person_id, day.local_date): day for day in session.scalars(of)}


def surroundings(session: Session, days: Collection[PersonDate]) -> Surroundings:
    """Whose these days are, and what was said about them."""
    if not days:
        return Surroundings({}, {}, {})
    people = {person_id for person_id, _ in days}
    first, last = min(day for _, day in days), max(day for _, day in days)
    of = select(Person.id, Person.employee_code, Person.name, Person.department).where(Person.id.in_(people))
    return Surroundings(
        people={row.id: row for row in session.execute(of)},
        approvals=_approvals(session, people, first, last),
        n_corrections=_n_corrections(session, people, first, last),
    )


def _approvals(session: Session, people: Collection[str], first: date, last: date) -> dict[PersonDate, DayApproval]:
    latest = (
        select(func.max(DayApproval.id))
        .where(DayApproval.person_id.in_(people), DayApproval.local_date >= first, DayApproval.local_date <= last)
        .group_by(DayApproval.person_id, DayApproval.local_date)
    )
    found = session.scalars(select(DayApproval).where(DayApproval.id.in_(latest)))
    return {(approval.person_id, approval.local_date): approval for approval in found}


def _n_corrections(session: Session, people: Collection[str], first: date, last: date) -> dict[PersonDate, int]:
    near = Event.occurred_at >= _end(first) - timedelta(days=4), Event.occurred_at < _end(last) + timedelta(days=3)
    counted = (
        select(Event.person_id, Event.local_date, func.count())
        .join(EventCorrection, EventCorrection.event_id == Event.id)
        .where(Event.person_id.in_(people), *near, Event.local_date >= first, Event.local_date <= last)
        .group_by(Event.person_id, Event.local_date)
    )
    return {(row[0], row[1]): row[2] for row in session.execute(counted) if row[0] and row[1]}


def latest_approval(session: Session, person_id: str, day: date) -> DayApproval | None:
    of = select(DayApproval).where(tuple_(DayApproval.person_id, DayApproval.local_date) == (person_id, day))
    return session.scalars(of.order_by(DayApproval.id.desc()).limit(1)).one_or_none()


def _end(day: date) -> datetime:
    """By when a date is over everywhere."""
    return datetime.combine(day, time(), UTC) + timedelta(days=2)

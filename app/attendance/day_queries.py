"""All SQL of lists of days: those that are stored, and whoever was expected on days that have no row."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Row, func, or_, select, tuple_, union
from sqlalchemy.orm import Session

from app.db.tables import (
    Camera,
    Day,
    DayApproval,
    Event,
    EventCorrection,
    EventCrop,
    Person,
    Shift,
    ShiftAssignment,
)
from app.db.types import utc_now
from app.people.queries import search_text

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


@dataclass(frozen=True, slots=True)
class PeopleFilter:
    """Whose days are asked for: part of a name or employee code, and a department; None does not matter."""

    query: str | None = None
    department: str | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.query:
            found.append(Person.search_text.contains(search_text(self.query), autoescape=True))
        if self.department is not None:
            found.append(Person.department == self.department)
        return found


EVERYBODY = PeopleFilter()


def people_on(session: Session, day: date, after: str, limit: int, who: PeopleFilter = EVERYBODY) -> list[str]:
    """Ids, in order, of whoever has a row on a date or an assignment to a shift that is worked on that weekday."""
    shifts = [row.id for row in session.execute(select(Shift.id, Shift.days)) if day.weekday() in row.days]
    stored = select(Day.person_id).where(Day.local_date == day, Day.person_id > after)
    if wanted := who.conditions:
        stored = stored.join(Person, Person.id == Day.person_id).where(*wanted)
    expected = (
        select(Person.id)
        .join(ShiftAssignment, ShiftAssignment.person_id == Person.id)
        .where(or_(Person.active, Person.deactivated_at >= datetime.combine(day, time(), UTC)))
        .where(Person.created_at < _end(day), Person.id > after, ShiftAssignment.shift_id.in_(shifts), *wanted)
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


def events_of_day(session: Session, person_id: str, day: date) -> list[Event]:
    """What a person's day is made of, without repeats but also what was deleted, in order of time."""
    is_first = or_(Event.duplicate_of.is_(None), Event.is_deleted)
    of = select(Event).where(*_is_of_day(person_id, day), is_first)
    return list(session.scalars(of.order_by(Event.occurred_at, Event.id)))


def repeats_of_day(session: Session, person_id: str, day: date, limit: int) -> list[Event]:
    """What only repeats a presence, in order of time: of whoever sits in sight of a camera there are thousands."""
    of = select(Event).where(*_is_of_day(person_id, day), *_IS_REPEAT)
    return list(session.scalars(of.order_by(Event.occurred_at, Event.id).limit(limit)))


def n_repeats_of_day(session: Session, person_id: str, day: date) -> dict[str, int]:
    """By the first event of a presence how often it was repeated."""
    of = select(Event.duplicate_of, func.count()).where(*_is_of_day(person_id, day), *_IS_REPEAT)
    return {first or "": n for first, n in session.execute(of.group_by(Event.duplicate_of))}


def corrections_of(session: Session, event_ids: Collection[str]) -> list[EventCorrection]:
    """What was said about some events, the latest first."""
    of = select(EventCorrection).where(EventCorrection.event_id.in_(event_ids))
    return list(session.scalars(of.order_by(EventCorrection.id.desc())))


def approvals_of(session: Session, person_id: str, day: date) -> list[DayApproval]:
    """Every approval of one day, the latest first."""
    of = select(DayApproval).where(DayApproval.person_id == person_id, DayApproval.local_date == day)
    return list(session.scalars(of.order_by(DayApproval.id.desc())))


def camera_names(session: Session, camera_ids: Collection[str]) -> dict[str, str]:
    rows = session.execute(select(Camera.id, Camera.name).where(Camera.id.in_(camera_ids)))
    return {row.id: row.name for row in rows}


def events_with_crop(session: Session, event_ids: Collection[str]) -> set[str]:
    """Those of these events whose face is still kept."""
    of = select(EventCrop.event_id).where(EventCrop.event_id.in_(event_ids), EventCrop.expires_at > utc_now())
    return set(session.scalars(of))


def departments(session: Session) -> list[str]:
    """The names that people have as their department, in order."""
    of = select(Person.department).where(Person.department.is_not(None)).distinct()
    return sorted(name for name in session.scalars(of) if name)


_IS_REPEAT: Final = (Event.duplicate_of.is_not(None), Event.is_deleted.is_(False))


def _is_of_day(person_id: str, day: date) -> list[ColumnElement[bool]]:
    start = datetime.combine(day, time(), UTC)  # by the index on times; a working day is near its date
    near = Event.occurred_at >= start - timedelta(days=3), Event.occurred_at < start + timedelta(days=4)
    return [Event.person_id == person_id, *near, Event.local_date == day]


def _end(day: date) -> datetime:
    """By when a date is over everywhere."""
    return datetime.combine(day, time(), UTC) + timedelta(days=2)

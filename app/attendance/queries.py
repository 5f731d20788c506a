"""All SQL of the ledger, except that of lists of days (see `day_queries`)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, Protocol, cast

from sqlalchemy import ColumnElement, String, delete, func, or_, select, tuple_, union, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from app.db.tables import (
    Capture,
    Day,
    DecisionCandidate,
    DecisionRow,
    Event,
    EventCorrection,
    Person,
    PunchCredential,
    Site,
    StaleDay,
)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are asked for; None does not matter. `since` is included, `until` is not."""

    since: datetime | None = None
    until: datetime | None = None
    person_id: str | None = None
    camera_id: str | None = None
    site_id: str | None = None
    outcome: str | None = None
    with_deleted: bool = False


def lock_people(session: Session, person_ids: Collection[str]) -> dict[str, str]:
    """Id and code of those of these people who exist; until the transaction ends nobody else changes their ledger.

    Always in the order of their ids, so that two who want the same people wait for each other in one direction only.
    The lock is the weaker one that lets others refer to these people: else each of two captures that list the other's
    person among their candidates would wait for the other. SQLite has one writer at a time anyway.
    """
    if not person_ids:
        return {}
    of = select(Person.id, Person.employee_code).where(Person.id.in_(person_ids)).order_by(Person.id)
    return {row.id: row.employee_code for row in session.execute(of.with_for_update(key_share=True))}


def own_zones(session: Session, person_ids: Collection[str]) -> dict[str, str]:
    """The zones of those of these people who have one of their own."""
    of = select(Person.id, Person.timezone).where(Person.id.in_(person_ids))
    return {row.id: row.timezone for row in session.execute(of) if row.timezone}


def home_site(session: Session, person_id: str, default_site: str) -> Site:
    """Where a person belongs."""
    theirs = select(func.coalesce(Person.site_id, default_site)).where(Person.id == person_id).scalar_subquery()
    return session.scalars(select(Site).where(Site.id == theirs)).one()


def capture_by_key(session: Session, owner: str, idempotency_key: str) -> Capture | None:
    of = select(Capture).where(Capture.owner == owner, Capture.idempotency_key == idempotency_key)
    return session.scalars(of).one_or_none()


def events_of_capture(session: Session, capture_id: str) -> list[Event]:
    return list(session.scalars(select(Event).where(Event.capture_id == capture_id).order_by(Event.id)))


class StoredPunch(Protocol):
    """Of an event, what the rules need, and what they said of it."""

    id: str
    occurred_at: datetime
    timezone: str
    repeat_window_s: int
    given_direction: str | None
    direction: str | None
    duplicate_of: str | None
    local_date: date | None
    shift_id: str | None
    explanation: str


def punches(session: Session, person_id: str, since: datetime, until: datetime) -> Sequence[StoredPunch]:
    """What counts of a person, in any order."""
    return _punches(session, person_id, Event.occurred_at >= since, Event.occurred_at <= until)


def neighbours(session: Session, event: Event) -> tuple[Sequence[StoredPunch], Sequence[StoredPunch]]:
    """What else counts of the event's person at the latest moment up to it, and at the earliest from it on."""
    others = Event.person_id == event.person_id, Event.is_deleted.is_(False), Event.id != event.id
    latest = select(func.max(Event.occurred_at)).where(*others, Event.occurred_at <= event.occurred_at)
    earliest = select(func.min(Event.occurred_at)).where(*others, Event.occurred_at >= event.occurred_at)
    before, after = (
        _punches(session, event.person_id, Event.id != event.id, Event.occurred_at == moment.scalar_subquery())
        for moment in (latest, earliest)
    )
    return before, after


def _punches(session: Session, person_id: str | None, *conditions: ColumnElement[bool]) -> Sequence[StoredPunch]:
    columns = (getattr(Event, name) for name in StoredPunch.__annotations__)
    of = select(*columns).where(Event.person_id == person_id, Event.is_deleted.is_(False), *conditions)
    return cast(Sequence[StoredPunch], session.execute(of).all())


def events_now(session: Session, event_ids: Collection[str]) -> list[Event]:
    """Events as the database has them, whatever this session has seen of them before."""
    if not event_ids:
        return []
    of = select(Event).where(Event.id.in_(event_ids)).order_by(Event.id)
    return list(session.scalars(of.execution_options(populate_existing=True)))


def lock_events(session: Session, event_ids: Collection[str]) -> list[Event]:
    """As the database has them now; until the transaction ends nobody else changes them. Always in the same order."""
    of = select(Event).where(Event.id.in_(event_ids)).order_by(Event.id)
    return list(session.scalars(of.with_for_update(key_share=True).execution_options(populate_existing=True)))


def days(session: Session, person_id: str, first: date, last: date) -> dict[date, Day]:
    """A person's stored days, as the database has them now."""
    of = select(Day).where(Day.person_id == person_id, Day.local_date >= first, Day.local_date <= last)
    return {day.local_date: day for day in session.scalars(of.execution_options(populate_existing=True))}


def event(session: Session, event_id: str) -> Event | None:
    return session.get(Event, event_id)


def list_events(
    session: Session,
    wanted: EventFilter,
    *,
    order: Literal["asc", "desc"],
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Event]:
    """By time, from the event with this `(occurred_at, id)` on."""
    key = tuple_(Event.occurred_at, Event.id)
    statement = select(Event).where(*_conditions(wanted)).limit(limit)
    if order == "asc":
        statement = statement.order_by(Event.occurred_at, Event.id)
        return list(session.scalars(statement.where(key > after) if after else statement))
    statement = statement.order_by(Event.occurred_at.desc(), Event.id.desc())
    return list(session.scalars(statement.where(key < after) if after else statement))


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    equal = {
        Event.person_id: wanted.person_id,
        Event.camera_id: wanted.camera_id,
        Event.site_id: wanted.site_id,
        Event.outcome: wanted.outcome,
    }
    conditions: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value is not None]
    if wanted.since is not None:
        conditions.append(Event.occurred_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(Event.occurred_at < wanted.until)
    if not wanted.with_deleted:
        conditions.append(Event.is_deleted.is_(False))
    return conditions


def corrections(session: Session, event_id: str) -> list[EventCorrection]:
    """Oldest first."""
    of = select(EventCorrection).where(EventCorrection.event_id == event_id)
    return list(session.scalars(of.order_by(EventCorrection.id)))


def stale_people(session: Session, at_most: int, besides: Collection[str] = ()) -> list[str]:
    """People who have days that are to be worked out anew, except some."""
    of = select(StaleDay.person_id).where(StaleDay.person_id.not_in(besides)).distinct()
    return list(session.scalars(of.order_by(StaleDay.person_id).limit(at_most)))


def take_stale_dates(session: Session, person_id: str, at_most: int) -> list[date]:
    """The first of a person's days that are to be worked out anew, which are no longer marked from here on."""
    of = select(StaleDay.local_date).where(StaleDay.person_id == person_id)
    dates = list(session.scalars(of.order_by(StaleDay.local_date).limit(at_most)))
    session.execute(delete(StaleDay).where(StaleDay.person_id == person_id, StaleDay.local_date.in_(dates)))
    return dates


def count_about(session: Session, person_id: str) -> int:
    """Events and stored decisions that name a person, or list them as a candidate; each counts once."""
    listed = select(DecisionCandidate.decision_id).where(DecisionCandidate.person_id == person_id)
    named = (DecisionRow.person_id == person_id) | (DecisionRow.true_person_id == person_id)
    events = select(Event.id).where(Event.person_id == person_id)
    about = union(select(DecisionRow.id).where(named), listed, events).subquery()
    return session.scalars(select(func.count()).select_from(about)).one()


def corrections_about(session: Session, person_id: str) -> Sequence[EventCorrection]:
    """Of events that are a person's, or were, or were for a while."""
    theirs = EventCorrection.event_id.in_(select(Event.id).where(Event.person_id == person_id))
    said = [
        sql_cast(column, String).contains(person_id, autoescape=True)
        for column in (EventCorrection.before, EventCorrection.after)
    ]
    return session.scalars(select(EventCorrection).where(or_(theirs, *said))).all()


def anonymise_events(session: Session, person_id: str, explanation: str) -> None:
    """Takes a person out of their events."""
    theirs = update(Event).where(Event.person_id == person_id)
    session.execute(theirs.values(person_id=None, explanation=explanation))


def credential(session: Session, person_id: str, kind: str) -> PunchCredential | None:
    return session.get(PunchCredential, (person_id, kind))


def active_person_id(session: Session, *, employee_code: str | None, person_id: str | None) -> str | None:
    """By code or by id; None where there is nobody, or nobody who is active."""
    is_meant = Person.id == person_id if employee_code is None else Person.employee_code == employee_code
    return session.scalars(select(Person.id).where(is_meant, Person.active)).one_or_none()


def person_of_badge(session: Session, badge_hmacs: Collection[str]) -> str | None:
    """Who carries a badge, if they are active; it was stored under one of these."""
    of = select(PunchCredential.person_id).join(Person, Person.id == PunchCredential.person_id)
    return session.scalars(of.where(PunchCredential.badge_hmac.in_(badge_hmacs), Person.active)).first()


def badge_owner(session: Session, badge_hmacs: Collection[str]) -> str | None:
    """Whose badge it is, active or not."""
    of = select(PunchCredential.person_id).where(PunchCredential.badge_hmac.in_(badge_hmacs))
    return session.scalars(of).first()

"""SQL behind the figures of one site's day: counts by index, and whoever was expected and has not been seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select
from sqlalchemy.orm import Session

from app.db.tables import Camera, Day, Event, Person, Shift, ShiftAssignment, Template, UnknownCluster
from app.sites.service import DEFAULT_SITE

Unseen: TypeAlias = Row[str, str | None, str, date | None, date | None, bool]


@dataclass(frozen=True, slots=True)
class Seen:
    """People of a site with an event on a date."""

    n_came: int
    n_late: int
    n_left: int


def seen(session: Session, site_id: str, day: date) -> Seen:
    counts = (
        func.count(),
        func.coalesce(func.sum(case((Day.late_s > 0, 1), else_=0)), 0),
        func.coalesce(func.sum(case((Day.last_out.is_not(None), 1), else_=0)), 0),
    )
    of = select(*counts).join(Person, Person.id == Day.person_id).where(Day.local_date == day, Day.n_events > 0)
    n_came, n_late, n_left = session.execute(of.where(_is_home(site_id))).one()
    return Seen(n_came, int(n_late), int(n_left))


def still_out(session: Session, site_id: str, day: date, now: datetime) -> Sequence[list[dict[str, Any]]]:
    """Parts of the days of people who came on a date, have not left, and may still do so."""
    of = select(Day.parts).join(Person, Person.id == Day.person_id)
    is_open = Day.local_date == day, Day.n_events > 0, Day.status == "missing_out", Day.closes_at > now
    return session.scalars(of.where(*is_open, _is_home(site_id))).all()


def unseen(session: Session, site_id: str, day: date, until: datetime) -> Sequence[Unseen]:
    """Person, own zone, and one row for each assignment that covers a date, of active people without an event on it."""
    came = select(Day.person_id).where(Day.person_id == Person.id, Day.local_date == day, Day.n_events > 0)
    covers = and_(
        or_(ShiftAssignment.first_date.is_(None), ShiftAssignment.first_date <= day),
        or_(ShiftAssignment.last_date.is_(None), ShiftAssignment.last_date >= day),
    )
    columns = (
        Person.id,
        Person.timezone,
        ShiftAssignment.shift_id,
        ShiftAssignment.first_date,
        ShiftAssignment.last_date,
        ShiftAssignment.is_standing,
    )
    of = select(*columns).join(ShiftAssignment, ShiftAssignment.person_id == Person.id).where(covers)
    return session.execute(of.where(Person.active, Person.created_at < until, _is_home(site_id), ~came.exists())).all()


def shifts(session: Session) -> Sequence[Shift]:
    return session.scalars(select(Shift)).all()


def n_unknown(session: Session, site_id: str, since: datetime, until: datetime) -> int:
    """Times that somebody was seen whom nobody knows."""
    of = select(func.count()).select_from(Event).where(Event.occurred_at >= since, Event.occurred_at < until)
    return session.scalars(of.where(Event.outcome == "unknown", Event.site_id == site_id, ~Event.is_deleted)).one()


def n_open_clusters(session: Session, most: int) -> int:
    """Strangers who wait for a decision, counted up to a bound."""
    some = select(UnknownCluster.id).where(UnknownCluster.status == "open").limit(most).subquery()
    return session.scalars(select(func.count()).select_from(some)).one()


def silent_cameras(session: Session, since: datetime, limit: int) -> Sequence[Camera]:
    """Cameras that were heard of once and are not any more, the latest heard of first."""
    of = select(Camera).where(Camera.deleted_at.is_(None), Camera.last_seen_at < since)
    return session.scalars(of.order_by(Camera.last_seen_at.desc()).limit(limit)).all()


def cameras(session: Session, limit: int) -> Sequence[Camera]:
    """To choose from."""
    of = select(Camera).where(Camera.deleted_at.is_(None)).order_by(Camera.name, Camera.id)
    return session.scalars(of.limit(limit)).all()


def is_anybody_enrolled(session: Session) -> bool:
    return session.scalars(select(Template.id).limit(1)).first() is not None


def newest_event(session: Session) -> str | None:
    """The one that came last."""
    order = Event.received_at.desc(), Event.id.desc()
    return session.scalars(select(Event.id).order_by(*order).limit(1)).first()


def _is_home(site_id: str) -> ColumnElement[bool]:
    return func.coalesce(Person.site_id, DEFAULT_SITE) == site_id

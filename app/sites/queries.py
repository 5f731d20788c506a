"""All SQL about sites and holidays."""

from collections.abc import Collection, Sequence
from datetime import date, datetime

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session

from app.db.tables import Holiday, Site


def site_by_id(session: Session, site_id: str) -> Site | None:
    return session.get(Site, site_id)


def sites_by_ids(session: Session, site_ids: Collection[str]) -> dict[str, Site]:
    return {site.id: site for site in session.scalars(select(Site).where(Site.id.in_(site_ids)))}


def all_site_ids(session: Session) -> set[str]:
    return set(session.scalars(select(Site.id)))


def list_sites(session: Session, *, after: tuple[datetime, str] | None, limit: int) -> list[Site]:
    """Oldest first, after the one with this `(created_at, id)`."""
    statement = select(Site).order_by(Site.created_at, Site.id).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(Site.created_at, Site.id) > after)
    return list(session.scalars(statement))


def holiday_by_id(session: Session, holiday_id: str) -> Holiday | None:
    return session.get(Holiday, holiday_id)


def is_holiday(session: Session, day: date, site_id: str | None) -> bool:
    """Whether there is one for exactly this site, or for all of them."""
    statement = select(Holiday.id).where(Holiday.local_date == day, Holiday.site_id.is_not_distinct_from(site_id))
    return session.scalars(statement.limit(1)).first() is not None


def list_holidays(
    session: Session,
    *,
    first: date | None = None,
    last: date | None = None,
    site_id: str | None = None,
    after: tuple[date, str] | None = None,
    limit: int,
) -> list[Holiday]:
    """Earliest first; of one site: those that count there, so also those of all sites."""
    statement = select(Holiday).order_by(Holiday.local_date, Holiday.id).limit(limit)
    if first is not None:
        statement = statement.where(Holiday.local_date >= first)
    if last is not None:
        statement = statement.where(Holiday.local_date <= last)
    if site_id is not None:
        statement = statement.where(or_(Holiday.site_id.is_(None), Holiday.site_id == site_id))
    if after is not None:
        statement = statement.where(tuple_(Holiday.local_date, Holiday.id) > after)
    return list(session.scalars(statement))


def holidays_between(session: Session, first: date, last: date) -> Sequence[Holiday]:
    """Those of all sites before those of one, which so have the last word on a day's name."""
    statement = select(Holiday).where(Holiday.local_date.between(first, last))
    return session.scalars(statement.order_by(Holiday.site_id.is_not(None), Holiday.id)).all()

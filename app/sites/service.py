"""What can be done to sites and holidays, inside a session that the caller commits."""

from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import Holiday, Site
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.shifts.stale import lock_everybody, mark_holiday
from app.sites import queries, schemas

# The one that the migration makes: of cameras, keys and people that name no other.
DEFAULT_SITE: Final = "site_default"


def get(session: Session, site_id: str) -> Site:
    """The site, or 404."""
    site = queries.site_by_id(session, site_id)
    if site is None:
        raise ProblemError(404, "site_not_found", "There is no site with this id. GET /v1/sites lists them.")
    return site


def named(session: Session, site_id: str) -> Site:
    """The site that a field of a body names, or 422."""
    site = queries.site_by_id(session, site_id)
    if site is None:
        raise ProblemError(422, "site_not_found", "site_id: there is no such site. GET /v1/sites lists them.")
    return site


def zone_of(site: Site, default_zone: str) -> str:
    """The IANA name of the clock on the site's wall."""
    return site.timezone or default_zone


def create(session: Session, new: schemas.SiteCreate, caller: Principal) -> Site:
    now = utc_now()
    site = Site(id=new_id("site"), created_at=now, updated_at=now, **new.model_dump())
    session.add(site)
    _flush(session)
    record(session, caller.actor, "site.created", site.id)
    return site


def update(session: Session, site_id: str, update: schemas.SiteUpdate, caller: Principal) -> Site:
    """Whatever changes counts for what comes: events have the zone and the window of their time."""
    site = get(session, site_id)
    for name, value in update.changes.items():
        setattr(site, name, value)
    site.updated_at = utc_now()
    _flush(session)
    record(session, caller.actor, "site.updated", site.id, {"fields": sorted(update.changes)})
    return site


def add_holiday(session: Session, new: schemas.HolidayCreate, caller: Principal) -> Holiday:
    """Days that were worked out without it are marked to be worked out anew."""
    lock_everybody(session)
    if new.site_id is not None:
        named(session, new.site_id)
    if queries.is_holiday(session, new.date, new.site_id):
        raise ProblemError(409, "holiday_exists", "This day is a holiday there already. Delete that one to rename it.")
    holiday = Holiday(id=new_id("hol"), local_date=new.date, name=new.name, site_id=new.site_id)
    session.add(holiday)
    session.flush()
    mark_holiday(session, holiday.local_date)
    record(session, caller.actor, "holiday.created", holiday.id)
    return holiday


def remove_holiday(session: Session, holiday_id: str, caller: Principal) -> None:
    lock_everybody(session)
    holiday = queries.holiday_by_id(session, holiday_id)
    if holiday is None:
        raise ProblemError(404, "holiday_not_found", "There is no holiday with this id. GET /v1/holidays lists them.")
    session.delete(holiday)
    session.flush()
    mark_holiday(session, holiday.local_date)
    record(session, caller.actor, "holiday.deleted", holiday.id)


def holiday_view(holiday: Holiday) -> schemas.Holiday:
    return schemas.Holiday(id=holiday.id, date=holiday.local_date, name=holiday.name, site_id=holiday.site_id)


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError:
        raise ProblemError(409, "site_name_taken", "Another site has this name; give each its own.") from None

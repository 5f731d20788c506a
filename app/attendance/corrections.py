"""What people say about the ledger: events by hand, corrections, approvals. All of it is only ever added."""

from datetime import date
from typing import Final

from sqlalchemy.orm import Session

from app.attendance import days, queries, schemas
from app.attendance.ledger import Bookkeeper, note
from app.attendance.moments import refuse_impossible_time
from app.attendance.places import PunchPlace
from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import DayApproval, Event
from app.db.types import utc_now
from app.errors import ProblemError
from app.sites import service as sites

WRITTEN: Final = "event.written"
_NO_PERSON: Final = "There is no person with this id."


def get_event(session: Session, event_id: str) -> Event:
    """The event, or 404."""
    event = queries.event(session, event_id)
    if event is None:
        raise ProblemError(404, "event_not_found", "There is no event with this id in the ledger.")
    return event


def write_event(session: Session, new: schemas.ManualEvent, caller: Principal, bookkeeper: Bookkeeper) -> Event:
    """Somebody was there, as an operator knows; the reason is the first entry of the event's history."""
    refuse_impossible_time(new.occurred_at, utc_now())
    if new.person_id not in queries.lock_people(session, {new.person_id}):
        raise ProblemError(404, "person_not_found", _NO_PERSON)
    site = queries.home_site(session, new.person_id, sites.DEFAULT_SITE)
    place = PunchPlace.of_site(site, bookkeeper.default_zone)
    event = place.event("manual", new.person_id, new.occurred_at, new.direction, caller)
    bookkeeper.add(session, [event])
    after = {"person_id": new.person_id, "occurred_at": new.occurred_at.isoformat(), "given_direction": new.direction}
    note(session, event, {}, after, new.reason, caller.actor)
    record(session, caller.actor, WRITTEN, event.id, {"person_id": new.person_id})
    return event


def change_event(
    session: Session, event_id: str, change: schemas.EventChange, caller: Principal, bookkeeper: Bookkeeper
) -> Event:
    event = get_event(session, event_id)
    if change.occurred_at is not None:
        refuse_impossible_time(change.occurred_at, utc_now())
    bookkeeper.correct(session, event, change.changes, change.reason, caller.actor)
    return event


def approve_day(
    session: Session, person_id: str, day: date, approval: schemas.ApprovalNote, caller: Principal, default_zone: str
) -> schemas.Day:
    """Approve a day as it is now; the answer shows that."""
    if person_id not in queries.lock_people(session, {person_id}):
        raise ProblemError(404, "person_not_found", _NO_PERSON)
    shown = days.kept_day(session, person_id, day, default_zone)
    if shown is None:
        detail = "Nothing happened on this day, and this person was not expected: there is nothing to approve."
        raise ProblemError(404, "day_not_found", detail)
    if shown.status == "open" or shown.closes_at > utc_now():
        detail = f"This day may still change by itself until {shown.closes_at.isoformat()}. Approve it then."
        raise ProblemError(409, "day_open", detail)
    now, version = utc_now(), shown.version
    row = DayApproval(
        person_id=person_id, local_date=day, version=version, at=now, actor=caller.actor, note=approval.note
    )
    session.add(row)
    session.flush()
    record(session, caller.actor, "day.approved", person_id, {"date": day.isoformat(), "version": version})
    return shown.model_copy(update={"approval": days.approval_view(row, version)})

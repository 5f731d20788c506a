"""Who works which shift: standing assignments and the roster; inside a session that the caller commits."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import ShiftAssignment
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.shifts import queries, schemas
from app.shifts.stale import lock_person, mark_person
from app.sites.service import DEFAULT_SITE

_DAY = timedelta(days=1)


def add_entry(session: Session, new: schemas.RosterEntryCreate, caller: Principal) -> ShiftAssignment:
    """On the days of the entry it goes before the person's standing shift."""
    if lock_person(session, new.person_id) is None:
        raise ProblemError(404, "person_not_found", "There is no person with this id.")
    _assignable(session, new.shift_id)
    if queries.is_rostered(session, new.person_id, new.shift_id, new.first_date, new.last_date):
        detail = "The roster has this person for this shift on one of these days already. Delete that entry first."
        raise ProblemError(409, "roster_overlap", detail)
    entry = _assignment(new.person_id, new.shift_id, new.first_date, new.last_date, caller.actor)
    session.add(entry)
    session.flush()
    mark_person(session, new.person_id, new.first_date, new.last_date)
    record(session, caller.actor, "roster.created", entry.id, {"person_id": entry.person_id})
    return entry


def remove_entry(session: Session, entry_id: str, caller: Principal) -> None:
    entry = queries.assignment_by_id(session, entry_id)
    if entry is None:
        raise _not_found()
    if entry.is_standing:
        detail = "This is the person's standing shift. Change `shift_id` of the person instead: PATCH /v1/people/{id}."
        raise ProblemError(409, "assignment_standing", detail)
    lock_person(session, entry.person_id)
    if not queries.delete_assignment(session, entry_id):  # somebody else was faster
        raise _not_found()
    mark_person(session, entry.person_id, entry.first_date, entry.last_date)
    record(session, caller.actor, "roster.deleted", entry.id, {"person_id": entry.person_id})


def assign_first(session: Session, person_id: str, shift_id: str | None, actor: str) -> None:
    """Gives somebody new a shift of their own; it is open to the past too, for captures that come late."""
    _begin(session, person_id, shift_id, None, actor)


def assign_standing(session: Session, person_id: str, shift_id: str | None, actor: str, default_zone: str) -> None:
    """Makes a shift somebody's own from today on, or none; days before today keep theirs.

    One that was given today is replaced as if it had never been: that is how a slip is mended. Of whoever was added
    today the first one is open to the past, as if they had been added with it.
    """
    person = lock_person(session, person_id)
    history = queries.standing_of(session, person_id)
    if person is None or next((row.shift_id for row in history if row.last_date is None), None) == shift_id:
        return
    zone = _zone_of(session, person_id, default_zone)
    today = _local_date(utc_now(), zone)
    past, slips = _split(history, today, zone)
    is_open = not past and _local_date(person.created_at, zone) >= today
    for row in past:
        row.last_date = min(row.last_date or date.max, today - _DAY)
    for row in slips:
        session.delete(row)
    _begin(session, person_id, shift_id, None if is_open else today, actor)
    mark_person(session, person_id, None if is_open or any(row.first_date is None for row in slips) else today)


def resume(session: Session, person_id: str, left_at: datetime, actor: str, default_zone: str) -> None:
    """Whoever comes back works their shift again from today on; on the days from when they left nobody waited."""
    lock_person(session, person_id)
    zone = _zone_of(session, person_id, default_zone)
    left, today = _local_date(left_at, zone), _local_date(utc_now(), zone)
    current = next((row for row in queries.standing_of(session, person_id) if row.last_date is None), None)
    if current is None or left >= today:
        return
    if current.first_date is not None and current.first_date >= left:
        current.first_date = today
    else:
        current.last_date = left - _DAY
        session.add(_assignment(person_id, current.shift_id, today, None, actor, is_standing=True))
    session.flush()
    mark_person(session, person_id, left)


def view(row: ShiftAssignment) -> schemas.RosterEntry:
    return schemas.RosterEntry.model_validate(row, from_attributes=True)


def _split(
    history: Iterable[ShiftAssignment], today: date, zone: ZoneInfo
) -> tuple[list[ShiftAssignment], list[ShiftAssignment]]:
    """Those that a day before today counts for, and those that were given today."""
    past: list[ShiftAssignment] = []
    slips: list[ShiftAssignment] = []
    for row in history:
        given = row.first_date or _local_date(row.created_at, zone)
        (past if given < today else slips).append(row)
    return past, slips


def _zone_of(session: Session, person_id: str, default_zone: str) -> ZoneInfo:
    return ZoneInfo(queries.home_zone(session, person_id, DEFAULT_SITE) or default_zone)


def _local_date(at: datetime, zone: ZoneInfo) -> date:
    return at.astimezone(zone).date()


def _begin(session: Session, person_id: str, shift_id: str | None, first_date: date | None, actor: str) -> None:
    if shift_id is not None:
        _assignable(session, shift_id)
        session.add(_assignment(person_id, shift_id, first_date, None, actor, is_standing=True))
    session.flush()


def _assignable(session: Session, shift_id: str) -> None:
    shift = queries.lock_to_assign(session, shift_id)
    if shift is None:
        raise ProblemError(422, "shift_not_found", "shift_id: there is no such shift. GET /v1/shifts lists them.")
    if shift.retired_at is not None:
        raise ProblemError(422, "shift_retired", "shift_id: this shift is retired. Assign another one.")


def _assignment(
    person_id: str, shift_id: str, first: date | None, last: date | None, actor: str, *, is_standing: bool = False
) -> ShiftAssignment:
    return ShiftAssignment(
        id=new_id("asg"),
        person_id=person_id,
        shift_id=shift_id,
        first_date=first,
        last_date=last,
        is_standing=is_standing,
        created_at=utc_now(),
        created_by=actor,
    )


def _not_found() -> ProblemError:
    return ProblemError(404, "roster_entry_not_found", "There is no such entry. GET /v1/roster lists them.")

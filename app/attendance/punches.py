"""Punches by PIN or badge: for people who do not consent to their face being used, or are not recognised.

A PIN has as few as four digits, so what protects it is how often it can be tried; see `tries`. Whoever tries a person
who is not there, or has no PIN, is answered as for a wrong one, as late and as often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.attendance import queries, schemas
from app.attendance.captures import Sender
from app.attendance.ledger import Bookkeeper, note
from app.attendance.moments import refuse_impossible_time, true_moment
from app.attendance.places import PunchPlace, direction_at
from app.attendance.tries import Tries
from app.audit.service import record
from app.auth.scopes import Principal, Scope
from app.cameras.service import camera_for, saw
from app.db.engine import Database
from app.db.tables import Camera, Event, PunchCredential
from app.db.types import utc_now
from app.errors import ProblemError
from app.hashing import SlowHasher
from app.sealing import Sealer
from app.sites import service as sites


@dataclass(frozen=True, slots=True)
class PunchClock:
    """Everything that punching needs."""

    hasher: SlowHasher
    tries: Tries
    bookkeeper: Bookkeeper
    sealer: Sealer
    database: Database
    max_age_days: int

    def person_of(self, punch: schemas.Punch, sender: Sender) -> str:
        """Who punches, as far as the caller may say so; in transactions of its own, before the punch is written."""
        person_id = self._person_named(punch) if punch.badge is None else self._person_of_badge(punch.badge, sender)
        if punch.pin is not None:
            return self._checked(punch, punch.pin, person_id, sender)
        if punch.badge is None and not sender.principal.scope.includes(Scope.OPERATOR):
            detail = "A camera's key needs the person's pin, or a badge. Operators may leave it out."
            raise ProblemError(422, "pin_missing", detail)
        if person_id is None:
            raise ProblemError(404, "person_not_found", "There is nobody active with this employee_code or id.")
        return person_id

    def write(self, session: Session, punch: schemas.Punch, person_id: str, sender: Sender) -> Event:
        """Store a punch and the days that follow from it."""
        caller = sender.principal
        camera = camera_for(session, caller, punch.camera_id)
        if person_id not in queries.lock_people(session, {person_id}):
            raise ProblemError(404, "person_not_found", "This person was just erased.")
        if punch.badge is not None:
            self._renew_badge(session, person_id, punch.badge)
        occurred_at = self._moment(session, camera, punch, sender)
        event = self._place(session, camera, person_id, caller).event(
            _method(punch), person_id, occurred_at, direction_at(camera, punch.direction, caller), caller
        )
        self.bookkeeper.add(session, [event])
        if punch.reason is not None:
            note(session, event, {}, {"person_id": person_id}, punch.reason, caller.actor)
        record(session, caller.actor, "event.punched", event.id, {"person_id": person_id, "method": event.method})
        if camera is not None:
            saw(session, camera, sender.clock.received_at)
        return event

    def _moment(self, session: Session, camera: Camera | None, punch: schemas.Punch, sender: Sender) -> datetime:
        if camera is None and sender.principal.scope.includes(Scope.OPERATOR):
            occurred_at = punch.occurred_at or sender.clock.received_at
            refuse_impossible_time(occurred_at, sender.clock.received_at)
            return occurred_at
        return true_moment(session, camera, punch.occurred_at, sender.clock, self.max_age_days).occurred_at

    def _place(self, session: Session, camera: Camera | None, person_id: str, caller: Principal) -> PunchPlace:
        zone = self.bookkeeper.default_zone
        if camera is not None:
            return PunchPlace.of_site(sites.get(session, camera.site_id), zone, camera.id)
        if caller.scope.includes(Scope.OPERATOR):
            return PunchPlace.of_site(queries.home_site(session, person_id, sites.DEFAULT_SITE), zone)
        return PunchPlace.of_site(sites.get(session, sites.DEFAULT_SITE), zone)

    def _renew_badge(self, session: Session, person_id: str, badge: str) -> None:
        """Where it was given out under an earlier secret key, it is stored under the present one from now on."""
        stored, *earlier = self.sealer.fingerprints(badge)
        credential = queries.credential(session, person_id, "badge")
        if credential is not None and credential.badge_hmac in earlier:
            credential.badge_hmac = stored

    def _person_named(self, punch: schemas.Punch) -> str | None:
        with self.database.read() as session:
            return queries.active_person_id(session, employee_code=punch.employee_code, person_id=punch.person_id)

    def _person_of_badge(self, badge: str, sender: Sender) -> str:
        caller, now = sender.principal, sender.clock.received_at
        self.tries.refuse_locked_key("badge", caller, now)
        with self.database.read() as session:
            person_id = queries.person_of_badge(session, self.sealer.fingerprints(badge))
        if person_id is None:
            self.tries.count_failure("badge", caller, now)
            raise ProblemError(403, "badge_unknown", "Nobody has this badge. PUT /v1/people/{id}/badge gives it out.")
        return person_id

    def _checked(self, punch: schemas.Punch, pin: str, person_id: str | None, sender: Sender) -> str:
        """The person, if this is their PIN; None is tried as if there were somebody."""
        caller, now = sender.principal, sender.clock.received_at
        self.tries.refuse_locked_key("pin", caller, now)
        name = f"code {punch.employee_code}" if punch.employee_code is not None else f"id {punch.person_id}"
        self.tries.count_try(name, person_id, caller, now)
        if not self.hasher.is_right(self._pin_hash(person_id), pin) or person_id is None:
            self.tries.count_failure("pin", caller, now)
            raise ProblemError(403, "pin_wrong", "This PIN is wrong, or there is nobody who has it.")
        with self.database.write() as session:
            self.tries.forget(session, person_id)
        return person_id

    def _pin_hash(self, person_id: str | None) -> str | None:
        with self.database.read() as session:
            credential = queries.credential(session, person_id or "", "pin")
        return credential.pin_hash if credential else None


def set_pin(session: Session, person_id: str, pin_hash: str, caller: Principal) -> PunchCredential:
    """Give somebody a PIN."""
    return _set(session, person_id, caller, "pin", pin_hash=pin_hash)


def set_badge(session: Session, person_id: str, badge_hmacs: Sequence[str], caller: Principal) -> PunchCredential:
    """Give somebody a badge, stored under the first of these; 409 where somebody else has it under any of them."""
    taken = ProblemError(
        409, "badge_taken", "Another person has this badge. Take it from them first: DELETE /v1/people/{id}/badge."
    )
    if queries.badge_owner(session, badge_hmacs) not in (None, person_id):
        raise taken
    try:
        return _set(session, person_id, caller, "badge", badge_hmac=badge_hmacs[0])
    except IntegrityError:  # given out twice at the same moment
        raise taken from None


def remove(session: Session, person_id: str, kind: str, caller: Principal) -> None:
    """Take a PIN or a badge from somebody; nothing where they have none."""
    _existing(session, person_id)
    if (credential := queries.credential(session, person_id, kind)) is not None:
        session.delete(credential)
        record(session, caller.actor, f"{kind}.removed", person_id)


def _set(session: Session, person_id: str, caller: Principal, kind: str, **columns: str) -> PunchCredential:
    _existing(session, person_id)
    credential = queries.credential(session, person_id, kind)
    if credential is None:
        credential = PunchCredential(person_id=person_id, kind=kind)
        session.add(credential)
    credential.created_at = utc_now()
    for name, value in columns.items():
        setattr(credential, name, value)
    session.flush()
    record(session, caller.actor, f"{kind}.set", person_id)
    return credential


def _existing(session: Session, person_id: str) -> None:
    if person_id not in queries.lock_people(session, {person_id}):  # two who set one at once take turns
        raise ProblemError(404, "person_not_found", "There is no person with this id.")


def _method(punch: schemas.Punch) -> str:
    if punch.badge is not None:
        return "badge"
    return "manual" if punch.pin is None else "pin"

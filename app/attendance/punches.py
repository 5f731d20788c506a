"""Punches by PIN or badge: for people who do not consent to their face being used, or are not recognised.

A PIN has as few as four digits, so what protects it is that it can be tried five times in five minutes. Each try is
counted, and committed, before it is looked at: a hundred at once are no more than five. Whoever tries a person who is
not there, or has no PIN, is answered as for a wrong one, as late and as often.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.attendance import queries, schemas
from app.attendance.captures import Sender
from app.attendance.ledger import Bookkeeper, note
from app.attendance.moments import refuse_impossible_time, true_moment
from app.attendance.places import PunchPlace
from app.audit.service import record
from app.auth.scopes import Principal, Scope
from app.cameras.service import camera_for, saw
from app.db.engine import Database
from app.db.tables import Camera, Event, PunchCredential
from app.db.types import utc_now
from app.errors import ProblemError
from app.sealing import Sealer
from app.sites import service as sites

MOST_FAILURES: Final = 5
LOCKED_FOR: Final = timedelta(minutes=5)
# Names that nobody has, remembered as long as they are tried; more than one sender can try in five minutes.
_STRANGERS_KEPT: Final = 10_000


@dataclass(slots=True)
class _Tries:
    n: int = 0
    locked_until: datetime | None = None


class Strangers:
    """Counts tries for people who are not there, so that these answer as others do."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def count(self, name: str, now: datetime) -> datetime | None:
        """Until when nobody may try; None where this try counts."""
        with self._lock:
            tries = self._tries.setdefault(name, _Tries())
            self._tries.move_to_end(name)
            while len(self._tries) > _STRANGERS_KEPT:
                self._tries.popitem(last=False)
            locked, tries.n, tries.locked_until = counted(tries.n, tries.locked_until, now)
            return locked


def counted(n: int, locked_until: datetime | None, now: datetime) -> tuple[datetime | None, int, datetime | None]:
    """Until when a try is refused, if it is, and failures and lock after it; it counts as failed until it is right."""
    if locked_until is not None and locked_until > now:
        return locked_until, n, locked_until
    n = 1 if locked_until is not None else n + 1
    return None, n, now + LOCKED_FOR if n >= MOST_FAILURES else None


@dataclass(frozen=True, slots=True)
class PinCheck:
    """Checks PINs; `hasher` is slow on purpose."""

    database: Database
    strangers: Strangers
    hasher: PasswordHasher = field(default_factory=PasswordHasher)

    def person_of(self, punch: schemas.Punch, now: datetime) -> str:
        """Whose PIN this is; 403 `pin_wrong`, or 429 `pin_locked` after too many tries."""
        name = f"{punch.employee_code or ''}/{punch.person_id or ''}"
        with self.database.write() as session:
            person_id = queries.active_person_id(session, employee_code=punch.employee_code, person_id=punch.person_id)
            credential = queries.lock_credential(session, person_id, "pin") if person_id else None
            if credential is None:
                locked, pin_hash = self.strangers.count(name, now), None
            else:
                locked, credential.n_failures, credential.locked_until = counted(
                    credential.n_failures, credential.locked_until, now
                )
                pin_hash = credential.pin_hash
        if locked is not None:
            seconds = max(1, round((locked - now).total_seconds()))
            detail = f"Too many wrong PINs. Try again in {seconds} s."
            raise ProblemError(429, "pin_locked", detail, headers={"Retry-After": str(seconds)})
        if not self._is_right(pin_hash, punch.pin or "") or person_id is None:
            raise ProblemError(403, "pin_wrong", "This PIN is wrong, or there is nobody who has it.")
        self._forget_failures(person_id)
        return person_id

    def _is_right(self, pin_hash: str | None, pin: str) -> bool:
        try:
            if pin_hash is None:
                self.hasher.hash(pin)  # takes as long as looking would
                return False
            return self.hasher.verify(pin_hash, pin)
        except (VerificationError, InvalidHashError):
            return False

    def _forget_failures(self, person_id: str) -> None:
        with self.database.write() as session:
            if (credential := queries.lock_credential(session, person_id, "pin")) is not None:
                credential.n_failures, credential.locked_until = 0, None


@dataclass(frozen=True, slots=True)
class PunchClock:
    """Everything that punching needs."""

    pins: PinCheck
    bookkeeper: Bookkeeper
    sealer: Sealer
    max_age_days: int

    def person_of(self, punch: schemas.Punch, sender: Sender) -> str:
        """Who punches, as far as the caller may say so; in transactions of its own, before the punch is written."""
        is_operator = sender.principal.scope.includes(Scope.OPERATOR)
        if punch.badge is not None:
            return self._person_of_badge(punch.badge)
        if punch.pin is not None:
            return self.pins.person_of(punch, sender.clock.received_at)
        if not is_operator:
            detail = "A camera's key needs the person's pin, or a badge. Operators may leave it out."
            raise ProblemError(422, "pin_missing", detail)
        with self.pins.database.read() as session:
            person_id = queries.active_person_id(session, employee_code=punch.employee_code, person_id=punch.person_id)
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
            _method(punch), person_id, occurred_at, punch.direction or _fixed(camera), caller
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

    def _person_of_badge(self, badge: str) -> str:
        with self.pins.database.read() as session:
            person_id = queries.person_of_badge(session, self.sealer.fingerprints(badge))
        if person_id is None:
            raise ProblemError(403, "badge_unknown", "Nobody has this badge. PUT /v1/people/{id}/badge gives it out.")
        return person_id


def set_pin(session: Session, person_id: str, pin_hash: str, caller: Principal) -> PunchCredential:
    """Give somebody a PIN; whoever has a new one may try again at once."""
    return _set(session, person_id, caller, "pin", {"pin_hash": pin_hash, "n_failures": 0, "locked_until": None})


def set_badge(session: Session, person_id: str, badge_hmacs: Sequence[str], caller: Principal) -> PunchCredential:
    """Give somebody a badge, stored under the first of these; 409 where somebody else has it under any of them."""
    taken = ProblemError(
        409, "badge_taken", "Another person has this badge. Take it from them first: DELETE /v1/people/{id}/badge."
    )
    if queries.badge_owner(session, badge_hmacs) not in (None, person_id):
        raise taken
    try:
        return _set(session, person_id, caller, "badge", {"badge_hmac": badge_hmacs[0], "n_failures": 0})
    except IntegrityError:  # given out twice at the same moment
        raise taken from None


def remove(session: Session, person_id: str, kind: str, caller: Principal) -> None:
    """Take a PIN or a badge from somebody; nothing where they have none."""
    _existing(session, person_id)
    if (credential := queries.credential(session, person_id, kind)) is not None:
        session.delete(credential)
        record(session, caller.actor, f"{kind}.removed", person_id)


def _set(session: Session, person_id: str, caller: Principal, kind: str, columns: dict[str, object]) -> PunchCredential:
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


def _fixed(camera: Camera | None) -> str | None:
    return camera.direction if camera and camera.direction != "both" else None

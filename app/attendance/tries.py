"""How often a PIN or a badge may be wrong: five times for a person, twenty times in ten minutes for a key.

A try at somebody's PIN is counted, and committed, before it is looked at: a hundred at once are no more than five. Who
is right starts anew. What a key sends is counted once it is known to be wrong, so that a door where hundreds of people
punch is not locked by those who are right. Each lock is twice as long as the one before it, until a day has passed.

Counts are kept by fingerprints in the database, alike for people and for names that nobody has: neither the answers nor
the rows say who is there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.engine import Database
from app.db.tables import PunchTries
from app.errors import ProblemError
from app.sealing import Sealer
from app.tries import FORGOTTEN_AFTER, Limit, count, delete_old_rows, delete_row, lock_row, locked_s

Kind = Literal["pin", "badge"]

OF_PERSON: Final = Limit(5, FORGOTTEN_AFTER)
OF_KEY: Final = Limit(20, timedelta(minutes=10))


@dataclass(frozen=True, slots=True)
class Tries:
    """Counts the tries of one deployment; every method has a transaction of its own unless it is given one."""

    database: Database
    sealer: Sealer

    def refuse_locked_key(self, kind: Kind, caller: Principal, now: datetime) -> None:
        """429 `pin_locked` or `badge_locked` where this key was wrong too often."""
        with self.database.read() as session:
            tries = session.get(PunchTries, self._of_key(kind, caller))
        _refuse_locked(kind, tries, now)

    def count_failure(self, kind: Kind, caller: Principal, now: datetime) -> None:
        """This key was wrong once more."""
        with self.database.write() as session:
            tries = lock_row(session, PunchTries, self._of_key(kind, caller), now)
            if count(tries, OF_KEY, now):
                record(session, caller.actor, f"{kind}.locked", caller.id)

    def count_try(self, name: str, person_id: str | None, caller: Principal, now: datetime) -> None:
        """One more try at the PIN of somebody, or of a name that nobody has; 429 `pin_locked` after too many."""
        subject = self._of_person(person_id) if person_id else self._of(name)
        with self.database.write() as session:
            delete_old_rows(session, PunchTries, now)
            tries = lock_row(session, PunchTries, subject, now)
            _refuse_locked("pin", tries, now)
            if count(tries, OF_PERSON, now):
                record(session, caller.actor, "pin.locked", person_id)

    def forget(self, session: Session, person_id: str) -> None:
        """Somebody was right, or has a new PIN."""
        delete_row(session, PunchTries, self._of_person(person_id))

    def _of_person(self, person_id: str) -> str:
        return self._of(f"id {person_id}")

    def _of_key(self, kind: Kind, caller: Principal) -> str:
        return self._of(f"{kind} by {caller.id}")

    def _of(self, subject: str) -> str:
        return self.sealer.fingerprint(f"tries: {subject}")


def _refuse_locked(kind: Kind, tries: PunchTries | None, now: datetime) -> None:
    seconds = locked_s(tries, now)
    if seconds:
        words = {"pin": "PINs", "badge": "badges"}
        detail = f"Too many wrong {words[kind]}. Try again in {seconds} s."
        raise ProblemError(429, f"{kind}_locked", detail, headers={"Retry-After": str(seconds)})

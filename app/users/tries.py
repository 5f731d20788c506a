"""How often a password may be wrong: five times for a user name, twenty times in ten minutes from an address.

A try at somebody's password is counted, and committed, before it is looked at: a hundred at once are no more than five.
Names that nobody has are counted alike. What comes from an address is counted once it is known to be wrong, so that an
office behind one address is not locked out by those who are right; wrong keys at the setup page count there too.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.audit.service import record
from app.db.engine import Database
from app.db.tables import LoginTries
from app.db.types import utc_now
from app.errors import ProblemError
from app.sealing import Sealer
from app.tries import FORGOTTEN_AFTER, Limit, count, delete_old_rows, delete_row, lock_row, locked_s

OF_NAME: Final = Limit(5, FORGOTTEN_AFTER)
OF_ADDRESS: Final = Limit(20, timedelta(minutes=10))
# Who acts where nobody is known yet.
_NOBODY: Final = "nobody"
# One customer of an internet provider has at least this much of IPv6 to themselves.
_HOUSEHOLD_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Tries:
    """Counts the tries of one deployment; every method has a transaction of its own unless it is given one."""

    database: Database
    sealer: Sealer

    def refuse_locked_address(self, address: str) -> None:
        """429 `sign_in_locked` where too much that was wrong came from this address."""
        with self.database.read() as session:
            tries = session.get(LoginTries, self._of_address(address))
        _refuse_locked(tries)

    def count_failure(self, address: str) -> None:
        """Once more something wrong came from this address."""
        with self.database.write() as session:
            now = utc_now()
            tries = lock_row(session, LoginTries, self._of_address(address), now)
            if count(tries, OF_ADDRESS, now):
                record(session, _NOBODY, "user.locked", detail={"by": "address"})

    def count_try(self, username: str, user_id: str | None) -> None:
        """One more try at the password of a name, whether somebody has it or not; 429 `sign_in_locked` after five."""
        with self.database.write() as session:
            now = utc_now()
            delete_old_rows(session, LoginTries, now)
            tries = lock_row(session, LoginTries, self._of_name(username), now)
            _refuse_locked(tries)
            if count(tries, OF_NAME, now):
                record(session, _NOBODY, "user.locked", user_id, {"by": "name"})

    def locked(self, session: Session, usernames: Collection[str]) -> dict[str, datetime]:
        """Until when those of these names are locked that are."""
        names = {self._of_name(username): username for username in usernames}
        of = select(LoginTries).where(LoginTries.subject.in_(names), LoginTries.locked_until > utc_now())
        rows = session.scalars(of)
        return {names[row.subject]: row.locked_until for row in rows if row.locked_until is not None}

    def forget(self, session: Session, username: str) -> None:
        """Somebody was right, or has a new password."""
        delete_row(session, LoginTries, self._of_name(username))

    def _of_name(self, username: str) -> str:
        return self.sealer.fingerprint(f"sign-in tries: name {username}")

    def _of_address(self, address: str) -> str:
        return self.sealer.fingerprint(f"sign-in tries: address {_household(address)}")


def _household(address: str) -> str:
    """What one client can change at will is left out of its address."""
    try:
        parsed = ip_address(address)
    except ValueError:  # of a socket that has none
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, _HOUSEHOLD_BITS), strict=False))


def _refuse_locked(tries: LoginTries | None) -> None:
    seconds = locked_s(tries, utc_now())
    if seconds:
        detail = "Too many wrong tries. Wait until the lock ends, then try again."
        extra = {"retry_after_s": seconds}
        raise ProblemError(429, "sign_in_locked", detail, headers={"Retry-After": str(seconds)}, extra=extra)

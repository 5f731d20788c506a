"""Letting people in by their password, and letting them have another one; both count wrong tries, see `tries`."""

from dataclasses import dataclass

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.engine import Database
from app.db.tables import User
from app.errors import ProblemError
from app.hashing import SlowHasher
from app.users import queries, service, sessions
from app.users.sessions import SessionLimits, SignedIn
from app.users.tries import Tries


@dataclass(frozen=True, slots=True)
class Gate:
    """Who checks passwords. Nothing is kept here: any replica may be asked."""

    database: Database
    hasher: SlowHasher
    tries: Tries
    limits: SessionLimits

    def sign_in(self, username: str, password: str, address: str, old_cookie: str | None) -> str | None:
        """A new session's cookie, in place of the one that the browser had; None where something is wrong.

        Raises:
            ProblemError: 429 `sign_in_locked`.
        """
        self.tries.refuse_locked_address(address)
        name = service.folded(username)
        user = self._user_named(name)
        self.tries.count_try(name, user.id if user else None)
        is_right = self.hasher.is_right(user.password_hash if user else None, password)
        cookie = self._begin(user, old_cookie) if is_right and user is not None else None
        if cookie is None:
            self.tries.count_failure(address)
        return cookie

    def sign_out(self, signed_in: SignedIn) -> None:
        """Ends this browser's session."""
        with self.database.write() as session:
            queries.delete_session(session, signed_in.token_sha256)
            record(session, signed_in.principal.actor, "user.signed_out", signed_in.user_id)

    def change_password(self, caller: Principal, cookie: str, current: str, new: str) -> None:
        """Somebody's own; their other browsers have to sign in again.

        Raises:
            ProblemError: 403 `password_wrong`, 422 `password_weak`, 429 `sign_in_locked`.
        """
        service.refuse_weak(new)
        with self.database.read() as session:
            user = service.find_user(session, caller.id)
        self.tries.count_try(user.username, user.id)
        if not self.hasher.is_right(user.password_hash, current):
            raise _password_wrong()
        password_hash = service.hashed(self.hasher, new)
        with self.database.write() as session:
            locked = self._unchanged(queries.lock_user(session, user.id), user)
            if locked is None:
                raise _password_wrong()
            locked.password_hash = password_hash
            self.tries.forget(session, locked.username)
            n_ended = queries.delete_sessions_of(session, locked.id, but=sessions.digest_of(cookie))
            record(session, caller.actor, "user.password_changed", locked.id, {"sessions_ended": n_ended})

    def _user_named(self, name: str) -> User | None:
        if not name.isprintable():  # not every database could even look for it
            return None
        with self.database.read() as session:
            return queries.user_named(session, name)

    def _begin(self, user: User, old_cookie: str | None) -> str | None:
        with self.database.write() as session:
            locked = self._unchanged(queries.lock_user(session, user.id), user)
            if locked is None:
                return None
            self.tries.forget(session, locked.username)
            if old_cookie:
                queries.delete_session(session, sessions.digest_of(old_cookie))
            record(session, f"user:{locked.id}", "user.signed_in", locked.id)
            return sessions.begin(session, locked, self.limits)

    def _unchanged(self, now: User | None, then: User) -> User | None:
        """Who was not disabled and given no other password while this one was looked at."""
        is_same = now is not None and now.disabled_at is None and now.password_hash == then.password_hash
        return now if is_same else None


def _password_wrong() -> ProblemError:
    return ProblemError(403, "password_wrong", "The current password is wrong.")

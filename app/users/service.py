"""What can be done to users, inside a session that the caller commits."""

import unicodedata
from typing import Any, Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Scope
from app.db.tables import User
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.hashing import SlowHasher
from app.users import queries

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 200
LONGEST_USERNAME: Final = 100
# Fixed, so that two who set up at once cannot both become the first.
FIRST_USER_ID: Final = "usr_first"


def create_user(
    session: Session,
    username: str,
    name: str,
    role: Scope,
    password_hash: str,
    *,
    actor: str,
    user_id: str | None = None,
) -> User:
    """A new user; `password_hash` is what `hashed` made.

    Raises:
        ProblemError: 409 `username_taken`, 422 `username_invalid`.
    """
    user = User(
        id=user_id or new_id("usr"),
        username=checked_username(username),
        name=name,
        role=role.value,
        password_hash=password_hash,
        created_at=utc_now(),
    )
    try:
        with session.begin_nested():
            session.add(user)
            session.flush()
    except IntegrityError:
        raise ProblemError(409, "username_taken", "Somebody has this user name already. Choose another one.") from None
    record(session, actor, "user.created", user.id, {"role": role.value})
    return user


def create_first_admin(session: Session, username: str, name: str, password_hash: str, *, actor: str) -> User:
    """The first user, where there is none yet.

    Raises:
        ProblemError: 409 `setup_done`, 422 `username_invalid`.
    """
    if not needs_setup(session):
        raise _setup_done()
    try:
        return create_user(session, username, name, Scope.ADMIN, password_hash, actor=actor, user_id=FIRST_USER_ID)
    except ProblemError as problem:
        raise _setup_done() if problem.code == "username_taken" else problem from None


def update_user(
    session: Session, user_id: str, changes: dict[str, Any], password_hash: str | None, *, actor: str
) -> User:
    """Changes `name`, `role` and `disabled` as they are given, and the password where there is a new hash.

    Whoever has another role or password, or is disabled, is signed out everywhere.

    Raises:
        ProblemError: 404 `user_not_found`, 409 `last_admin`.
    """
    admins = queries.lock_admins(session)  # before the user, always: two at once must not wait for each other
    user = _found(queries.lock_user(session, user_id))
    before = user.role, user.disabled_at is None
    user.name = changes.get("name", user.name)
    user.role = changes.get("role", user.role)
    if "disabled" in changes:
        user.disabled_at = (user.disabled_at or utc_now()) if changes["disabled"] else None
    user.password_hash = password_hash or user.password_hash
    if admins == [user.id] and (user.role != Scope.ADMIN.value or user.disabled_at is not None):
        detail = "This is the last administrator who can sign in. Make somebody else an administrator first."
        raise ProblemError(409, "last_admin", detail)
    is_other = before != (user.role, user.disabled_at is None) or password_hash is not None
    n_ended = queries.delete_sessions_of(session, user.id) if is_other else 0
    fields = sorted({*changes, *(["password"] if password_hash else [])})
    shown = {name: value for name, value in changes.items() if name in ("role", "disabled")}
    record(session, actor, "user.updated", user.id, {"fields": fields, **shown, "sessions_ended": n_ended})
    return user


def hashed(hasher: SlowHasher, password: str) -> str:
    """What is stored of a password; takes tens of milliseconds, so outside of transactions.

    Raises:
        ProblemError: 422 `password_weak`.
    """
    refuse_weak(password)
    return hasher.hash(password)


def refuse_weak(password: str) -> None:
    """422 `password_weak` where it is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        detail = "Choose a password of 12 to 200 characters; a sentence is easy to remember."
        raise ProblemError(422, "password_weak", detail)


def folded(username: str) -> str:
    """A user name as it is compared: people type capitals where they like."""
    return unicodedata.normalize("NFKC", username).strip().casefold()


def checked_username(username: str) -> str:
    """A user name as it is stored.

    Raises:
        ProblemError: 422 `username_invalid`.
    """
    name = folded(username)
    if not 1 <= len(name) <= LONGEST_USERNAME or not name.isprintable() or " " in name:
        detail = "Choose a user name of 1 to 100 characters, without spaces."
        raise ProblemError(422, "username_invalid", detail)
    return name


def find_user(session: Session, user_id: str) -> User:
    """404 `user_not_found` when there is none."""
    return _found(session.get(User, user_id))


def find_user_named(session: Session, username: str) -> User:
    """404 `user_not_found` when there is none."""
    return _found(queries.user_named(session, folded(username)))


def needs_setup(session: Session) -> bool:
    """Whether nobody can sign in yet."""
    return not queries.any_user(session)


def _found(user: User | None) -> User:
    if user is None:
        raise ProblemError(404, "user_not_found", "There is no such user. GET /v1/users lists them.")
    return user


def _setup_done() -> ProblemError:
    return ProblemError(409, "setup_done", "Somebody has set this service up already: sign in.")

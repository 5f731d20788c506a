"""Making, checking and revoking keys.

A secret is 32 random bytes, so its SHA-256 cannot be searched backwards the way a password's could: a slow hash would
cost every request milliseconds and protect nothing. Looking the hash up by its index also compares nothing secret byte
by byte, so timing tells a guesser nothing about the secret.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Literal

import structlog
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.auth import queries
from app.auth.scopes import Principal, Scope
from app.db.engine import Database
from app.db.tables import ApiKey
from app.db.types import new_id, utc_now
from app.errors import ProblemError

PREFIX = "rck_"
# Of the ids of keys that the command line makes for single commands of its own.
COMMAND_PREFIX = "key_cli"
# Enough to see that a key is in use, without a write per request.
TOUCH_EVERY = timedelta(minutes=1)
# Fixed, so that two replicas that start together cannot both make a first key.
FIRST_KEY_ID = "key_first_admin"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="rollcall", ApiKey realm="rollcall"'}

log = structlog.get_logger(__name__)


def create_key(
    session: Session,
    name: str,
    scope: Scope,
    expires_at: datetime | None = None,
    *,
    key_id: str | None = None,
    camera_id: str | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is shown now and never again; `camera_id`: a camera's own."""
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        id=key_id or new_id("key"),
        name=name,
        scope=Scope(scope).value,
        secret_sha256=_sha256(secret),
        created_at=utc_now(),
        expires_at=expires_at,
        camera_id=camera_id,
    )
    session.add(key)
    session.flush()
    return key, secret


def ensure_first_admin_key(session: Session) -> str | None:
    """The secret of an admin key made because there was no key at all; None ever after."""
    if queries.any_key(session):
        return None
    try:
        with session.begin_nested():
            return create_key(session, "first admin key", Scope.ADMIN, key_id=FIRST_KEY_ID)[1]
    except IntegrityError:  # another replica was first
        return None


def find_key(session: Session, key_id: str) -> ApiKey:
    """404 `key_not_found` when there is none."""
    key = session.get(ApiKey, key_id)
    if key is None:
        raise ProblemError(404, "key_not_found", "There is no key with this id.")
    return key


def revoke_key(session: Session, key_id: str) -> bool:
    """Takes effect with the next request; whether it was not revoked before."""
    key = find_key(session, key_id)
    is_new = key.revoked_at is None
    key.revoked_at = key.revoked_at or utc_now()
    return is_new


def is_active(key: ApiKey, now: datetime) -> bool:
    """Neither revoked nor expired."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def made_for(key: ApiKey) -> Literal["caller", "camera", "command"]:
    """Whose it is: a camera's own, that of one command, or that of whoever was given it."""
    if key.camera_id is not None:
        return "camera"
    return "command" if key.id.startswith(f"{COMMAND_PREFIX}_") else "caller"


def delete_key(session: Session, key_id: str) -> None:
    """For a key that was made for one command; what it did stays in the audit log under its id."""
    queries.delete_key(session, key_id)


def delete_expired_keys(session: Session, prefix: str) -> None:
    """Deletes keys made for one command that ended without deleting its own."""
    queries.delete_expired(session, prefix, utc_now())


def authenticate(database: Database, secret: str | None) -> Principal:
    """Who holds this secret; refuses with 401 when nobody does (any more)."""
    if not secret:
        detail = "Send a key in X-API-Key or as a Bearer token; `rollcall keys create` makes one."
        raise ProblemError(401, "key_missing", detail, headers=CHALLENGE)
    with database.read() as session:
        key = queries.key_by_hash(session, _sha256(secret))
    now = utc_now()
    if key is None or not is_active(key, now):
        raise ProblemError(401, "key_unknown", "This key is unknown, expired or revoked.", headers=CHALLENGE)
    if key.last_used_at is None or key.last_used_at < now - TOUCH_EVERY:
        _touch(database, key.id, now)
    return Principal(key.id, Scope(key.scope), key.camera_id)


def _touch(database: Database, key_id: str, now: datetime) -> None:
    try:
        with database.write() as session:
            queries.touch(session, key_id, now, now - TOUCH_EVERY)
    except OperationalError:  # a note about use is not worth a refused request
        log.warning("auth.touch_failed", key_id=key_id)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

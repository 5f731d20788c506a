"""Browser sessions: a random cookie whose hash is stored, with an end whatever happens and an earlier one when idle."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.auth.scopes import Principal, Scope
from app.db.engine import Database
from app.db.tables import User, UserSession
from app.db.types import utc_now
from app.errors import ProblemError
from app.settings import Settings
from app.users import queries

COOKIE: Final = "rollcall_session"
CSRF_HEADER: Final = "X-CSRF-Token"
# What a page sends with that which it asks by itself, every few seconds.
BACKGROUND_HEADER: Final = "X-Background"
# These change nothing, whoever makes a browser ask for them.
SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
# Enough to see that somebody is there, without a write per request.
_TOUCH_EVERY: Final = timedelta(minutes=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lasts: when nothing is asked, and in any case."""

    idle: timedelta
    longest: timedelta

    @classmethod
    def of(cls, settings: Settings) -> "SessionLimits":
        return cls(timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours))


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who is signed in, with this browser."""

    user_id: str
    username: str
    name: str
    role: Scope
    csrf_token: str
    token_sha256: str

    @property
    def principal(self) -> Principal:
        """As the API knows callers."""
        return Principal(self.user_id, self.role, kind="user")


def begin(session: Session, user: User, limits: SessionLimits) -> str:
    """A new session; returns what its cookie holds, which is not kept."""
    now, token = utc_now(), secrets.token_urlsafe(32)
    queries.delete_ended_sessions(session, now, now - limits.idle)
    session.add(
        UserSession(
            token_sha256=digest_of(token),
            user_id=user.id,
            csrf_token=secrets.token_urlsafe(32),
            created_at=now,
            seen_at=now,
            expires_at=now + limits.longest,
        )
    )
    user.last_login_at = now
    return token


def find(
    database: Database, token: str | None, limits: SessionLimits, *, is_background: bool = False
) -> SignedIn | None:
    """Whose cookie this is; None when it is nobody's any more. What a page asks by itself is no sign of anybody."""
    if not token:
        return None
    now, digest = utc_now(), digest_of(token)
    with database.read() as session:
        found = queries.session_and_user(session, digest)
    if found is None:
        return None
    kept, user = found
    if kept.expires_at <= now or kept.seen_at + limits.idle <= now or user.disabled_at is not None:
        return None
    if not is_background and kept.seen_at < now - min(_TOUCH_EVERY, limits.idle / 4):
        _touch(database, digest, now)
    return SignedIn(user.id, user.username, user.name, Scope(user.role), kept.csrf_token, digest)


def is_background(headers: Mapping[str, str]) -> bool:
    """Whether a page asks this by itself, however long ago somebody left it: what it repeats, streams and pictures."""
    accepted = headers.get("accept", "")
    return BACKGROUND_HEADER in headers or accepted.startswith(("text/event-stream", "image/"))


def digest_of(token: str) -> str:
    """What is kept of a cookie."""
    return hashlib.sha256(token.encode()).hexdigest()


def require_csrf(signed_in: SignedIn, method: str, given: str | None) -> None:
    """Refuses what some other page may have made this browser send.

    Raises:
        ProblemError: 403 `csrf_invalid`.
    """
    if method in SAFE_METHODS:
        return
    if given is None or not hmac.compare_digest(given.encode(), signed_in.csrf_token.encode()):
        detail = "This did not come from a page of this service, or from an old one. Reload the page and try again."
        raise ProblemError(403, "csrf_invalid", detail)


def _touch(database: Database, digest: str, now: datetime) -> None:
    try:
        with database.write() as session:
            queries.touch(session, digest, now)
    except OperationalError:  # a note about use is not worth a refused request
        log.warning("sessions.touch_failed")

"""People who sign in to the dashboard, and their sessions. They are not those who are recognised: see `people`."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, UtcDateTime


class User(Base):
    """Somebody who may sign in. `username` is lower case; `role` is `operator` or `admin`.

    One who was disabled stays, because the audit log names them.
    """

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    username: Mapped[str] = mapped_column(String(100), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    password_hash: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_login_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class UserSession(Base):
    """A browser that somebody signed in with; only the SHA-256 of its cookie is kept.

    It ends at `expires_at` whatever happens, and earlier where nothing is asked for a while after `seen_at`.
    `csrf_token` must come with everything that changes something.
    """

    __tablename__ = "user_sessions"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    csrf_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class LoginTries(Base):
    """How often a password was wrong, of one name or from one address, `since` when; see `app.users.tries`.

    `subject` is a fingerprint, of users as of names that nobody has.
    """

    __tablename__ = "login_tries"

    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    n_failures: Mapped[int]
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    n_locks: Mapped[int]
    locked_until: Mapped[datetime | None] = mapped_column(UtcDateTime)

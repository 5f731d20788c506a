"""All SQL about users and their sessions."""

from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, delete, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from app.auth.scopes import Scope
from app.db.tables import User, UserSession


def user_named(session: Session, username: str) -> User | None:
    return session.scalars(select(User).where(User.username == username)).one_or_none()


def any_user(session: Session) -> bool:
    return session.scalars(select(User.id).limit(1)).first() is not None


def all_users(session: Session) -> list[User]:
    return list(session.scalars(select(User).order_by(User.created_at, User.id)))


def list_users(session: Session, *, after: tuple[datetime, str] | None, limit: int) -> list[User]:
    """Oldest first."""
    statement = select(User).order_by(User.created_at, User.id).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(User.created_at, User.id) > after)
    return list(session.scalars(statement))


def lock_user(session: Session, user_id: str) -> User | None:
    """As they are now, to ourselves until the commit."""
    statement = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return session.scalars(statement.execution_options(populate_existing=True)).one_or_none()


def lock_admins(session: Session) -> list[str]:
    """Ids of those who may sign in as administrators; nobody else can change that before the commit."""
    active = User.role == Scope.ADMIN.value, User.disabled_at.is_(None)
    return list(session.scalars(select(User.id).where(*active).order_by(User.id).with_for_update(key_share=True)))


def active_admins(session: Session, *, limit: int) -> list[str]:
    """Ids of some of those who may sign in as administrators."""
    active = User.role == Scope.ADMIN.value, User.disabled_at.is_(None)
    return list(session.scalars(select(User.id).where(*active).order_by(User.id).limit(limit)))


def session_and_user(session: Session, token_sha256: str) -> tuple[UserSession, User] | None:
    query = select(UserSession, User).join(User, User.id == UserSession.user_id)
    row = session.execute(query.where(UserSession.token_sha256 == token_sha256)).one_or_none()
    return (row[0], row[1]) if row is not None else None


def sessions_of(session: Session, user_id: str, now: datetime, idle_since: datetime) -> list[UserSession]:
    """Those that have not ended, the latest first."""
    alive = UserSession.expires_at > now, UserSession.seen_at > idle_since
    query = select(UserSession).where(UserSession.user_id == user_id, *alive)
    return list(session.scalars(query.order_by(UserSession.seen_at.desc(), UserSession.token_sha256)))


def n_sessions(session: Session, now: datetime, idle_since: datetime) -> dict[str, int]:
    """How many browsers each user is signed in with; without those who are not."""
    alive = UserSession.expires_at > now, UserSession.seen_at > idle_since
    query = select(UserSession.user_id, func.count()).where(*alive).group_by(UserSession.user_id)
    return {user_id: n for user_id, n in session.execute(query)}


def touch(session: Session, token_sha256: str, now: datetime) -> None:
    query = update(UserSession).where(UserSession.token_sha256 == token_sha256, UserSession.seen_at < now)
    session.execute(query.values(seen_at=now))


def delete_session(session: Session, token_sha256: str) -> None:
    session.execute(delete(UserSession).where(UserSession.token_sha256 == token_sha256))


def delete_sessions_of(session: Session, user_id: str, but: str | None = None) -> int:
    """All of a user's, or all `but` one; how many there were."""
    query = delete(UserSession).where(UserSession.user_id == user_id)
    told = query if but is None else query.where(UserSession.token_sha256 != but)
    deleted: CursorResult[Any] = session.execute(told)  # type: ignore[assignment]
    return deleted.rowcount


def delete_ended_sessions(session: Session, now: datetime, idle_since: datetime) -> None:
    session.execute(delete(UserSession).where(or_(UserSession.expires_at <= now, UserSession.seen_at <= idle_since)))

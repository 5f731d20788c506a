"""All SQL about keys."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, or_, select, tuple_, update
from sqlalchemy.orm import Session

from app.db.tables import ApiKey, Camera


def key_by_hash(session: Session, secret_sha256: str) -> ApiKey | None:
    return session.scalars(select(ApiKey).where(ApiKey.secret_sha256 == secret_sha256)).one_or_none()


def any_key(session: Session) -> bool:
    return session.scalars(select(ApiKey.id).limit(1)).first() is not None


def all_keys(session: Session) -> list[ApiKey]:
    return list(session.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.id)))


def list_keys(
    session: Session, *, active_at: datetime | None, before: tuple[datetime, str] | None, limit: int
) -> list[ApiKey]:
    """Newest first; with `active_at` those alone that could be used then."""
    statement = select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(limit)
    if active_at is not None:
        lasts = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > active_at)
        statement = statement.where(ApiKey.revoked_at.is_(None), lasts)
    if before is not None:
        statement = statement.where(tuple_(ApiKey.created_at, ApiKey.id) < before)
    return list(session.scalars(statement))


def delete_key(session: Session, key_id: str) -> None:
    session.execute(delete(ApiKey).where(ApiKey.id == key_id))


def delete_expired(session: Session, prefix: str, now: datetime) -> None:
    """Expired keys whose id begins with this."""
    of_kind = ApiKey.id.startswith(f"{prefix}_", autoescape=True)
    session.execute(delete(ApiKey).where(of_kind, ApiKey.expires_at < now))


def keys_of_camera(session: Session, camera_id: str) -> list[ApiKey]:
    """Those that are not revoked."""
    return list(session.scalars(select(ApiKey).where(ApiKey.camera_id == camera_id, ApiKey.revoked_at.is_(None))))


def names_of_cameras(session: Session, camera_ids: Collection[str]) -> dict[str, str]:
    """Also of those that were deleted: their keys are still listed."""
    if not camera_ids:
        return {}
    rows = session.execute(select(Camera.id, Camera.name).where(Camera.id.in_(camera_ids)))
    return {camera_id: name for camera_id, name in rows}


def touch(session: Session, key_id: str, now: datetime, unless_after: datetime) -> None:
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < unless_after)
    session.execute(update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=now))

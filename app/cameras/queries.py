"""All SQL about cameras and their clocks."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, or_, select, tuple_
from sqlalchemy.orm import Session

from app.db.tables import ApiKey, Camera, CameraClock


def camera_by_id(session: Session, camera_id: str) -> Camera | None:
    return session.get(Camera, camera_id)


def lock_camera(session: Session, camera_id: str) -> Camera | None:
    """The camera as it is now, to ourselves until the commit."""
    statement = select(Camera).where(Camera.id == camera_id).with_for_update(key_share=True)
    return session.scalars(statement.execution_options(populate_existing=True)).one_or_none()


def list_cameras(
    session: Session, *, site_id: str | None = None, after: tuple[datetime, str] | None, limit: int
) -> list[Camera]:
    """Oldest first, without those that were deleted."""
    statement = select(Camera).where(Camera.deleted_at.is_(None)).order_by(Camera.created_at, Camera.id).limit(limit)
    if site_id is not None:
        statement = statement.where(Camera.site_id == site_id)
    if after is not None:
        statement = statement.where(tuple_(Camera.created_at, Camera.id) > after)
    return list(session.scalars(statement))


def last_clock(session: Session, camera_id: str) -> CameraClock | None:
    """The newest measurement."""
    mine = select(CameraClock).where(CameraClock.camera_id == camera_id)
    return session.scalars(mine.order_by(CameraClock.id.desc()).limit(1)).one_or_none()


def nearest_clocks(session: Session, camera_id: str, device_at: datetime) -> list[CameraClock]:
    """The last measurement up to this time of the camera's own clock, and the first one after it."""
    mine, at = select(CameraClock).where(CameraClock.camera_id == camera_id), CameraClock.device_at
    before = mine.where(at <= device_at).order_by(at.desc(), CameraClock.id.desc()).limit(1)
    after = mine.where(at > device_at).order_by(at, CameraClock.id.desc()).limit(1)
    return [clock for half in (before, after) for clock in session.scalars(half)]


def forget_clocks(session: Session, camera_id: str, keep: int) -> None:
    """All but the newest measurements."""
    mine = select(CameraClock.id).where(CameraClock.camera_id == camera_id)
    oldest = session.scalars(mine.order_by(CameraClock.id.desc()).offset(keep).limit(1)).one_or_none()
    if oldest is not None:
        session.execute(delete(CameraClock).where(CameraClock.camera_id == camera_id, CameraClock.id <= oldest))


def keys_of(session: Session, camera_ids: Collection[str], now: datetime) -> list[ApiKey]:
    """The keys that count of these cameras, newest first."""
    counts = ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
    mine = select(ApiKey).where(ApiKey.camera_id.in_(camera_ids), *counts)
    return list(session.scalars(mine.order_by(ApiKey.created_at.desc(), ApiKey.id)))

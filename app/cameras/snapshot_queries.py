"""All SQL about what cameras see right now."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db.tables import CameraSnapshot


def of_camera(session: Session, camera_id: str) -> CameraSnapshot | None:
    """The only one that a camera has."""
    return session.get(CameraSnapshot, camera_id)


def with_id(session: Session, snapshot_id: str) -> CameraSnapshot | None:
    return session.scalars(select(CameraSnapshot).where(CameraSnapshot.id == snapshot_id)).one_or_none()


def wanted_of(session: Session, camera_id: str, asked_after: datetime) -> str | None:
    """The id of the picture that somebody waits for."""
    mine = select(CameraSnapshot.id).where(CameraSnapshot.camera_id == camera_id, CameraSnapshot.status == "wanted")
    return session.scalars(mine.where(CameraSnapshot.asked_at > asked_after)).one_or_none()


def any_expired(session: Session, now: datetime) -> bool:
    return (
        session.scalars(select(CameraSnapshot.id).where(CameraSnapshot.expires_at <= now).limit(1)).first() is not None
    )


def delete_expired(session: Session, now: datetime) -> None:
    session.execute(delete(CameraSnapshot).where(CameraSnapshot.expires_at <= now))


def delete_taken(session: Session) -> None:
    """Every picture there is: whoever is erased may be in any of them, recognised or not."""
    session.execute(delete(CameraSnapshot).where(CameraSnapshot.sealed_picture.is_not(None)))

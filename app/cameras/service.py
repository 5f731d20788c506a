"""What can be done to cameras, inside a session that the caller commits."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.queries import keys_of_camera
from app.auth.scopes import Principal, Scope
from app.auth.service import create_key
from app.cameras import queries, schemas
from app.db.clock import shared_now
from app.db.tables import Camera
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.sites import service as sites
from app.sites.queries import sites_by_ids

# Three heartbeats of our own client, which sends one every 30 s.
ONLINE_S = 90
# Enough to tell whether a camera is online, without a write per picture.
SEEN_EVERY_S = 10


def get(session: Session, camera_id: str) -> Camera:
    """The camera, deleted or not, or 404."""
    return _found(queries.camera_by_id(session, camera_id))


def create(session: Session, new: schemas.CameraCreate, actor: str) -> tuple[Camera, str]:
    """The camera and its key, which is shown now and never again."""
    site_id = sites.named(session, new.site_id).id if new.site_id else sites.DEFAULT_SITE
    _refuse_liveness(new.policy)
    now = utc_now()
    camera = Camera(
        id=new_id("cam"),
        name=new.name,
        site_id=site_id,
        direction=new.direction,
        policy=new.policy.model_dump(),
        created_at=now,
        updated_at=now,
    )
    session.add(camera)
    key, secret = create_key(session, camera.name, Scope.CAMERA, camera_id=camera.id)
    record(session, actor, "camera.created", camera.id, {"key_id": key.id})
    return camera, secret


def update(session: Session, camera_id: str, update: schemas.CameraUpdate, actor: str) -> Camera:
    """Whatever changes counts for what comes: events have the site and the direction of their time."""
    camera = standing(queries.lock_camera(session, camera_id))
    changes = update.changes
    if update.site_id is not None:
        sites.named(session, update.site_id)
    if update.policy is not None:
        _refuse_liveness(update.policy)
        changes["policy"] = update.policy.model_dump()
    for name, value in changes.items():
        setattr(camera, name, value)
    camera.updated_at = utc_now()
    record(session, actor, "camera.updated", camera.id, {"fields": sorted(changes)})
    return camera


def delete(session: Session, camera_id: str, actor: str) -> None:
    """Its keys are refused from their next request on; its events stay, and name it."""
    camera = standing(queries.lock_camera(session, camera_id))
    camera.deleted_at = utc_now()
    keys = keys_of_camera(session, camera.id)
    for key in keys:
        key.revoked_at = camera.deleted_at
    record(session, actor, "camera.deleted", camera.id, {"keys_revoked": len(keys)})


def rotate_key(session: Session, camera_id: str, grace_s: int, actor: str) -> tuple[str, datetime]:
    """A new key, and when those that the camera had until now end."""
    camera = standing(queries.lock_camera(session, camera_id))
    end_at = utc_now() + timedelta(seconds=grace_s)
    for old in keys_of_camera(session, camera.id):
        old.expires_at = min(old.expires_at or end_at, end_at)
    key, secret = create_key(session, camera.name, Scope.CAMERA, camera_id=camera.id)
    record(session, actor, "camera.key_rotated", camera.id, {"key_id": key.id, "grace_s": grace_s})
    return secret, end_at


def camera_for(session: Session, caller: Principal, camera_id: str | None) -> Camera | None:
    """The camera that a caller speaks for: that of the key, else the one that is named, else none."""
    own = caller.camera_id
    if camera_id is not None and camera_id != own and not caller.scope.includes(Scope.OPERATOR):
        detail = "This key may not speak for that camera. Leave camera_id out, or use the camera's own key."
        raise ProblemError(403, "camera_mismatch", detail)
    wanted = camera_id or own
    return None if wanted is None else standing(queries.camera_by_id(session, wanted))


def saw(session: Session, camera: Camera, at: datetime, picture_at: datetime | None = None) -> None:
    """Notes that a camera was heard of, and when its picture was taken if it sent one.

    The last thing a transaction does, because others wait for the row.
    """
    if _is_news(camera.last_seen_at, at):
        camera.last_seen_at = at
    if picture_at is not None and _is_news(camera.last_picture_at, picture_at):
        camera.last_picture_at = picture_at


def _is_news(known: datetime | None, at: datetime) -> bool:
    """Whether it is worth a write: later, and by more than a moment."""
    return known is None or at - known >= timedelta(seconds=SEEN_EVERY_S)


def views(session: Session, cameras: Sequence[Camera], default_zone: str) -> list[schemas.Camera]:
    """Cameras as the API shows them."""
    now = shared_now(session)
    places = sites_by_ids(session, {camera.site_id for camera in cameras})
    return [_view(camera, sites.zone_of(places[camera.site_id], default_zone), now) for camera in cameras]


def _view(camera: Camera, zone: str, now: datetime) -> schemas.Camera:
    seen = camera.last_seen_at
    return schemas.Camera(
        id=camera.id,
        name=camera.name,
        site_id=camera.site_id,
        timezone=zone,
        direction=camera.direction,
        policy=schemas.Policy.model_validate(camera.policy),
        last_seen_at=seen,
        last_picture_at=camera.last_picture_at,
        is_online=seen is not None and now - seen <= timedelta(seconds=ONLINE_S),
        clock_offset_s=camera.clock_offset_s,
        created_at=camera.created_at,
        updated_at=camera.updated_at,
        deleted_at=camera.deleted_at,
    )


def _found(camera: Camera | None) -> Camera:
    if camera is None:
        raise ProblemError(404, "camera_not_found", "There is no camera with this id. GET /v1/cameras lists them.")
    return camera


def standing(camera: Camera | None) -> Camera:
    """The camera, or 404 where there is none or it was deleted."""
    if camera is not None and camera.deleted_at is not None:
        raise ProblemError(404, "camera_not_found", "This camera was deleted. Add it again to use it again.")
    return _found(camera)


def _refuse_liveness(policy: schemas.Policy) -> None:
    if policy.liveness == "required":
        detail = "No liveness check is installed, so none can be required. Set policy.liveness to off."
        raise ProblemError(422, "liveness_unavailable", detail)

"""`/v1/cameras`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from app.auth.dependencies import AdminDep, CameraDep, OperatorDep
from app.cameras import clocks, queries, schemas, service, snapshots
from app.db.clock import shared_now
from app.db.tables import Camera
from app.gallery.changes import current_revision
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep, Store
from app.http.pagination import CursorCodec, Page, PageDep, cut_page

router = APIRouter(prefix="/v1/cameras", tags=["Attendance"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])


@router.post("", status_code=201, response_model=schemas.CameraWithKey)
def create_camera(
    new: schemas.CameraCreate,
    database: DatabaseDep,
    settings: SettingsDep,
    caller: AdminDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Adds a camera. `key` is shown in this answer alone; to get another one, rotate it."""

    def attempt(store: Store) -> Answer:
        with database.write() as session:
            camera, key = service.create(session, new, caller.actor)
            fields = service.views(session, [camera], settings.timezone)[0].model_dump()
            headers = {"Location": f"/v1/cameras/{camera.id}"}
            store(session, Answer(201, schemas.CameraWithKey(**fields, key=None), headers))  # no key is ever stored
        return Answer(201, schemas.CameraWithKey(**fields, key=key), headers)

    return idempotency.run(attempt)


@router.get("")
def list_cameras(
    database: DatabaseDep,
    settings: SettingsDep,
    page: PageDep,
    _caller: OperatorDep,
    site_id: Annotated[str | None, Query(max_length=40)] = None,
) -> Page[schemas.Camera]:
    """Cameras, oldest first."""
    after = CURSOR.decode(page.cursor)
    with database.read() as session:
        rows = queries.list_cameras(session, site_id=site_id, after=after, limit=page.limit + 1)
        shown, next_cursor = cut_page(rows, page.limit, _cursor_of)
        return Page(items=service.views(session, shown, settings.timezone), next_cursor=next_cursor)


@router.post("/heartbeat")
def heartbeat(
    database: DatabaseDep,
    settings: SettingsDep,
    caller: CameraDep,
    beat: schemas.Heartbeat | None = None,
) -> schemas.HeartbeatAnswer:
    """Tells that a camera is there, and measures its clock: captures that it sends are corrected by what it lacks.

    Send one every 30 seconds or so, with the camera's own key.
    """
    with database.read() as session:
        now = shared_now(session)  # before any wait for other writers: that would be taken for the clock's error
    with database.write() as session:
        camera, offset_s = clocks.heartbeat(session, caller, beat or schemas.Heartbeat(), now)
        wanted = snapshots.wanted_of(session, camera.id) if caller.camera_id == camera.id else None
        return schemas.HeartbeatAnswer(
            server_time=now,
            clock_offset_s=offset_s,
            camera=service.views(session, [camera], settings.timezone)[0],
            gallery_revision=current_revision(session),
            snapshot=schemas.WantedSnapshot(id=wanted) if wanted else None,
        )


@router.get("/{camera_id}")
def get_camera(camera_id: str, database: DatabaseDep, settings: SettingsDep, _caller: OperatorDep) -> schemas.Camera:
    """One camera, also if it was deleted: events name it for ever."""
    with database.read() as session:
        return service.views(session, [service.get(session, camera_id)], settings.timezone)[0]


@router.patch("/{camera_id}")
def update_camera(
    camera_id: str,
    update: schemas.CameraUpdate,
    database: DatabaseDep,
    settings: SettingsDep,
    caller: AdminDep,
) -> schemas.Camera:
    """Changes the fields that are sent, for what is captured from now on."""
    with database.write() as session:
        camera = service.update(session, camera_id, update, caller.actor)
        return service.views(session, [camera], settings.timezone)[0]


@router.delete("/{camera_id}", status_code=204)
def delete_camera(camera_id: str, database: DatabaseDep, caller: AdminDep) -> None:
    """Deletes a camera: its keys are refused from now on, its events stay."""
    with database.write() as session:
        service.delete(session, camera_id, caller.actor)


@router.post("/{camera_id}/rotate-key", response_model=schemas.RotatedKey)
def rotate_key(
    camera_id: str,
    database: DatabaseDep,
    caller: AdminDep,
    idempotency: IdempotencyDep,
    rotation: schemas.KeyRotation | None = None,
) -> Response:
    """Makes a new key for a camera; those that it has now count for `grace_s` more seconds, to be replaced in peace."""

    def attempt(store: Store) -> Answer:
        grace_s = (rotation or schemas.KeyRotation()).grace_s
        with database.write() as session:
            key, end_at = service.rotate_key(session, camera_id, grace_s, caller.actor)
            store(session, Answer(200, schemas.RotatedKey(key=None, old_keys_end_at=end_at)))  # no key is ever stored
        return Answer(200, schemas.RotatedKey(key=key, old_keys_end_at=end_at))

    return idempotency.run(attempt)


def _cursor_of(camera: Camera) -> str:
    return CURSOR.encode((camera.created_at, camera.id))

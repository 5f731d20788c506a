"""`/v1/cameras/{id}/snapshot`: what a camera sees right now."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile as FormFile
from starlette.requests import Request
from starlette.responses import Response

from app.attendance.schemas import SmallestSentFace
from app.auth.dependencies import CAMERA, CameraDep, OperatorDep
from app.auth.scopes import Principal
from app.cameras import snapshots
from app.cameras.schemas import WantedSnapshot
from app.cameras.snapshot_schemas import Snapshot, Trouble, Wanted
from app.db.engine import Database
from app.db.tables import Camera
from app.errors import ProblemError
from app.http.content_type import FORM, FORM_WITHOUT_FILES, require_type
from app.http.dependencies import DatabaseDep, SealerDep, SettingsDep
from app.http.idempotency import Answer, IdempotencyDep
from app.http.leaving import unless_gone
from app.identification.routes import IdentifierDep
from ml.errors import ImageError

router = APIRouter(prefix="/v1/cameras", tags=["Attendance"])

_SEND = "Send the picture as the file `image` of a multipart/form-data form, or trouble=no_picture."
_FORM_SCHEMA = {
    "type": "object",
    "properties": {
        "image": {"type": "string", "contentMediaType": "application/octet-stream", "description": "The newest frame."},
        "min_face_px": {"type": "integer", "minimum": 18, "description": "As with captures from this camera."},
        "trouble": {"type": "string", "enum": ["no_picture"], "description": "In place of an image."},
    },
}
_BODY = {"requestBody": {"required": True, "content": {FORM: {"schema": _FORM_SCHEMA}}}}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "contentMediaType": "image/jpeg"}}}}
}
_SMALLEST_FACE: TypeAdapter[int] = TypeAdapter(SmallestSentFace)


@router.get("/snapshots/wanted")
def wanted_snapshot(database: DatabaseDep, caller: CameraDep) -> Wanted:
    """Whether somebody waits for a picture of the caller's camera: for asking every few seconds, which costs little.

    The heartbeat's answer says the same.
    """
    with database.read() as session:
        id_ = snapshots.wanted_of(session, caller.camera_id) if caller.camera_id else None
    return Wanted(snapshot=WantedSnapshot(id=id_) if id_ else None)


@router.post(
    "/snapshots/{snapshot_id}",
    openapi_extra=_BODY,
    dependencies=[CAMERA, Depends(require_type(FORM, FORM_WITHOUT_FILES, send=_SEND))],
)
async def send_snapshot(
    snapshot_id: str,
    request: Request,
    database: DatabaseDep,
    identifier: IdentifierDep,
    settings: SettingsDep,
    sealer: SealerDep,
    caller: CameraDep,
) -> Snapshot:
    """Gives the picture that somebody waits for, with the camera's own key; 404 where nobody does any more.

    It is looked at as a capture would be. It makes no event, and is deleted after five minutes.
    """
    async with request.form() as form:
        image, trouble, least = form.get("image"), form.get("trouble"), form.get("min_face_px")
        content = await image.read() if isinstance(image, FormFile) else None
    if content is None and trouble != "no_picture":
        raise ProblemError(422, "fields_invalid", _SEND)
    sent_px = _least(least) if least else None
    camera = await run_in_threadpool(_awaited, database, snapshot_id, caller)
    if content is None:
        return await run_in_threadpool(_given_up, database, snapshot_id, caller, "no_picture")
    glance = snapshots.glance(snapshots.smallest_face(camera, sent_px), settings.min_face_px)
    try:
        seen = await identifier.look(content, glance, partial(unless_gone, request))
    except ImageError:
        await run_in_threadpool(_given_up, database, snapshot_id, caller, "image_invalid")
        raise

    def conclude() -> Snapshot:
        limits = snapshots.limits_of(camera, sent_px)
        identified = identifier.judge(seen, request.state.request_id, caller, limits)
        with database.write() as session:
            row, _ = snapshots.awaited(session, snapshot_id, caller)
            snapshots.keep(session, row, identified, sealer)
            return snapshots.view(session, row)

    return await run_in_threadpool(conclude)


@router.post("/{camera_id}/snapshot", status_code=202, response_model=Snapshot)
def ask_for_snapshot(camera_id: str, caller: OperatorDep, idempotency: IdempotencyDep) -> Response:
    """Asks a camera for a picture of what it sees right now, and says what is recognised in it.

    `rollcall camera` and the kiosk hear of it within seconds, others with their next heartbeat; cameras that only send
    captures never do: then the status becomes `unanswered` at `answer_by`. The audit log notes who asked.
    """

    def work(session: Session) -> Answer:
        return Answer(202, snapshots.view(session, snapshots.ask(session, camera_id, caller)))

    return idempotency.write(work)


@router.get("/{camera_id}/snapshot")
def get_snapshot(camera_id: str, database: DatabaseDep, _caller: OperatorDep) -> Snapshot:
    """The picture that was asked for last: whether it is there, and what was seen in it."""
    with database.read() as session:
        return snapshots.view(session, snapshots.find(session, camera_id))


@router.get("/{camera_id}/snapshot/image", response_class=Response, responses=_JPEG)
def get_snapshot_image(camera_id: str, database: DatabaseDep, sealer: SealerDep, caller: OperatorDep) -> Response:
    """The picture itself, at most 1280 px wide. Nobody on the way may keep it; the audit log notes who looked."""
    with database.write() as session:
        content = snapshots.picture(session, camera_id, sealer, caller)
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def _awaited(database: Database, snapshot_id: str, caller: Principal) -> Camera:
    with database.read() as session:
        return snapshots.awaited(session, snapshot_id, caller)[1]


def _given_up(database: Database, snapshot_id: str, caller: Principal, trouble: Trouble) -> Snapshot:
    with database.write() as session:
        row, _ = snapshots.awaited(session, snapshot_id, caller)
        snapshots.give_up(session, row, trouble)
        return snapshots.view(session, row)


def _least(text: object) -> int:
    try:
        return _SMALLEST_FACE.validate_python(text)
    except ValidationError:
        raise ProblemError(422, "fields_invalid", "min_face_px: send a whole number from 18 to 10000.") from None

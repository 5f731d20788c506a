"""`/v1/captures`: pictures that are recorded, one by one or many at once."""

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile as FormFile
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.attendance import batch, schemas
from app.attendance.captures import MAX_FACES, Sent, Stand
from app.attendance.dependencies import RecorderDep, SenderDep, moment_of
from app.auth.dependencies import CAMERA
from app.decisions.log import CANDIDATES_KEPT
from app.errors import ProblemError
from app.http.content_type import FORM, FORM_WITHOUT_FILES, require_type
from app.http.dependencies import SettingsDep
from app.http.idempotency import ERASED_CODE, Answer, IdempotencyDep, Store
from app.http.leaving import unless_gone
from app.identification.routes import IdentifierDep, IdentifyMetricsDep
from app.identification.service import Seen

router = APIRouter(prefix="/v1/captures", tags=["Attendance"])

NDJSON = "application/x-ndjson"
_SMALLEST_FACE: TypeAdapter[int] = TypeAdapter(schemas.SmallestSentFace)
_SEND = "Send the picture as the file `image` of a multipart/form-data form."
_SEND_LINES = "Send one JSON object per line, with captured_at, image_base64 and idempotency_key."
_FORM_SCHEMA = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string", "contentMediaType": "application/octet-stream"},
        "captured_at": {"type": "string", "format": "date-time", "description": "By the device's clock; else now."},
        "direction": {"type": "string", "enum": ["in", "out"]},
        "camera_id": {"type": "string", "description": "Which camera, if the key is not its own."},
        "min_face_px": {
            "type": "integer",
            "minimum": schemas.LEAST_SENT_PX,
            "maximum": 10000,
            "description": "Smallest face looked for in this picture; the camera's policy goes before.",
        },
    },
}
_TEXTS = ("captured_at", "direction", "camera_id", "min_face_px")
_CAPTURE_BODY = {"requestBody": {"required": True, "content": {FORM: {"schema": _FORM_SCHEMA}}}}
_BATCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {NDJSON: {"schema": {"type": "string", "description": "One `BatchLine` as JSON per line."}}},
    }
}
_BATCH_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {NDJSON: {"schema": {"type": "string"}}}, "description": "An answer line for each line."}
}


@dataclass(frozen=True, slots=True)
class CaptureForm:
    """What the form of a capture holds."""

    image: bytes
    sent: Sent


async def _capture_form(request: Request, idempotency: IdempotencyDep) -> CaptureForm:
    form = await request.form()
    image, texts = form.get("image"), [form.get(name) or None for name in _TEXTS]
    if not isinstance(image, FormFile) or any(isinstance(text, FormFile) for text in texts):
        raise ProblemError(422, "fields_invalid", _SEND)
    captured_at, direction, camera_id, min_face_px = (str(text) if text else None for text in texts)
    if direction not in (None, "in", "out"):
        raise ProblemError(422, "fields_invalid", "direction: send in or out, or leave it out.")
    content = await image.read()
    return CaptureForm(
        content,
        Sent(
            image_sha256=sha256(content).hexdigest(),
            captured_at=moment_of("captured_at", captured_at) if captured_at else None,
            direction=direction,  # type: ignore[arg-type]
            camera_id=camera_id,
            idempotency_key=idempotency.key,
            min_face_px=_min_face_px(min_face_px) if min_face_px else None,
        ),
    )


def _min_face_px(text: str) -> int:
    try:
        return _SMALLEST_FACE.validate_python(text)
    except ValidationError:
        raise ProblemError(422, "fields_invalid", "min_face_px: send a whole number from 18 to 10000.") from None


CaptureFormDep = Annotated[CaptureForm, Depends(_capture_form)]


@router.post(
    "",
    response_model=schemas.Recording,
    openapi_extra=_CAPTURE_BODY,
    dependencies=[CAMERA, Depends(require_type(FORM, FORM_WITHOUT_FILES, send=_SEND))],
)
async def record_capture(
    request: Request,
    sender: SenderDep,
    idempotency: IdempotencyDep,
    form: CaptureFormDep,
    recorder: RecorderDep,
    identifier: IdentifierDep,
    metrics: IdentifyMetricsDep,
    settings: SettingsDep,
    top_k: Annotated[int, Query(ge=1, le=CANDIDATES_KEPT, description="Candidates listed per face.")] = CANDIDATES_KEPT,
    max_faces: Annotated[int, Query(ge=1, le=MAX_FACES, description="Faces analysed, the biggest first.")] = MAX_FACES,
) -> Response:
    """Says who is in a picture, and records it: every person who is named was there.

    `captured_at` may be up to a month ago and is corrected by how wrong the device's clock is, as `X-Device-Time` or
    else its heartbeats say; 422 `captured_at_in_future` or `captured_at_too_old` where that cannot be. Captures may
    come late and in any order: the days that they belong to are worked out anew.

    Send an `Idempotency-Key`, and the same one with every retry. As long as the first answer is kept, a retry is given
    it; later, or when somebody whom it named was erased, it is told 409 `capture_recorded` with `capture_id` and
    `event_ids`: count it as delivered. 422 `idempotency_mismatch`: the key was used for another picture or time.
    """

    async def look() -> tuple[Stand, Seen]:
        stand = await run_in_threadpool(recorder.stand, form.sent, sender)
        wait = partial(unless_gone, request)
        return stand, await identifier.look(form.image, stand.glance(settings.min_face_px, max_faces), wait)

    def conclude(store: Store, looked: tuple[Stand, Seen]) -> Answer:
        stand, seen = looked
        identified = identifier.judge(seen, sender.request_id, sender.principal, stand.limits)
        metrics.observe(identified.timing)

        def keep(session: Session, recording: schemas.Recording) -> Answer:
            return store(session, Answer(200, recording))

        return Answer(200, recorder.commit(stand, identified, sender, keep, top_k))

    try:
        return await idempotency.run_after(look, conclude)
    except ProblemError as refused:
        if refused.code == ERASED_CODE:  # the capture is in the ledger all the same
            await run_in_threadpool(recorder.stand, form.sent, sender)
        raise


async def _batch_slots(request: Request) -> batch.BatchSlots:
    slots: batch.BatchSlots = request.app.state.batch_slots
    return slots


@router.post(
    "/batch",
    response_class=StreamingResponse,
    openapi_extra=_BATCH_BODY,
    responses=_BATCH_ANSWER,
    dependencies=[CAMERA, Depends(require_type(NDJSON, send=_SEND_LINES))],
)
async def record_batch(
    request: Request,
    sender: SenderDep,
    recorder: RecorderDep,
    identifier: IdentifierDep,
    settings: SettingsDep,
    slots: Annotated[batch.BatchSlots, Depends(_batch_slots)],
) -> StreamingResponse:
    """Records many captures, in order: a line each, and an answer line each as soon as it is known.

    A line is `{captured_at, image_base64, direction?, camera_id?, idempotency_key}`, of which there may be 5,000. Its
    answer is `{line, status, …}`: `recorded`, or `already_recorded` (an earlier call had it), both with `capture_id`
    and `events`; or `refused` with `code` and `detail`, and `retry: true` where the same line may be good later. Good
    lines are recorded whatever is wrong with others, each by itself; a blank line is passed over. Whoever is cut off
    sends everything again. The last line is `{summary: {lines, recorded, already_recorded, refused}}`; without it the
    answer is not complete. Nobody in front of a camera waits for a batch.
    """
    spool = await batch.received(request.stream())
    try:
        release = slots.take()
    except ProblemError:
        spool.close()
        raise
    work = batch.BatchWork(recorder, identifier, sender, settings.max_image_bytes, settings.min_face_px)
    return batch.BatchResponse(work.answers(spool), NDJSON, (spool.close, release))

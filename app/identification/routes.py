"""`/v1/identify` and `/v1/compare`."""

import base64
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, File, Query, UploadFile
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile as FormFile
from starlette.requests import Request

from app.auth.dependencies import CAMERA, CameraDep
from app.decisions.dependencies import DecisionLogDep
from app.errors import ProblemError
from app.gallery.dependencies import GalleryDep
from app.http.content_type import FORM, FORM_WITHOUT_FILES, JSON, media_type, require_type
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.leaving import unless_gone
from app.identification import schemas, service, videos
from app.identification.searcher import MAX_CANDIDATES, Searcher
from app.identification.service import Glance, Identifier
from app.identification.videos import ClipIdentifier, ClipSlots
from app.identification.views import quality_view
from app.inference.clips import TO_SEARCH, ClipReader, video_limits
from app.inference.dependencies import ImageReaderDep, InferenceDep
from app.inference.port import MAX_FACES
from app.metrics.identify import IdentifyMetrics
from app.operating_points.dependencies import PointInForceDep
from ml.types import Sample


class _ImageJson(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    image_base64: str


router = APIRouter(prefix="/v1", tags=["Identify"])

_JSON_SCHEMA = {
    "type": "object",
    "required": ["image_base64"],
    "properties": {"image_base64": {"type": "string", "description": "The image file, base64."}},
}
_FORM_SCHEMA = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "string", "contentMediaType": "application/octet-stream"}},
}
IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {FORM: {"schema": _FORM_SCHEMA}, JSON: {"schema": _JSON_SCHEMA}},
    }
}
_SEND_IMAGE = "Send the picture as the file `image` of a multipart/form-data form, or image_base64 as application/json."
_SEND_VIDEO = "Send the clip as the file `video` of a multipart/form-data form."
_SEND_TWO = "Send the pictures as the files `a` and `b` of a multipart/form-data form."


async def uploaded_image(request: Request) -> bytes:
    """The image, as `image` of a form or as base64 in JSON."""
    if media_type(request) == JSON:
        return await run_in_threadpool(_from_base64, await request.body())
    async with request.form() as form:
        image = form.get("image")
        if not isinstance(image, FormFile):
            raise ProblemError(422, "fields_invalid", _SEND_IMAGE)
        return await image.read()


async def _searcher(
    inference: InferenceDep, gallery: GalleryDep, point: PointInForceDep, log: DecisionLogDep
) -> Searcher:
    return Searcher(inference, gallery, point, log)


SearcherDep = Annotated[Searcher, Depends(_searcher)]


async def _identifier(inference: InferenceDep, images: ImageReaderDep, searcher: SearcherDep) -> Identifier:
    return Identifier(inference, images, searcher)


async def _clip_identifier(inference: InferenceDep, settings: SettingsDep, searcher: SearcherDep) -> ClipIdentifier:
    return ClipIdentifier(ClipReader(inference, video_limits(settings), TO_SEARCH), searcher)


async def _clip_slots(request: Request) -> ClipSlots:
    slots: ClipSlots = request.app.state.clip_slots
    return slots


async def _identify_metrics(request: Request) -> IdentifyMetrics:
    metrics: IdentifyMetrics = request.app.state.identify_metrics
    return metrics


ImageDep = Annotated[bytes, Depends(uploaded_image)]
IdentifierDep = Annotated[Identifier, Depends(_identifier)]
IdentifyMetricsDep = Annotated[IdentifyMetrics, Depends(_identify_metrics)]
ClipSlotsDep = Annotated[ClipSlots, Depends(_clip_slots)]
ClipIdentifierDep = Annotated[ClipIdentifier, Depends(_clip_identifier)]
TopK = Annotated[int, Query(ge=1, le=MAX_CANDIDATES, description="Candidates listed per face.")]


@router.post(
    "/identify",
    openapi_extra=IMAGE_BODY,
    dependencies=[CAMERA, Depends(require_type(FORM, FORM_WITHOUT_FILES, JSON, send=_SEND_IMAGE))],
)
async def identify(
    request: Request,
    image: ImageDep,
    identifier: IdentifierDep,
    database: DatabaseDep,
    metrics: IdentifyMetricsDep,
    caller: CameraDep,
    top_k: TopK = 3,
    max_faces: Annotated[int, Query(ge=1, le=MAX_FACES, description="Faces analysed, the biggest first.")] = 20,
) -> schemas.Identification:
    """Says who is in a picture; a stranger is `unknown`, and a picture without a face has `faces: []`.

    One person is never given to two faces of one picture.
    """
    request_id = request.state.request_id
    seen = await identifier.look(image, Glance(max_faces), partial(unless_gone, request))

    def conclude() -> schemas.Identification:
        identified = identifier.decide(seen, request_id, caller)
        metrics.observe(identified.timing)
        return service.answer(identified, database, top_k, request_id)

    return await run_in_threadpool(conclude)


@router.post(
    "/identify/video", dependencies=[CAMERA, Depends(require_type(FORM, FORM_WITHOUT_FILES, send=_SEND_VIDEO))]
)
def identify_video(
    request: Request,
    video: Annotated[UploadFile, File(description="MP4, MOV, AVI, WebM or GIF.")],
    identifier: ClipIdentifierDep,
    slots: ClipSlotsDep,
    database: DatabaseDep,
    caller: CameraDep,
    top_k: TopK = 3,
) -> schemas.ClipIdentification:
    """Says who is in a clip: everybody's face is followed, and decided about once, from its best frames together.

    The clip is looked at while you wait, which takes seconds, or a minute for a long one; nothing of it is kept. One
    person is never given to two faces that are seen at the same time.
    """
    request_id = request.state.request_id
    with slots.one():
        identified = identifier.identify(_on_disk(video), request_id, caller)
    return videos.answer(identified, database, top_k, request_id)


@router.post("/compare", dependencies=[CAMERA, Depends(require_type(FORM, FORM_WITHOUT_FILES, send=_SEND_TWO))])
async def compare(
    request: Request,
    a: Annotated[UploadFile, File(description="First picture.")],
    b: Annotated[UploadFile, File(description="Second picture.")],
    identifier: IdentifierDep,
    _caller: CameraDep,
) -> schemas.Comparison:
    """Compares the most prominent faces of two pictures, without the gallery."""
    score, first, second = await identifier.compare(await a.read(), await b.read(), partial(unless_gone, request))
    bounds = identifier.inference.card_of(first.model).pair_bounds
    return schemas.Comparison(
        request_id=request.state.request_id,
        model=first.model,
        score=round(score, 6),
        same_person=True if score >= bounds.same else False if score < bounds.different else None,
        bounds={"different": bounds.different, "same": bounds.same},
        a=_compared(first),
        b=_compared(second),
    )


def _compared(sample: Sample) -> schemas.ComparedFace:
    return schemas.ComparedFace(
        box_xyxy=[round(float(v), 1) for v in sample.face.box_xyxy],
        detection_score=round(sample.face.detection_score, 4),
        quality=quality_view(sample),
    )


def _on_disk(upload: UploadFile) -> Path:
    """Where an upload can be read from. It has no name in any folder, so that nothing of it outlives the request."""
    return Path(f"/dev/fd/{upload.file.fileno()}")


def _from_base64(body: bytes) -> bytes:
    try:
        return base64.b64decode(_ImageJson.model_validate_json(body).image_base64, validate=True)
    except ValueError:  # of pydantic, or what is not base64, or not even ASCII
        raise ProblemError(422, "fields_invalid", 'Send JSON {"image_base64": "..."} in standard base64.') from None

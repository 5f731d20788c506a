"""`/v1/identify` and `/v1/compare`."""

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Depends, File, Query, UploadFile
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import UploadFile as FormFile
from starlette.requests import Request

from app.auth.dependencies import CAMERA, CameraDep
from app.decisions.dependencies import DecisionLogDep
from app.errors import ProblemError
from app.gallery.dependencies import GalleryDep
from app.http.content_type import FORM, FORM_WITHOUT_FILES, JSON, media_type, require_type
from app.http.dependencies import DatabaseDep
from app.identification import schemas, service
from app.identification.service import Identifier, IdentifyOptions
from app.inference.dependencies import ImageReaderDep, InferenceDep
from app.inference.port import MAX_FACES
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
_SEND_TWO = "Send the pictures as the files `a` and `b` of a multipart/form-data form."


async def uploaded_image(request: Request) -> bytes:
    """The image, as `image` of a form or as base64 in JSON."""
    if media_type(request) == JSON:
        return _from_base64(await request.body())
    async with request.form() as form:
        image = form.get("image")
        if not isinstance(image, FormFile):
            raise ProblemError(422, "fields_invalid", _SEND_IMAGE)
        return await image.read()


def _identifier(
    database: DatabaseDep,
    inference: InferenceDep,
    gallery: GalleryDep,
    point: PointInForceDep,
    images: ImageReaderDep,
    log: DecisionLogDep,
) -> Identifier:
    return Identifier(database, inference, gallery, point, images, log)


ImageDep = Annotated[bytes, Depends(uploaded_image)]
IdentifierDep = Annotated[Identifier, Depends(_identifier)]


@router.post(
    "/identify",
    openapi_extra=IMAGE_BODY,
    dependencies=[CAMERA, Depends(require_type(FORM, FORM_WITHOUT_FILES, JSON, send=_SEND_IMAGE))],
)
def identify(
    request: Request,
    image: ImageDep,
    identifier: IdentifierDep,
    caller: CameraDep,
    top_k: Annotated[int, Query(ge=1, le=50, description="Candidates listed per face.")] = 3,
    max_faces: Annotated[int, Query(ge=1, le=MAX_FACES, description="Faces analysed, the biggest first.")] = 20,
) -> schemas.Identification:
    """Says who is in a picture; a stranger is `unknown`, and a picture without a face has `faces: []`.

    One person is never given to two faces of one picture.
    """
    options = IdentifyOptions(top_k, max_faces)
    request_id = request.state.request_id
    identified = identifier.identify(image, options, request_id, caller)
    return service.answer(identified, identifier.database, options, identifier.gallery.model, request_id)


@router.post("/compare", dependencies=[CAMERA, Depends(require_type(FORM, FORM_WITHOUT_FILES, send=_SEND_TWO))])
def compare(
    request: Request,
    a: Annotated[UploadFile, File(description="First picture.")],
    b: Annotated[UploadFile, File(description="Second picture.")],
    identifier: IdentifierDep,
    _caller: CameraDep,
) -> schemas.Comparison:
    """Compares the most prominent faces of two pictures, without the gallery."""
    score, first, second = identifier.compare(a.file.read(), b.file.read())
    bounds = identifier.inference.card.pair_bounds
    return schemas.Comparison(
        request_id=request.state.request_id,
        model=identifier.gallery.model,
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
        quality=service.quality_view(sample),
    )


def _from_base64(body: bytes) -> bytes:
    try:
        return base64.b64decode(_ImageJson.model_validate_json(body).image_base64, validate=True)
    except (ValidationError, binascii.Error):
        raise ProblemError(422, "fields_invalid", 'Send JSON {"image_base64": "..."} in standard base64.') from None

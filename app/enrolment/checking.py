"""`/v1/enroll/check`: would this picture do? For whoever stands before a camera to be enrolled; nothing is stored."""

from functools import partial
from typing import Final, Literal

import numpy as np
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request

from app.auth.dependencies import OPERATOR, OperatorDep
from app.enrolment.schemas import Pose
from app.http.content_type import FORM, FORM_WITHOUT_FILES, JSON, require_type
from app.http.leaving import unless_gone
from app.identification.routes import IMAGE_BODY, ImageDep
from app.inference.dependencies import ImageReaderDep, InferenceDep
from app.inference.port import Ask
from ml.enrolling import Photo, choose_samples, most_prominent
from ml.pose import main_pose
from ml.quality import ENROLL_LIMITS, reasons_against
from ml.types import PairBounds, Sample

router = APIRouter(prefix="/v1/enroll", tags=["Enrol"])

_SEND_IMAGE = "Send the picture as the file `image` of a multipart/form-data form, or image_base64 as application/json."
# Whoever else is as prominent as the person meant is among the biggest.
_MAX_FACES: Final = 5

Direction = Literal["frontal", "left", "right", "up", "down"]


class CheckedQuality(BaseModel):
    """How usable a face is for enrolling."""

    score: float = Field(description="0 to 1.")
    reasons: list[str] = Field(description="Why the face is not good enough to enrol; empty when it is.")


class CheckedFace(BaseModel):
    """The face that an enrolment would take from the picture."""

    box_xyxy: list[float] = Field(description="Pixels of the upright image.")
    quality: CheckedQuality
    pose: Pose
    direction: Direction = Field(
        description="What it would count for in `coverage`; left and right are those of the picture."
    )


class Check(BaseModel):
    """Whether a picture can be enrolled."""

    faces: int = Field(description=f"How many were found, at most {_MAX_FACES}.")
    face: CheckedFace | None = Field(description="Null where there is none.")
    good: bool = Field(description="Whether an enrolment of this picture alone would take it.")
    reasons: list[str] = Field(description="Why not, as in `rejected` of an enrolment.")


@router.post(
    "/check",
    openapi_extra=IMAGE_BODY,
    dependencies=[OPERATOR, Depends(require_type(FORM, FORM_WITHOUT_FILES, JSON, send=_SEND_IMAGE))],
)
async def check_picture(
    request: Request, image: ImageDep, inference: InferenceDep, images: ImageReaderDep, _caller: OperatorDep
) -> Check:
    """Says whether a picture would be enrolled, and which way the head is turned: to guide whoever is before a camera.

    The limits are those of an enrolment. Nothing is stored, and it is not said who it is.
    """
    wait = partial(unless_gone, request)
    with inference.place() as place:
        decoded = await wait(images.submit(image))
        analysis = await wait(place.submit(Ask([decoded.image], _MAX_FACES)))
    samples = [decoded.in_full(sample) for sample in analysis.samples[0]]
    return judge(Photo(samples, decoded.full_wh), inference.card.pair_bounds)


def judge(photo: Photo, bounds: PairBounds) -> Check:
    """What an enrolment of this photo alone would say."""
    if not photo.samples:
        return Check(faces=0, face=None, good=False, reasons=["no_face"])
    sample = most_prominent(photo)
    against = [reason.value for reason in reasons_against(sample.quality, ENROLL_LIMITS)]
    choice = choose_samples([photo], np.empty((0, len(sample.embedding)), np.float32), ENROLL_LIMITS, bounds)
    reasons = against or [reason.value for reason in choice.rejected.values()]
    return Check(faces=len(photo.samples), face=_face(sample, against), good=not reasons, reasons=reasons)


def _face(sample: Sample, against: list[str]) -> CheckedFace:
    pose = sample.quality.pose
    direction: Direction = main_pose(pose)  # type: ignore[assignment]
    return CheckedFace(
        box_xyxy=[round(float(v), 1) for v in sample.face.box_xyxy],
        quality=CheckedQuality(score=sample.quality.score, reasons=against),
        pose=Pose(yaw_deg=pose.yaw_deg, pitch_deg=pose.pitch_deg, roll_deg=pose.roll_deg),
        direction=direction,
    )

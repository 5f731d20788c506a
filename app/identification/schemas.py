"""Identification on the wire."""

from typing import Literal

from pydantic import BaseModel, Field


class Quality(BaseModel):
    score: float = Field(description="0 to 1.")
    reasons: list[str] = Field(description="Why the face is not good enough to search; empty when it is.")


class PersonRef(BaseModel):
    """Enough of a person to show; ask `/v1/people/{id}` for the rest."""

    id: str
    employee_code: str
    name: str


class Candidate(BaseModel):
    person: PersonRef
    score: float


class Face(BaseModel):
    """One face and what was decided about it."""

    event_id: str | None = Field(
        description="What was decided is kept under this id for a while: for feedback and previews. Null: not kept."
    )
    box_xyxy: list[float] = Field(description="Pixels of the upright image.")
    landmarks: list[list[float]] = Field(
        description="Image-left eye, image-right eye, nose, image-left and image-right mouth corner."
    )
    detection_score: float = Field(description="How sure the detector is that this is a face; not a similarity.")
    quality: Quality
    outcome: Literal["identified", "unknown", "low_quality", "attack_suspected"]
    person: PersonRef | None = Field(description="Null unless `outcome` is `identified`.")
    score: float | None = Field(
        description="Decision score of the best candidate, compared with the threshold; null in an empty gallery."
    )
    margin: float | None = Field(description="Its lead over the second candidate; null when there is none.")
    odds: float | None = Field(
        description="A stranger reaches this score once in about this many searches; null in an empty gallery."
    )
    candidates: list[Candidate] = Field(description="Best first, whether or not they reach the threshold.")


class GalleryInfo(BaseModel):
    n_people: int
    n_templates: int
    revision: int


class OperatingPointRef(BaseModel):
    id: str
    threshold: float
    target_fpir: float | None


class ImageSize(BaseModel):
    width: int
    height: int


class TimingMs(BaseModel):
    """Milliseconds in each stage, waiting included."""

    decode: float
    detect: float
    embed: float
    search: float
    total: float


class Identification(BaseModel):
    """Everybody in one image, the biggest face first."""

    request_id: str
    model: str
    gallery: GalleryInfo
    gallery_revision: int
    operating_point: OperatingPointRef
    image: ImageSize
    faces: list[Face]
    timing_ms: TimingMs


class ComparedFace(BaseModel):
    box_xyxy: list[float]
    detection_score: float
    quality: Quality


class Comparison(BaseModel):
    """How alike the most prominent faces of two images are."""

    request_id: str
    model: str
    score: float = Field(description="Cosine of the two embeddings, -1 to 1. Not on the scale of a decision score.")
    same_person: bool | None = Field(
        description="True from the model card's bound for one person on, false below that for two, null between."
    )
    bounds: dict[str, float] = Field(description="`different` and `same`, from the model card.")
    a: ComparedFace
    b: ComparedFace

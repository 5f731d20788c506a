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


class Decided(BaseModel):
    """What was decided about a face."""

    event_id: str | None = Field(
        description="What was decided is kept under this id for a while: for feedback and previews. Null: not kept."
    )
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


class Face(Decided):
    """One face and what was decided about it."""

    box_xyxy: list[float] = Field(description="Pixels of the upright image.")
    landmarks: list[list[float]] = Field(
        description="Image-left eye, image-right eye, nose, image-left and image-right mouth corner."
    )
    detection_score: float = Field(description="How sure the detector is that this is a face; not a similarity.")
    quality: Quality


class BestFrame(BaseModel):
    """The frame that shows a tracked face best."""

    frame: int = Field(description="Its number in the clip, from 0.")
    time_s: float
    box_xyxy: list[float] = Field(description="Pixels of the upright frame.")
    detection_score: float
    quality: Quality


class Track(Decided):
    """One face followed through a clip, and what was decided about it, once."""

    first_s: float = Field(description="Seconds into the clip when it is first seen.")
    last_s: float
    n_frames: int = Field(description="Frames that show it, of those that were looked at.")
    best_frame: BestFrame


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
    """Milliseconds in each stage, which together make `total`."""

    decode: float = Field(description="Waiting for its turn included.")
    queue: float = Field(description="Waiting until the networks are free.")
    detect: float = Field(description="Of the whole batch that the picture was part of; `embed` likewise.")
    embed: float
    search: float
    total: float


class ClipInfo(BaseModel):
    """A clip: its first frame, upright, and how long it says it is."""

    width: int
    height: int
    duration_s: float | None


class ClipTimingMs(BaseModel):
    """Milliseconds in each stage, waiting included."""

    frames: float = Field(description="Decoding, detecting and embedding, frame by frame.")
    search: float
    total: float


class _Answer(BaseModel):
    request_id: str
    model: str
    gallery: GalleryInfo
    gallery_revision: int
    operating_point: OperatingPointRef


class Identification(_Answer):
    """Everybody in one image, the biggest face first."""

    image: ImageSize
    faces: list[Face]
    timing_ms: TimingMs


class ClipIdentification(_Answer):
    """Everybody in one clip, in the order in which they appear."""

    video: ClipInfo
    frames_read: int = Field(description="Frames that were looked at, a few a second.")
    faces_seen: int
    tracks: list[Track]
    timing_ms: ClipTimingMs


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

"""Enrolments on the wire."""

from typing import Literal

from pydantic import BaseModel, Field

from app.identification.schemas import PersonRef
from app.people.schemas import Coverage, Person

EnrolmentStatus = Literal["queued", "running", "done", "failed"]


class Pose(BaseModel):
    """Head turn in degrees: yaw > 0 towards image right, pitch > 0 up, roll > 0 clockwise."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


class Source(BaseModel):
    """Where a template or a rejection comes from; `frame` and `time_s` are null for a photo."""

    file: str
    frame: int | None = None
    time_s: float | None = None


class Template(BaseModel):
    """One stored embedding, without the embedding."""

    id: int
    quality: float = Field(description="0 to 1.")
    pose: Pose
    source: Source


class Rejection(BaseModel):
    """A photo or a frame that was not enrolled."""

    source: Source
    reason: str = Field(description="A reason word such as `blurred`, or the code of an unreadable image.")


class Preflight(BaseModel):
    """Whether this person would be recognised, asked of the new templates before they were stored."""

    n_searched: int = Field(description="New templates, each searched for with all others of the person enrolled.")
    n_recognised: int = Field(description="How many of them the others would have been enough for, at the threshold.")


class Enrolment(BaseModel):
    """What became of one upload."""

    id: str
    person: Person
    kind: Literal["images", "video"]
    status: EnrolmentStatus
    progress: float = Field(description="0 to 1.")
    message: str | None = Field(description="What a video's job is doing.")
    job_id: str | None = Field(description="The job that reads a video; see `/v1/jobs`.")
    frames_read: int
    faces_seen: int
    templates: list[Template]
    rejected: list[Rejection]
    coverage: Coverage
    warnings: list[str]
    preflight: Preflight | None = Field(description="Null where nothing was enrolled, and before anything is.")
    error: str | None = Field(description="Why nothing was enrolled: a stable word, a colon, and what to do.")
    duplicate_of: PersonRef | None = Field(description="With `duplicate_person`: whose face it is.")
    gallery_revision: int


class EnrolmentRemoval(BaseModel):
    """What was removed with an enrolment."""

    enrolment_id: str
    templates_deleted: int
    gallery_revision: int

"""What a camera sees right now, on the wire."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.cameras.schemas import WantedSnapshot
from app.identification.schemas import ImageSize, PersonRef, TimingMs

Trouble = Literal["no_picture", "image_invalid"]


class SnapshotFace(BaseModel):
    """One face, and what would have been decided about it."""

    box_xyxy: list[float] = Field(description="Pixels of the picture that was looked at, of size `image`.")
    size_px: float = Field(description="Its shorter side.")
    outcome: Literal["identified", "unknown", "low_quality", "attack_suspected"]
    person: PersonRef | None = Field(description="Null unless `outcome` is `identified`, and for who was erased since.")
    score: float | None = Field(description="Decision score of the best candidate; null in an empty gallery.")
    quality: float = Field(description="0 to 1.")
    reasons: list[str] = Field(description="Why the face is not good enough to search; empty when it is.")


class Snapshot(BaseModel):
    """A picture that somebody asked a camera for. It is gone after minutes, and makes no event."""

    id: str
    camera_id: str
    status: Literal["wanted", "done", "failed", "unanswered"] = Field(
        description="`failed`: the camera has no picture, see `trouble`. `unanswered`: it sent none in time."
    )
    asked_at: datetime
    answer_by: datetime = Field(description="A picture that comes later is refused.")
    taken_at: datetime | None
    expires_at: datetime
    trouble: Trouble | None = None
    image: ImageSize | None = None
    min_face_px: int | None = Field(None, description="Smaller faces are not searched for.")
    threshold: float | None = None
    model: str | None = None
    faces: list[SnapshotFace] = []
    timing_ms: TimingMs | None = None


class Wanted(BaseModel):
    """Whether somebody waits for a picture of this camera."""

    snapshot: WantedSnapshot | None

"""Cameras on the wire, and the policy that is stored with them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from app.http.fields import Id, Input, Moment, Name

Direction = Annotated[
    Literal["in", "out", "both"],
    Field(
        description="What passing it means; `both`: what its sender says, or else what the shift's rule makes of it."
    ),
]


# From what the detector's first network sees at once.
SmallestFace = Annotated[int, Field(ge=12, le=10_000)]


class Policy(Input):
    """What is recorded of whom a camera sees."""

    min_face_px: SmallestFace | None = Field(
        None,
        description="Smallest face, in pixels of its shorter side, that is looked at; null: what comes with the "
        "capture, or else the deployment's.",
    )
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Worst quality at which a face counts; null: as usual."
    )
    unknown: Literal["ignore", "record", "keep"] = Field(
        "keep",
        description="Unknown faces make no event, or one; `keep`: and their crop is kept, sealed, as long as the site "
        "allows.",
    )
    liveness: Literal["off", "required"] = Field("off", description="`required` is refused while no check is there.")


class CameraCreate(Input):
    """A new camera."""

    name: Name
    site_id: Id | None = Field(None, description="Where it stands; null: at the first site.")
    direction: Direction = "both"
    policy: Policy = Field(default_factory=Policy)


class CameraUpdate(Input):
    """What to change: a field that is not sent stays; a policy is replaced whole."""

    name: Name | None = None
    site_id: Id | None = None
    direction: Direction | None = None
    policy: Policy | None = None

    @field_validator("*")
    @classmethod
    def _never_empty(cls, value: object) -> object:
        if value is None:
            raise ValueError("cannot be null; leave it out to keep it")
        return value

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Camera(BaseModel):
    """A camera, or whatever sends pictures in one's place."""

    id: str
    name: str
    site_id: str
    timezone: str = Field(description="That of its site.")
    direction: Direction
    policy: Policy
    last_seen_at: datetime | None
    last_picture_at: datetime | None = Field(description="When the newest picture was taken that it sent, roughly.")
    is_online: bool = Field(description="It was heard of within the last 90 seconds.")
    clock_offset_s: float | None = Field(description="What its clock lacks, as last measured; negative: it is fast.")
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class CameraWithKey(Camera):
    """A camera that was just added."""

    key: str | None = Field(description="Its key, shown this once; null where this answer is a repetition.")


class KeyRotation(Input):
    """How to go over to a new key."""

    grace_s: int = Field(3600, ge=0, le=86_400, description="How long the keys that it has now still count.")


class RotatedKey(BaseModel):
    """A camera's new key."""

    key: str | None = Field(description="Shown this once; null where this answer is a repetition.")
    old_keys_end_at: datetime


class WantedSnapshot(BaseModel):
    """Which picture somebody waits for."""

    id: str


class Heartbeat(Input):
    """That a camera is there, and what its clock shows."""

    device_time: Moment | None = Field(None, description="Its clock, as late as possible before sending.")
    version: Annotated[str, Field(max_length=100)] | None = Field(None, description="Of its software; logged.")
    camera_id: Id | None = Field(None, description="Which one, if the key is not its own.")


class HeartbeatAnswer(BaseModel):
    """What a camera may want to know."""

    server_time: datetime
    clock_offset_s: float | None = Field(description="What its clock lacks; null where it did not send its time.")
    camera: Camera
    gallery_revision: int
    snapshot: WantedSnapshot | None = Field(
        None, description="Somebody wants to see what it sees: POST its newest frame to /v1/cameras/snapshots/{id}."
    )

"""Pictures of faces that are kept, each sealed with the deployment's secret. Unknown faces are in `review`."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, BigId, UtcDateTime


class EventCrop(Base):
    """The face that an event was made of, for whoever doubts it, until `expires_at`.

    Only of people who were identified; erased with them.
    """

    __tablename__ = "event_crops"

    event_id: Mapped[str] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    sealed_crop: Mapped[bytes] = mapped_column(LargeBinary)


class TemplateCrop(Base):
    """The face that a template was made of, as long as the template: to look at, and for another network to embed.

    `landmarks` are the five points in pixels of the crop, `[[x, y], ...]`.
    """

    __tablename__ = "template_crops"

    template_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("templates.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    landmarks: Mapped[list[Any]] = mapped_column(JSON)
    sealed_crop: Mapped[bytes] = mapped_column(LargeBinary)


class CameraSnapshot(Base):
    """What a camera sees right now, for whoever asked: one for each camera, gone after minutes.

    `status` is `wanted`, `done` or `failed`; `found` is what was made of the picture: boxes, outcomes and ids.
    """

    __tablename__ = "camera_snapshots"

    camera_id: Mapped[str] = mapped_column(ForeignKey("cameras.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    status: Mapped[str] = mapped_column(String(10))
    asked_by: Mapped[str] = mapped_column(String(100))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    taken_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    found: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    sealed_picture: Mapped[bytes | None] = mapped_column(LargeBinary)

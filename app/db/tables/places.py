"""Where attendance is taken: sites, their holidays, and the cameras that stand there."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, Date, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, BigId, UtcDateTime


class Site(Base):
    """A place with one clock on its wall. A migration makes the first one, which everything belongs to by default.

    `timezone` is null for the deployment's own. `repeat_window_s`: captures of one person no further apart than this
    are one presence. `unknown_days`: how long crops of unknown faces are kept, 0 for not at all.
    """

    __tablename__ = "sites"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    timezone: Mapped[str | None] = mapped_column(String(64))
    repeat_window_s: Mapped[int]
    unknown_days: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Holiday(Base):
    """A day on which nobody is expected: at one site, or at all of them where `site_id` is null."""

    __tablename__ = "holidays"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    site_id: Mapped[str | None] = mapped_column(ForeignKey("sites.id", ondelete="CASCADE"), index=True)
    local_date: Mapped[date] = mapped_column(Date, index=True)
    name: Mapped[str] = mapped_column(String(200))


class Camera(Base):
    """A camera, or whatever sends pictures in one's place. One that was deleted stays, because events name it.

    `direction` is `in`, `out` or `both`. `policy` says what is recorded of whom it sees. `clock_offset_s` is what must
    be added to its clock's time to make it true, as last measured. Its keys carry its id.
    """

    __tablename__ = "cameras"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id"), index=True)
    direction: Mapped[str] = mapped_column(String(4))
    policy: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_picture_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    clock_offset_s: Mapped[float | None]


class CameraClock(Base):
    """What a camera's clock showed once, and how wrong that was: a capture is corrected by its own time's error."""

    __tablename__ = "camera_clocks"
    __table_args__ = (
        Index("ix_camera_clocks_camera_id_device_at", "camera_id", "device_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    camera_id: Mapped[str] = mapped_column(ForeignKey("cameras.id", ondelete="CASCADE"))
    device_at: Mapped[datetime] = mapped_column(UtcDateTime)
    offset_s: Mapped[float]

"""Long work that is done outside of requests, and the processes that do it."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, UtcDateTime


class Job(Base):
    """One piece of long work. This row is the truth about it; what runs it is an errand boy that may forget.

    `payload` and `result` hold ids and numbers: never a name, a path that holds one, an image or an embedding.
    Whoever holds `worker` and `attempts` while it is running is the only one who may write about it.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_created_at_id", "created_at", "id"),
        Index("ix_jobs_status_created_at", "status", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(50))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(20))
    progress: Mapped[float]
    message: Mapped[str | None] = mapped_column(String(300))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int]
    requested_cancel: Mapped[bool]
    created_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker: Mapped[str | None] = mapped_column(String(40))


class JobWorker(Base):
    """A process that runs jobs. It is alive as long as it has a row here, and keeps it by its heartbeat.

    `queues` are the names of those that it serves.
    """

    __tablename__ = "job_workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    beat_at: Mapped[datetime] = mapped_column(UtcDateTime)
    queues: Mapped[list[str]] = mapped_column(JSON)

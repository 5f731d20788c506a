"""Enrolled templates and the ordered log of their changes, from which every replica builds its index."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, BigId, UtcDateTime


class Enrolment(Base):
    """One upload of photos or of a video, and what became of it.

    A video's `job_id` does the work; `file_name` is what its uploader called it. `duplicate_of` is the other person
    whose face it was. `preflight` says how many of the new templates the others recognised.
    """

    __tablename__ = "enrolments"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20))
    progress: Mapped[float] = mapped_column(default=0.0)
    frames_read: Mapped[int] = mapped_column(default=0)
    faces_seen: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    warnings: Mapped[list[str]] = mapped_column(JSON, default=list)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    file_name: Mapped[str | None] = mapped_column(String(200))
    job_id: Mapped[str | None] = mapped_column(String(40))
    duplicate_of: Mapped[str | None] = mapped_column(ForeignKey("people.id", ondelete="SET NULL"), index=True)
    preflight: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class Template(Base):
    """One embedding of one person. `embedding` is little-endian float32; ids are never given twice."""

    __tablename__ = "templates"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    enrolment_id: Mapped[str] = mapped_column(ForeignKey("enrolments.id", ondelete="CASCADE"), index=True)
    model: Mapped[str] = mapped_column(String(200))
    embedding: Mapped[bytes] = mapped_column(LargeBinary)
    quality: Mapped[float]
    yaw_deg: Mapped[float]
    pitch_deg: Mapped[float]
    roll_deg: Mapped[float]
    source: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class GalleryState(Base):
    """One row: the newest revision, and the model whose embeddings are searched.

    `stamp` is random: it tells a revision from another that was given the same number, by a database that went back.
    `standby_model` is another one that every replica keeps ready, to be switched to within a second.
    """

    __tablename__ = "gallery_state"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)
    stamp: Mapped[str] = mapped_column(String(16))
    model: Mapped[str | None] = mapped_column(String(200))
    standby_model: Mapped[str | None] = mapped_column(String(200))


class GalleryChange(Base):
    """What one revision added or removed. Holds no name and no foreign key: it outlives what it speaks of.

    `kind` is `add`, `remove` or `switch`: from that revision on another model is searched, and there is no template.
    """

    __tablename__ = "gallery_changes"

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    stamp: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(10))
    template_id: Mapped[int] = mapped_column(BigInteger)
    person_id: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class GalleryReplicaRow(Base):
    """A process that holds the gallery in memory: what it holds, what it was last found to hold, and what it is asked.

    It keeps the row by its heartbeat. `audit` is the latest one's report; a request is null again once it is
    carried out. `model` is what it searches with, `standby_model` what it could switch to at once, and
    `standby_trouble` why it cannot get that ready.
    """

    __tablename__ = "gallery_replicas"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    host: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revision: Mapped[int] = mapped_column(BigInteger)
    n_people: Mapped[int] = mapped_column(BigInteger)
    n_templates: Mapped[int] = mapped_column(BigInteger)
    model: Mapped[str | None] = mapped_column(String(200))
    standby_model: Mapped[str | None] = mapped_column(String(200))
    standby_trouble: Mapped[str | None] = mapped_column(String(300))
    audit_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    audited_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    audit: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    rebuild_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    rebuilt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

"""Operating points with their evidence, and what the gallery's own searches showed about single people."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, BigId, UtcDateTime


class OperatingPointRow(Base):
    """A threshold that was in force or suggested: never changed, so that every decision can say why.

    Only `curves` of a suggestion that another one has replaced are emptied: nobody asks for them any more.
    """

    __tablename__ = "operating_points"
    __table_args__ = (Index("ix_operating_points_created_at_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    threshold: Mapped[float]
    mode: Mapped[str] = mapped_column(String(10))
    is_suggestion: Mapped[bool]
    target_fpir: Mapped[float | None]
    expected_fpir: Mapped[dict[str, float]] = mapped_column(JSON)
    expected_fnir: Mapped[dict[str, float]] = mapped_column(JSON)
    method: Mapped[str] = mapped_column(String(200))
    model: Mapped[str] = mapped_column(String(200))
    n_people: Mapped[int]
    n_templates: Mapped[int]
    gallery_revision: Mapped[int] = mapped_column(BigInteger)
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON)
    curves: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str | None] = mapped_column(String(200))


class ThresholdState(Base):
    """One row: what is in force. `version` grows with everything that changes decisions, so replicas notice.

    `target_fpir` is what auto mode keeps, and what a suggestion in manual mode is made for. What is known of single
    people was found by searching `n_searched` of the `n_templates` that there were at `calibrated_revision`.
    """

    __tablename__ = "threshold_state"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger)
    mode: Mapped[str] = mapped_column(String(10))
    target_fpir: Mapped[float]
    current_id: Mapped[str | None] = mapped_column(ForeignKey("operating_points.id"))
    suggested_id: Mapped[str | None] = mapped_column(ForeignKey("operating_points.id"))
    calibrated_revision: Mapped[int] = mapped_column(BigInteger)
    n_searched: Mapped[int] = mapped_column(BigInteger)
    n_templates: Mapped[int] = mapped_column(BigInteger)


class RecalibrationRequest(Base):
    """Somebody was told that a calibration will be made; whichever replica makes it deletes the row."""

    __tablename__ = "recalibration_requests"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    requested_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LookAlikeRow(Base):
    """Two people, `person_a < person_b`, who must lead each other by `margin` to be named, as the gallery shows.

    `score` is the highest that one reached as the other.
    """

    __tablename__ = "look_alikes"

    person_a: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    person_b: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True)
    margin: Mapped[float]
    score: Mapped[float]


class PairComplaint(Base):
    """An operator's word that one of two people, `person_a < person_b`, was named in place of the other.

    They must lead each other by `margin` from then on. Not a foreign key to the event: it outlives its retention.
    """

    __tablename__ = "pair_complaints"
    __table_args__ = (Index("ix_pair_complaints_person_a_person_b", "person_a", "person_b"),)

    event_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    person_a: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    person_b: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    margin: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SuspiciousTemplateRow(Base):
    """A template nearer to somebody else than to its own person, as the latest calibration found it."""

    __tablename__ = "suspicious_templates"

    template_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("templates.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    nearer_to: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    lead: Mapped[float]

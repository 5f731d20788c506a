"""What was decided about each face, kept for a while: to preview thresholds on, and to be told what was wrong."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, UtcDateTime


class DecisionRow(Base):
    """One face of one identification: who, on what ground, and what an operator said of it.

    Holds no image and no embedding. `person_id` is null for everybody who was not named, and once they are erased.
    """

    __tablename__ = "decisions"
    __table_args__ = (Index("ix_decisions_at_id", "at", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    request_id: Mapped[str] = mapped_column(String(100))
    actor: Mapped[str] = mapped_column(String(100))
    outcome: Mapped[str] = mapped_column(String(20))
    person_id: Mapped[str | None] = mapped_column(ForeignKey("people.id", ondelete="SET NULL"), index=True)
    score: Mapped[float | None]
    margin: Mapped[float | None]
    quality: Mapped[float]
    reasons: Mapped[list[str]] = mapped_column(JSON)
    threshold: Mapped[float]
    operating_point_id: Mapped[str] = mapped_column(ForeignKey("operating_points.id"))
    gallery_revision: Mapped[int] = mapped_column(BigInteger)
    model: Mapped[str] = mapped_column(String(200))
    is_correct: Mapped[bool | None]
    true_person_id: Mapped[str | None] = mapped_column(ForeignKey("people.id", ondelete="SET NULL"), index=True)
    judged_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    judged_by: Mapped[str | None] = mapped_column(String(100))


class DecisionCandidate(Base):
    """One of the people a face might have been; rank 1 is the best."""

    __tablename__ = "decision_candidates"

    decision_id: Mapped[str] = mapped_column(ForeignKey("decisions.id", ondelete="CASCADE"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    score: Mapped[float]

"""Unknown faces that are kept for a while, for somebody to say who they are."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, UtcDateTime


class UnknownCluster(Base):
    """Unknown faces that look like one person: open, or assigned to somebody, or dismissed as a stranger.

    `n_faces` counts all that ever came to it, of which only those are still kept that have not expired. `was_enrolled`:
    the person it was assigned to had templates when the first face was looked for, so that each was a miss. `reason` is
    what whoever dismissed it said.
    """

    __tablename__ = "unknown_clusters"
    __table_args__ = (Index("ix_unknown_clusters_status_last_seen_at", "status", "last_seen_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    status: Mapped[str] = mapped_column(String(20))
    n_faces: Mapped[int]
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    person_id: Mapped[str | None] = mapped_column(ForeignKey("people.id", ondelete="SET NULL"), index=True)
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resolved_by: Mapped[str | None] = mapped_column(String(100))
    was_enrolled: Mapped[bool | None]
    reason: Mapped[str | None] = mapped_column(String(500))


class UnknownFace(Base):
    """An unknown face's crop and embedding, sealed with the deployment's secret, until `expires_at`."""

    __tablename__ = "unknown_faces"

    event_id: Mapped[str] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"), primary_key=True)
    cluster_id: Mapped[str | None] = mapped_column(ForeignKey("unknown_clusters.id", ondelete="SET NULL"), index=True)
    model: Mapped[str] = mapped_column(String(200))
    quality: Mapped[float]
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    # Before the crop: SQLite reads a row from its start, and crops are a hundred times as large.
    sealed_embedding: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_crop: Mapped[bytes] = mapped_column(LargeBinary)

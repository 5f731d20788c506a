"""Models: what makes embeddings, how each was judged, and the embeddings that others than the one in use have made."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, BigId, UtcDateTime


class Model(Base):
    """Something that turns chips into embeddings: a backbone as published, or one that was trained here.

    `word` is what is stored with every embedding of it. `kind` is `backbone`, `projection`, `finetune` or `scratch`;
    `backbone` is the name of the network it stands on, as `ml.backbones.load_backbone` takes it, and empty for one
    trained from scratch. `card` is an `ml.backbones.card.ModelCard`. `status` is `champion` (in use; exactly one),
    `challenger` (measured to be better), `refused` (not measured to be better) or `retired` (was in use). `reason` says
    in words why; `report` holds what was measured, as `ml.training.judge.Verdict` is written.
    """

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    word: Mapped[str] = mapped_column(String(200), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    backbone: Mapped[str] = mapped_column(String(500))
    card: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(20), index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    job_id: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(100))
    promoted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ModelWeights(Base):
    """What was trained, as `ml.backbones.trained` writes it, sealed: apart, because lists of models never need it."""

    __tablename__ = "model_weights"

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    n_bytes: Mapped[int] = mapped_column(BigId)
    sealed_weights: Mapped[bytes] = mapped_column(LargeBinary)


class TemplateEmbedding(Base):
    """A template's embedding by another model than the one it was enrolled with; little-endian float32."""

    __tablename__ = "template_embeddings"

    model: Mapped[str] = mapped_column(String(200), primary_key=True)
    template_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("templates.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, index=True
    )
    embedding: Mapped[bytes] = mapped_column(LargeBinary)


class TrainingRun(Base):
    """What one training was asked to do, and how it went so far: `curves` is an `ml.training.types.TrainingCurves`."""

    __tablename__ = "training_runs"

    job_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    strategy: Mapped[str] = mapped_column(String(20))
    policy: Mapped[str] = mapped_column(String(10))
    seed: Mapped[int]
    curves: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

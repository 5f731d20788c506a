"""models: what makes embeddings, embeddings of several models side by side, training runs"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.types import BigId, UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("word", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("backbone", sa.String(length=500), nullable=False),
        sa.Column("card", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("promoted_at", UtcDateTime(), nullable=True),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("word", name=op.f("uq_models_word")),
    )
    op.create_index(op.f("ix_models_status"), "models", ["status"])
    op.create_table(
        "model_weights",
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("n_bytes", BigId, nullable=False),
        sa.Column("sealed_weights", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_model_weights_model_id_models"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_model_weights")),
    )
    op.create_table(
        "template_embeddings",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("template_id", BigId, autoincrement=False, nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["template_id"],
            ["templates.id"],
            name=op.f("fk_template_embeddings_template_id_templates"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model", "template_id", name=op.f("pk_template_embeddings")),
    )
    op.create_index(op.f("ix_template_embeddings_template_id"), "template_embeddings", ["template_id"])
    op.create_table(
        "training_runs",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("strategy", sa.String(length=20), nullable=False),
        sa.Column("policy", sa.String(length=10), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("curves", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("model_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_training_runs_model_id_models"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_training_runs")),
    )
    op.create_index(op.f("ix_training_runs_model_id"), "training_runs", ["model_id"])
    op.add_column("gallery_state", sa.Column("standby_model", sa.String(length=200), nullable=True))
    for name, length in (("model", 200), ("standby_model", 200), ("standby_trouble", 300)):
        op.add_column("gallery_replicas", sa.Column(name, sa.String(length=length), nullable=True))


def downgrade() -> None:
    for name in ("standby_trouble", "standby_model", "model"):
        op.drop_column("gallery_replicas", name)
    op.drop_column("gallery_state", "standby_model")
    for table in ("training_runs", "template_embeddings", "model_weights", "models"):
        op.drop_table(table)

"""gallery replicas"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.types import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STAMPED = ("gallery_state", "gallery_changes")


def upgrade() -> None:
    for table in STAMPED:
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("stamp", sa.String(length=16), server_default="", nullable=False))
        with op.batch_alter_table(table) as batch:
            batch.alter_column("stamp", existing_type=sa.String(length=16), server_default=None)
    op.create_table(
        "gallery_replicas",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("n_people", sa.BigInteger(), nullable=False),
        sa.Column("n_templates", sa.BigInteger(), nullable=False),
        sa.Column("audit_requested_at", UtcDateTime(), nullable=True),
        sa.Column("audited_at", UtcDateTime(), nullable=True),
        sa.Column("audit", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("rebuild_requested_at", UtcDateTime(), nullable=True),
        sa.Column("rebuilt_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_gallery_replicas"),
    )


def downgrade() -> None:
    op.drop_table("gallery_replicas")
    for table in STAMPED:
        with op.batch_alter_table(table) as batch:
            batch.drop_column("stamp")

"""job queues"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    _make_anew(sa.Column("queues", sa.JSON(), nullable=False))


def downgrade() -> None:
    _make_anew()


def _make_anew(*more: sa.Column[object]) -> None:
    # All that is in it are heartbeats: the workers of this release, whose queues are not known here, write them again.
    op.drop_table("job_workers")
    op.create_table(
        "job_workers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("beat_at", UtcDateTime(), nullable=False),
        *more,
        sa.PrimaryKeyConstraint("id", name="pk_job_workers"),
    )

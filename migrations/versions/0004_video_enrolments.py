"""video enrolments"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.batch_alter_table("enrolments") as table:
        table.add_column(sa.Column("file_name", sa.String(length=200), nullable=True))
        table.add_column(sa.Column("job_id", sa.String(length=40), nullable=True))
        table.add_column(sa.Column("duplicate_of", sa.String(length=40), nullable=True))
        table.add_column(sa.Column("preflight", sa.JSON(), nullable=True))
        table.create_foreign_key(
            "fk_enrolments_duplicate_of_people", "people", ["duplicate_of"], ["id"], ondelete="SET NULL"
        )
        table.create_index("ix_enrolments_duplicate_of", ["duplicate_of"])


def downgrade() -> None:
    with op.batch_alter_table("enrolments") as table:
        table.drop_index("ix_enrolments_duplicate_of")
        table.drop_constraint("fk_enrolments_duplicate_of_people", type_="foreignkey")
        table.drop_column("preflight")
        table.drop_column("duplicate_of")
        table.drop_column("job_id")
        table.drop_column("file_name")

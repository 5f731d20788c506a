"""operating points and decisions"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.types import BigId, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "operating_points",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("is_suggestion", sa.Boolean(), nullable=False),
        sa.Column("target_fpir", sa.Double(), nullable=True),
        sa.Column("expected_fpir", sa.JSON(), nullable=False),
        sa.Column("expected_fnir", sa.JSON(), nullable=False),
        sa.Column("method", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("n_people", sa.Integer(), nullable=False),
        sa.Column("n_templates", sa.Integer(), nullable=False),
        sa.Column("gallery_revision", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("curves", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_operating_points"),
    )
    op.create_index("ix_operating_points_created_at_id", "operating_points", ["created_at", "id"])
    op.create_table(
        "decisions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("request_id", sa.String(length=100), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("margin", sa.Double(), nullable=True),
        sa.Column("quality", sa.Double(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("operating_point_id", sa.String(length=40), nullable=False),
        sa.Column("gallery_revision", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("is_correct", sa.Boolean(), nullable=True),
        sa.Column("true_person_id", sa.String(length=40), nullable=True),
        sa.Column("judged_at", UtcDateTime(), nullable=True),
        sa.Column("judged_by", sa.String(length=100), nullable=True),
        sa.ForeignKeyConstraint(
            ["operating_point_id"], ["operating_points.id"], name="fk_decisions_operating_point_id_operating_points"
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name="fk_decisions_person_id_people", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["true_person_id"], ["people.id"], name="fk_decisions_true_person_id_people", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_at_id", "decisions", ["at", "id"])
    op.create_index("ix_decisions_judged_at", "decisions", ["judged_at"])
    op.create_index("ix_decisions_person_id", "decisions", ["person_id"])
    op.create_index("ix_decisions_true_person_id", "decisions", ["true_person_id"])
    op.create_table(
        "look_alikes",
        sa.Column("person_a", sa.String(length=40), nullable=False),
        sa.Column("person_b", sa.String(length=40), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["person_a"], ["people.id"], name="fk_look_alikes_person_a_people", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["person_b"], ["people.id"], name="fk_look_alikes_person_b_people", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("person_a", "person_b", name="pk_look_alikes"),
    )
    op.create_index("ix_look_alikes_person_b", "look_alikes", ["person_b"])
    op.create_table(
        "pair_complaints",
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("person_a", sa.String(length=40), nullable=False),
        sa.Column("person_b", sa.String(length=40), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_a"], ["people.id"], name="fk_pair_complaints_person_a_people", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["person_b"], ["people.id"], name="fk_pair_complaints_person_b_people", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("event_id", name="pk_pair_complaints"),
    )
    op.create_index("ix_pair_complaints_person_a_person_b", "pair_complaints", ["person_a", "person_b"])
    op.create_index("ix_pair_complaints_person_b", "pair_complaints", ["person_b"])
    op.create_table(
        "threshold_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("target_fpir", sa.Double(), nullable=False),
        sa.Column("current_id", sa.String(length=40), nullable=True),
        sa.Column("suggested_id", sa.String(length=40), nullable=True),
        sa.Column("calibrated_revision", sa.BigInteger(), nullable=False),
        sa.Column("n_searched", sa.BigInteger(), nullable=False),
        sa.Column("n_templates", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_threshold_state_one_row"),
        sa.ForeignKeyConstraint(
            ["current_id"], ["operating_points.id"], name="fk_threshold_state_current_id_operating_points"
        ),
        sa.ForeignKeyConstraint(
            ["suggested_id"], ["operating_points.id"], name="fk_threshold_state_suggested_id_operating_points"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_threshold_state"),
    )
    op.execute(
        "INSERT INTO threshold_state (id, version, mode, target_fpir, calibrated_revision, n_searched, n_templates) "
        "VALUES (1, 0, 'auto', 0.01, -1, 0, 0)"
    )
    op.create_table(
        "decision_candidates",
        sa.Column("decision_id", sa.String(length=40), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name="fk_decision_candidates_decision_id_decisions", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name="fk_decision_candidates_person_id_people", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("decision_id", "rank", name="pk_decision_candidates"),
    )
    op.create_index("ix_decision_candidates_person_id", "decision_candidates", ["person_id"])
    op.create_table(
        "suspicious_templates",
        sa.Column("template_id", BigId, autoincrement=False, nullable=False),
        sa.Column("nearer_to", sa.String(length=40), nullable=False),
        sa.Column("lead", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["nearer_to"], ["people.id"], name="fk_suspicious_templates_nearer_to_people", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["template_id"], ["templates.id"], name="fk_suspicious_templates_template_id_templates", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("template_id", name="pk_suspicious_templates"),
    )
    op.create_index("ix_suspicious_templates_nearer_to", "suspicious_templates", ["nearer_to"])


def downgrade() -> None:
    op.drop_table("suspicious_templates")
    op.drop_table("decision_candidates")
    op.drop_table("threshold_state")
    op.drop_table("pair_complaints")
    op.drop_table("look_alikes")
    op.drop_table("decisions")
    op.drop_table("operating_points")

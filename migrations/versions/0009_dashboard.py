"""dashboard: users, their sessions, face crops of events and templates, snapshots of cameras"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.db.types import BigId, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("username", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("disabled_at", UtcDateTime(), nullable=True),
        sa.Column("last_login_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_table(
        "user_sessions",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("csrf_token", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_sessions_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_user_sessions")),
    )
    op.create_index(op.f("ix_user_sessions_user_id"), "user_sessions", ["user_id"])
    op.create_index(op.f("ix_user_sessions_expires_at"), "user_sessions", ["expires_at"])
    op.create_table(
        "login_tries",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("n_failures", sa.Integer(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("n_locks", sa.Integer(), nullable=False),
        sa.Column("locked_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_login_tries")),
    )
    op.create_table(
        "event_crops",
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("sealed_crop", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name=op.f("fk_event_crops_event_id_events"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_event_crops_person_id_people"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event_crops")),
    )
    op.create_index(op.f("ix_event_crops_person_id"), "event_crops", ["person_id"])
    op.create_index(op.f("ix_event_crops_expires_at"), "event_crops", ["expires_at"])
    op.create_table(
        "template_crops",
        sa.Column("template_id", BigId, autoincrement=False, nullable=False),
        sa.Column("landmarks", sa.JSON(), nullable=False),
        sa.Column("sealed_crop", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["template_id"], ["templates.id"], name=op.f("fk_template_crops_template_id_templates"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("template_id", name=op.f("pk_template_crops")),
    )
    op.create_table(
        "camera_snapshots",
        sa.Column("camera_id", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("asked_by", sa.String(length=100), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("found", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("sealed_picture", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["camera_id"], ["cameras.id"], name=op.f("fk_camera_snapshots_camera_id_cameras"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("camera_id", name=op.f("pk_camera_snapshots")),
        sa.UniqueConstraint("id", name=op.f("uq_camera_snapshots_id")),
    )
    op.create_index(op.f("ix_camera_snapshots_expires_at"), "camera_snapshots", ["expires_at"])
    op.add_column("cameras", sa.Column("last_picture_at", UtcDateTime(), nullable=True))
    # What came last, for those who watch.
    op.create_index(op.f("ix_events_received_at_id"), "events", ["received_at", "id"])
    # By time within a site; a site by itself is found by its beginning.
    op.create_index(op.f("ix_events_site_id_occurred_at_id"), "events", ["site_id", "occurred_at", "id"])
    op.drop_index(op.f("ix_events_site_id"), "events")
    op.create_index(op.f("ix_audit_log_action_id"), "audit_log", ["action", "id"])
    op.create_index(op.f("ix_audit_log_target_id"), "audit_log", ["target", "id"])


def downgrade() -> None:
    op.drop_column("cameras", "last_picture_at")
    op.drop_index(op.f("ix_audit_log_target_id"), "audit_log")
    op.drop_index(op.f("ix_audit_log_action_id"), "audit_log")
    op.create_index(op.f("ix_events_site_id"), "events", ["site_id"])
    op.drop_index(op.f("ix_events_site_id_occurred_at_id"), "events")
    op.drop_index(op.f("ix_events_received_at_id"), "events")
    for table in ("camera_snapshots", "template_crops", "event_crops", "login_tries", "user_sessions", "users"):
        op.drop_table(table)

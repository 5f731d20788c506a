"""The ledger: captures, the events they made, what was said of them afterwards, and the days that follow."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, Date, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, BigId, UtcDateTime


class Shift(Base):
    """When people are expected. Never changed once it is made: another one is assigned from some day on instead.

    `starts` and `ends` are times on the site's wall, `HH:MM`; an end that is not later lies on the next day. `days`
    are weekdays from 0, Monday. `rules` is `app.attendance.plan.ShiftRules` as JSON.
    """

    __tablename__ = "shifts"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    starts: Mapped[str] = mapped_column(String(5))
    ends: Mapped[str] = mapped_column(String(5))
    days: Mapped[list[int]] = mapped_column(JSON)
    rules: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ShiftAssignment(Base):
    """Who works which shift, from the first to the last of these days; null is open.

    A standing one is a person's `shift_id`, of which there is one at a time; the others, a roster, go before it.
    """

    __tablename__ = "shift_assignments"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    shift_id: Mapped[str] = mapped_column(ForeignKey("shifts.id"), index=True)
    first_date: Mapped[date | None] = mapped_column(Date)
    last_date: Mapped[date | None] = mapped_column(Date)
    is_standing: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(100))


class Capture(Base):
    """One picture that a camera sent to be recorded. `captured_at` is what its clock said, `occurred_at` the truth.

    The unique key outlives the stored answer of `Idempotency-Key`: a camera that was away for a month repeats nothing.
    `content_sha256`, of the picture and its time, tells a repetition from a key that is used twice.
    """

    __tablename__ = "captures"
    __table_args__ = (UniqueConstraint("owner", "idempotency_key", name="uq_captures_owner_idempotency_key"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    content_sha256: Mapped[str] = mapped_column(String(64))
    camera_id: Mapped[str | None] = mapped_column(ForeignKey("cameras.id"), index=True)
    captured_at: Mapped[datetime] = mapped_column(UtcDateTime)
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime)
    clock_offset_s: Mapped[float]
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    request_id: Mapped[str] = mapped_column(String(100))


class Event(Base):
    """Somebody was there. Its id is that of the decision that says why, where a face was the reason.

    Corrections change `outcome` and the columns from `person_id` to `is_deleted`, and append what they were to
    `event_corrections`; those after it follow from the rules and from the person's other events. `timezone` is the
    person's own, or else the site's, and `repeat_window_s` the site's, as they were. `person_id` is null for unknown
    faces and for people who were erased.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_occurred_at_id", "occurred_at", "id"),
        Index("ix_events_received_at_id", "received_at", "id"),
        Index("ix_events_person_id_occurred_at", "person_id", "occurred_at"),
        Index("ix_events_camera_id_occurred_at", "camera_id", "occurred_at"),
        Index("ix_events_site_id_occurred_at_id", "site_id", "occurred_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    capture_id: Mapped[str | None] = mapped_column(ForeignKey("captures.id"), index=True)
    camera_id: Mapped[str | None] = mapped_column(ForeignKey("cameras.id"))
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id"))
    timezone: Mapped[str] = mapped_column(String(64))
    repeat_window_s: Mapped[int]
    method: Mapped[str] = mapped_column(String(10))
    outcome: Mapped[str] = mapped_column(String(20))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(100))
    person_id: Mapped[str | None] = mapped_column(ForeignKey("people.id", ondelete="SET NULL"))
    occurred_at: Mapped[datetime] = mapped_column(UtcDateTime)
    given_direction: Mapped[str | None] = mapped_column(String(4))
    is_deleted: Mapped[bool] = mapped_column(default=False)
    direction: Mapped[str | None] = mapped_column(String(4))
    duplicate_of: Mapped[str | None] = mapped_column(String(40))
    local_date: Mapped[date | None] = mapped_column(Date)
    shift_id: Mapped[str | None] = mapped_column(String(40))
    explanation: Mapped[str] = mapped_column(Text)


class EventCorrection(Base):
    """What somebody changed about an event, and why; `before` is empty where they wrote it. Rows are only added."""

    __tablename__ = "event_corrections"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    event_id: Mapped[str] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(500))
    before: Mapped[dict[str, Any]] = mapped_column(JSON)
    after: Mapped[dict[str, Any]] = mapped_column(JSON)


class Day(Base):
    """One person's day as the rules make it of their events; kept because it is asked for more often than it changes.

    There is a row where there is an event, or was one (`n_events` 0), or where somebody approved an absence. `parts`
    are the shifts of the day, one by one. `version` grows with every change and never comes again; `closes_at` is when
    a missing check-out is no longer just still to come.
    """

    __tablename__ = "days"
    __table_args__ = (Index("ix_days_local_date_person_id", "local_date", "person_id"),)

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    local_date: Mapped[date] = mapped_column(Date, primary_key=True)
    timezone: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(20))
    first_in: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_out: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worked_s: Mapped[int]
    break_s: Mapped[int]
    late_s: Mapped[int]
    early_leave_s: Mapped[int]
    overtime_s: Mapped[int]
    n_events: Mapped[int]
    closes_at: Mapped[datetime] = mapped_column(UtcDateTime)
    explanation: Mapped[str] = mapped_column(Text)
    parts: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    version: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DayApproval(Base):
    """Somebody approved a day as it was at a version of it; if it changes later, that shows. Rows are only added."""

    __tablename__ = "day_approvals"
    __table_args__ = (
        Index("ix_day_approvals_person_id_local_date", "person_id", "local_date"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    local_date: Mapped[date] = mapped_column(Date)
    version: Mapped[int]
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(100))
    note: Mapped[str | None] = mapped_column(String(500))


class StaleDay(Base):
    """A day that a changed holiday or roster may have changed; whoever works it out anew deletes the row."""

    __tablename__ = "stale_days"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    local_date: Mapped[date] = mapped_column(Date, primary_key=True)


class PunchCredential(Base):
    """A PIN or a badge: for people who do not consent to their face being used, or are not recognised.

    A PIN is an argon2 hash; a badge is found by `badge_hmac`, keyed with the deployment's secret.
    """

    __tablename__ = "punch_credentials"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    pin_hash: Mapped[str | None] = mapped_column(String(200))
    badge_hmac: Mapped[str | None] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PunchTries(Base):
    """How often a person's PIN was tried, or a key was wrong, `since` when; see `app.attendance.tries`.

    `subject` is a fingerprint, of people as of names that nobody has.
    """

    __tablename__ = "punch_tries"

    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    n_failures: Mapped[int]
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    n_locks: Mapped[int]
    locked_until: Mapped[datetime | None] = mapped_column(UtcDateTime)

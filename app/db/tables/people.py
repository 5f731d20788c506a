"""Who can be recognised."""

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import Base, UtcDateTime


class Person(Base):
    """One employee. Erasing a person deletes the row."""

    __tablename__ = "people"
    __table_args__ = (Index("ix_people_created_at_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    employee_code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    # Code and name without case and accents, because SQLite and PostgreSQL fold letters differently.
    search_text: Mapped[str] = mapped_column(Text)
    department: Mapped[str | None] = mapped_column(String(200))
    timezone: Mapped[str | None] = mapped_column(String(64))
    # Of the standing assignment that is in force from today on, as `shift_assignments` has it.
    shift_id: Mapped[str | None] = mapped_column(String(40))
    # Whose holidays count, and whose clock where they have none of their own; null: the first site's.
    site_id: Mapped[str | None] = mapped_column(String(40))
    active: Mapped[bool] = mapped_column(default=True)
    # Since when nobody expects them any more; null while they are active.
    deactivated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    consent_given_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    consent_method: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)

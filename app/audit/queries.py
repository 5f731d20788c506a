"""All SQL about the audit log."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.tables import AuditEntry


def entries(
    session: Session, *, action: str | None, target: str | None, before_id: int | None, limit: int
) -> list[AuditEntry]:
    """Newest first, older than `before_id`."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if action is not None:
        query = query.where(AuditEntry.action == action)
    if target is not None:
        query = query.where(AuditEntry.target == target)
    if before_id is not None:
        query = query.where(AuditEntry.id < before_id)
    return list(session.scalars(query))

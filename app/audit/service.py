"""Writing the audit log."""

from typing import Any

from sqlalchemy.orm import Session

from app.db.tables import AuditEntry
from app.db.types import utc_now


def record(
    session: Session, actor: str, action: str, target: str | None = None, detail: dict[str, Any] | None = None
) -> None:
    """Notes an action, in the transaction that does it; `detail` holds ids, counts and names of fields only."""
    session.add(AuditEntry(at=utc_now(), actor=actor, action=action, target=target, detail=detail or {}))

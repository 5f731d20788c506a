"""What can be asked of the gallery's replicas."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.clock import shared_now
from app.db.tables import GalleryReplicaRow
from app.gallery import queries, registry, schemas
from app.gallery.audit import AuditReport
from app.gallery.caretaker import SILENT_AFTER_S
from app.gallery.changes import current_revision
from ml.gallery import GalleryIndexes


def state(session: Session, indexes: GalleryIndexes) -> schemas.GalleryState:
    """The gallery and its replicas as the API shows them; `indexes` are those of this process."""
    silent_before = shared_now(session) - timedelta(seconds=SILENT_AFTER_S)
    return schemas.GalleryState(
        revision=current_revision(session),
        model=queries.stored_model(session),
        n_log_entries=queries.n_changes(session),
        replicas=[_replica(row, silent_before) for row in registry.all_replicas(session)],
        index=schemas.Indexes.model_validate(indexes),
    )


def live_replicas(session: Session) -> list[GalleryReplicaRow]:
    """Those that were heard of lately."""
    silent_before = shared_now(session) - timedelta(seconds=SILENT_AFTER_S)
    return [row for row in registry.all_replicas(session) if row.seen_at >= silent_before]


def request_audit(session: Session, caller: Principal, indexes: GalleryIndexes) -> schemas.GalleryState:
    """Every replica is to compare itself with the database."""
    registry.request_audit(session)
    record(session, caller.actor, "gallery.audit_requested")
    return state(session, indexes)


def request_rebuild(session: Session, caller: Principal, indexes: GalleryIndexes) -> schemas.GalleryState:
    """Every replica is to load everything anew, and then to compare itself."""
    registry.request_rebuild(session)
    record(session, caller.actor, "gallery.rebuild_requested")
    return state(session, indexes)


def _replica(row: GalleryReplicaRow, silent_before: datetime) -> schemas.Replica:
    return schemas.Replica(
        id=row.id,
        kind=row.kind,
        host=row.host,
        started_at=row.started_at,
        seen_at=row.seen_at,
        is_silent=row.seen_at < silent_before,
        revision=row.revision,
        n_people=row.n_people,
        n_templates=row.n_templates,
        is_rebuild_pending=row.rebuild_requested_at is not None,
        rebuilt_at=row.rebuilt_at,
        is_audit_pending=row.audit_requested_at is not None,
        audit=_audit(row),
    )


def _audit(row: GalleryReplicaRow) -> schemas.Audit | None:
    if row.audit is None or row.audited_at is None:
        return None
    report = AuditReport(**row.audit)
    return schemas.Audit(at=row.audited_at, is_clean=report.is_clean, **row.audit)

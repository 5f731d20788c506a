"""All SQL about replicas: who holds the gallery, how far each is, and what it is asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.db.clock import shared_now
from app.db.tables import GalleryReplicaRow


@dataclass(frozen=True, slots=True)
class Requests:
    """Since when a replica has been asked to do what; None: it is not asked."""

    audit: datetime | None
    rebuild: datetime | None


def beat(session: Session, replica_id: str, facts: dict[str, Any]) -> None:
    """Say that a replica is alive and how far it is; brings back one that was taken for dead."""
    now = shared_now(session)
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(GalleryReplicaRow).values(id=replica_id, started_at=now, seen_at=now, **facts)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now, **facts}))


def requests(session: Session, replica_id: str) -> Requests:
    row = GalleryReplicaRow
    statement = select(row.audit_requested_at, row.rebuild_requested_at).where(row.id == replica_id)
    found = session.execute(statement).one_or_none()
    return Requests(*found) if found else Requests(None, None)


def all_replicas(session: Session) -> Sequence[GalleryReplicaRow]:
    return session.scalars(select(GalleryReplicaRow).order_by(GalleryReplicaRow.started_at, GalleryReplicaRow.id)).all()


def request_audit(session: Session) -> None:
    """Ask every replica."""
    session.execute(update(GalleryReplicaRow).values(audit_requested_at=shared_now(session)))


def request_rebuild(session: Session) -> None:
    """Ask every replica to rebuild, and then to audit what it has built."""
    now = shared_now(session)
    session.execute(update(GalleryReplicaRow).values(rebuild_requested_at=now, audit_requested_at=now))


def note_audit(session: Session, replica_id: str, report: dict[str, Any], asked: datetime | None) -> None:
    """Keep a report; a request that came after the one which was carried out stands."""
    row = GalleryReplicaRow
    mine = update(row).where(row.id == replica_id)
    session.execute(mine.values(audit=report, audited_at=shared_now(session)))
    session.execute(mine.where(row.audit_requested_at == asked).values(audit_requested_at=None))


def note_rebuilt(session: Session, replica_id: str, asked: datetime | None) -> None:
    row = GalleryReplicaRow
    mine = update(row).where(row.id == replica_id)
    session.execute(mine.values(rebuilt_at=shared_now(session)))
    session.execute(mine.where(row.rebuild_requested_at == asked).values(rebuild_requested_at=None))


def forget(session: Session, replica_id: str) -> None:
    session.execute(delete(GalleryReplicaRow).where(GalleryReplicaRow.id == replica_id))


def forget_silent(session: Session, for_s: float) -> None:
    """Forget those that have not been heard of for so long; one that lives comes back with its next heartbeat."""
    before = shared_now(session) - timedelta(seconds=for_s)
    session.execute(delete(GalleryReplicaRow).where(GalleryReplicaRow.seen_at < before))

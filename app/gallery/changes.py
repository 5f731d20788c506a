"""The ordered log of gallery changes; written in the same transaction as the templates it speaks of."""

from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.tables import GalleryChange, GalleryState
from app.db.types import utc_now


def current_revision(session: Session) -> int:
    """The newest revision that this transaction sees."""
    return session.scalars(select(GalleryState.revision).where(GalleryState.id == 1)).one()


def bump_revision(session: Session) -> int:
    """Takes the next revision; the row stays locked until commit, so revisions become visible in order."""
    session.execute(update(GalleryState).where(GalleryState.id == 1).values(revision=GalleryState.revision + 1))
    return current_revision(session)


def record_additions(session: Session, template_ids_with_person: Iterable[tuple[int, str]]) -> int:
    """Logs new templates as one revision; with none, the revision stays."""
    return _record(session, "add", template_ids_with_person)


def record_removals(session: Session, template_ids_with_person: Iterable[tuple[int, str]]) -> int:
    """Logs templates about to be deleted as one revision; with none, the revision stays."""
    return _record(session, "remove", template_ids_with_person)


def _record(session: Session, kind: str, template_ids_with_person: Iterable[tuple[int, str]]) -> int:
    templates = list(template_ids_with_person)
    if not templates:
        return current_revision(session)
    revision, now = bump_revision(session), utc_now()
    session.add_all(
        GalleryChange(
            revision=revision, seq=seq, kind=kind, template_id=template_id, person_id=person_id, created_at=now
        )
        for seq, (template_id, person_id) in enumerate(templates)
    )
    session.flush()
    return revision

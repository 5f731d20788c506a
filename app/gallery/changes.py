"""The ordered log of gallery changes; written in the same transaction as the templates it speaks of.

A sequence would not do: it gives its numbers before the commit, so a reader that has seen 7 may have missed a 6 that is
committed later, or wait for a 6 that was rolled back. Here the number is a row that stays locked until commit: numbers
are committed in their order, and one that is rolled back is given again.
"""

from collections.abc import Iterable
from secrets import token_hex

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.db.clock import shared_now
from app.db.tables import GalleryChange, GalleryState

# PostgreSQL tells whoever listens to this channel that a change was committed.
CHANNEL = "rollcall_gallery"
# Templates are numbered from 1.
_NO_TEMPLATE = 0


def current_revision(session: Session) -> int:
    """The newest revision that this transaction sees."""
    return session.scalars(select(GalleryState.revision).where(GalleryState.id == 1)).one()


def stamped_revision(session: Session) -> tuple[int, str]:
    """The newest revision, and what tells it from another of the same number; a new database has none."""
    row = session.execute(select(GalleryState.revision, GalleryState.stamp).where(GalleryState.id == 1)).one()
    return row.revision, row.stamp


def bump_revision(session: Session) -> tuple[int, str]:
    """Takes the next revision; the row stays locked until commit, so revisions become visible in order."""
    following = {"revision": GalleryState.revision + 1, "stamp": token_hex(8)}
    session.execute(update(GalleryState).where(GalleryState.id == 1).values(following))
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_notify(CHANNEL, "")))  # sent by the commit, and not without it
    return stamped_revision(session)


def record_additions(session: Session, template_ids_with_person: Iterable[tuple[int, str]]) -> int:
    """Logs new templates as one revision; with none, the revision stays."""
    return _record(session, "add", template_ids_with_person)


def record_removals(session: Session, template_ids_with_person: Iterable[tuple[int, str]]) -> int:
    """Logs templates about to be deleted as one revision; with none, the revision stays."""
    return _record(session, "remove", template_ids_with_person)


def record_switch(session: Session) -> int:
    """Logs that another model is searched from this revision on."""
    (revision, stamp), now = bump_revision(session), shared_now(session)
    session.add(
        GalleryChange(
            revision=revision, seq=0, stamp=stamp, kind="switch", template_id=_NO_TEMPLATE, person_id="", created_at=now
        )
    )
    session.flush()
    return revision


def _record(session: Session, kind: str, template_ids_with_person: Iterable[tuple[int, str]]) -> int:
    templates = list(template_ids_with_person)
    if not templates:
        return current_revision(session)
    (revision, stamp), now = bump_revision(session), shared_now(session)
    shared = {"revision": revision, "stamp": stamp, "kind": kind, "created_at": now}
    session.add_all(
        GalleryChange(**shared, seq=seq, template_id=template_id, person_id=person_id)
        for seq, (template_id, person_id) in enumerate(templates)
    )
    session.flush()
    return revision

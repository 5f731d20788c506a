"""All SQL about the gallery: what a replica reads to build its index and to keep up."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Row, Select, select, update
from sqlalchemy.orm import Session

from app.db.tables import GalleryChange, GalleryState, Person, Template
from app.gallery.rules import refuse_other_model
from ml.types import FloatArray

# Rows read at once while a gallery is loaded: about 2 MB of embeddings.
_LOAD_ROWS = 4000
# Ids in one IN (...): below every database's limit on bound values.
_IDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, eq=False)
class StoredTemplates:
    """Rows of the templates table as arrays: ids N, person ids N, embeddings `(N, D)` float32."""

    ids: list[int]
    person_ids: list[str]
    embeddings: FloatArray


def encode_embedding(embedding: FloatArray) -> bytes:
    """`(D,)` float32 as it is stored: little-endian bytes."""
    return embedding.astype("<f4").tobytes()


def decode_embeddings(blobs: Sequence[bytes], dim: int) -> FloatArray:
    """Stored bytes as `(N, D)` float32."""
    return np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), dim).astype(np.float32)


def stored_model(session: Session) -> str | None:
    """The backbone version that made the stored embeddings; None before the first enrolment."""
    return session.scalars(select(GalleryState.model).where(GalleryState.id == 1)).one()


def claim_model(session: Session, model: str) -> None:
    """Ties the data to one backbone, once.

    Raises:
        ModelError: it is tied to another one.
    """
    session.execute(update(GalleryState).where(GalleryState.id == 1, GalleryState.model.is_(None)).values(model=model))
    refuse_other_model(stored_model(session), model)


def templates_after(session: Session, template_id: int, dim: int) -> StoredTemplates:
    """The next page of active people's templates by id; empty at the end."""
    statement = _active_templates().where(Template.id > template_id).order_by(Template.id).limit(_LOAD_ROWS)
    return _arrays(session.execute(statement).all(), dim)


def templates_by_id(session: Session, template_ids: Collection[int], dim: int) -> StoredTemplates:
    """Those of these templates that (still) exist and belong to active people."""
    ids = sorted(template_ids)
    rows: list[Row[int, str, bytes]] = []
    for start in range(0, len(ids), _IDS_AT_ONCE):
        rows.extend(session.execute(_active_templates().where(Template.id.in_(ids[start : start + _IDS_AT_ONCE]))))
    return _arrays(rows, dim)


def changes_after(session: Session, revision: int, n_revisions: int) -> list[GalleryChange]:
    """The changes of the next revisions, in order; revisions have no gaps, so empty means up to date."""
    statement = (
        select(GalleryChange)
        .where(GalleryChange.revision > revision, GalleryChange.revision <= revision + n_revisions)
        .order_by(GalleryChange.revision, GalleryChange.seq)
    )
    return list(session.scalars(statement))


def lock_gallery(session: Session) -> None:
    """Take the writers' turn until commit: nobody else changes the gallery meanwhile."""
    session.execute(update(GalleryState).where(GalleryState.id == 1).values(revision=GalleryState.revision))


def _active_templates() -> Select[int, str, bytes]:
    return (
        select(Template.id, Template.person_id, Template.embedding)
        .join(Person, Person.id == Template.person_id)
        .where(Person.active)
    )


def _arrays(rows: Sequence[Row[int, str, bytes]], dim: int) -> StoredTemplates:
    return StoredTemplates(
        [row.id for row in rows],
        [row.person_id for row in rows],
        decode_embeddings([row.embedding for row in rows], dim),
    )

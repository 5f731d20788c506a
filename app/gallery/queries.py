"""All SQL about the gallery: what a replica reads to build its index and to keep up."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Row, Select, and_, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.db.tables import GalleryChange, GalleryState, Person, Template, TemplateEmbedding
from app.gallery.rules import refuse_other_model
from ml.gallery import GalleryContents, checksums
from ml.types import FloatArray

# Rows read at once while a gallery is loaded: about 5 MB of embeddings.
_LOAD_ROWS = 10_000
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


@dataclass(frozen=True, slots=True)
class ModelsInForce:
    """The words of the model that is searched with, and of the one that is kept ready beside it; None: there is none.

    `searched` is None before the first enrolment.
    """

    searched: str | None
    standby: str | None


def models_in_force(session: Session) -> ModelsInForce:
    row = session.execute(select(GalleryState.model, GalleryState.standby_model).where(GalleryState.id == 1)).one()
    return ModelsInForce(row.model, row.standby_model)


def stored_model(session: Session) -> str | None:
    """The model that is searched with; None before the first enrolment."""
    return session.scalars(select(GalleryState.model).where(GalleryState.id == 1)).one()


def claim_model(session: Session, model: str) -> None:
    """Ties the data to one model, once; a switch ties it to another.

    Raises:
        ModelError: it is tied to another one.
    """
    session.execute(update(GalleryState).where(GalleryState.id == 1, GalleryState.model.is_(None)).values(model=model))
    refuse_other_model(stored_model(session), model)


def all_templates(session: Session, model: str, dim: int) -> Iterator[StoredTemplates]:
    """Every active person's templates as a model embeds them, in portions as they are read, in any order."""
    rows = session.execute(_active_templates(model), execution_options={"yield_per": _LOAD_ROWS})
    for portion in rows.partitions():
        yield _arrays(portion, dim)


def unembedded(session: Session, model: str) -> list[int]:
    """Ids of active people's templates that a model has not embedded."""
    return list(session.scalars(_unembedded(model).with_only_columns(Template.id).order_by(Template.id)))


def n_embedded_later(session: Session, model: str) -> int:
    """How many templates a model has embedded that were enrolled with another one."""
    of = select(func.count()).select_from(TemplateEmbedding).where(TemplateEmbedding.model == model)
    return session.scalars(of).one()


def stored_contents(session: Session, model: str) -> GalleryContents:
    """What ought to be in every replica that searches with a model, in short."""
    ids, people, sums = list[int](), list[str](), list[NDArray[np.uint64]]()
    rows = session.execute(_active_templates(model), execution_options={"yield_per": _LOAD_ROWS})
    for portion in rows.partitions():
        ids.extend(row.id for row in portion)
        people.extend(row.person_id for row in portion)
        sums.append(checksums([row.embedding for row in portion]))
    order = np.argsort(np.array(ids, dtype=np.int64))
    all_sums = np.concatenate([np.empty(0, dtype=np.uint64), *sums])
    return GalleryContents(np.array(ids, dtype=np.int64)[order], tuple(people[i] for i in order), all_sums[order])


def templates_by_id(session: Session, template_ids: Collection[int], model: str, dim: int) -> StoredTemplates:
    """Those of these templates that (still) exist, belong to active people, and were embedded by a model."""
    rows: list[Row[int, str, bytes]] = []
    for some in _portions(template_ids):
        rows.extend(session.execute(_active_templates(model).where(Template.id.in_(some))))
    return _arrays(rows, dim)


def changes_after(session: Session, revision: int, n_revisions: int) -> list[GalleryChange]:
    """The changes of the next revisions, in order. Revisions have no gaps: where the first one is not the next one, the
    log does not reach back so far."""
    statement = (
        select(GalleryChange)
        .where(GalleryChange.revision > revision, GalleryChange.revision <= revision + n_revisions)
        .order_by(GalleryChange.revision, GalleryChange.seq)
    )
    return list(session.scalars(statement))


def stamp_of(session: Session, revision: int) -> str | None:
    """The stamp of a logged revision; of revision 0, which changed nothing, the empty one; None: it is not logged."""
    if revision == 0:
        return ""
    return session.scalars(select(GalleryChange.stamp).where(GalleryChange.revision == revision).limit(1)).one_or_none()


def n_changes(session: Session) -> int:
    """How long the log is."""
    return session.scalars(select(func.count()).select_from(GalleryChange)).one()


def newest_revision_before(session: Session, at: datetime) -> int:
    """The newest logged revision of before `at`; 0 when there is none."""
    return session.scalars(select(func.max(GalleryChange.revision)).where(GalleryChange.created_at < at)).one() or 0


def delete_changes(session: Session, until_revision: int, n_revisions: int) -> int:
    """Shorten the log by its oldest revisions, at most so many, up to and with one; returns how many rows that were.

    The newest one stays: replicas that are at it know it by its stamp.
    """
    oldest, newest = session.execute(select(func.min(GalleryChange.revision), func.max(GalleryChange.revision))).one()
    if oldest is None:
        return 0
    until = min(until_revision, oldest + n_revisions - 1, newest - 1)
    deleted = delete(GalleryChange).where(GalleryChange.revision <= until).returning(GalleryChange.revision)
    return len(session.scalars(deleted).all())


def lock_gallery(session: Session) -> None:
    """Take the writers' turn until commit: nobody else changes the gallery meanwhile."""
    session.execute(update(GalleryState).where(GalleryState.id == 1).values(revision=GalleryState.revision))


def _active_templates(model: str) -> Select[int, str, bytes]:
    """Of each template the embedding by a model: its own, or the one that was made of its crop later."""
    is_own = Template.model == model
    embedding = case((is_own, Template.embedding), else_=TemplateEmbedding.embedding).label("embedding")
    return (
        select(Template.id, Template.person_id, embedding)
        .join(Person, Person.id == Template.person_id)
        .outerjoin(TemplateEmbedding, _of_model(model))
        .where(Person.active, or_(is_own, TemplateEmbedding.template_id.is_not(None)))
    )


def _unembedded(model: str) -> Select[Template]:
    return (
        select(Template)
        .join(Person, Person.id == Template.person_id)
        .outerjoin(TemplateEmbedding, _of_model(model))
        .where(Person.active, Template.model != model, TemplateEmbedding.template_id.is_(None))
    )


def _of_model(model: str) -> ColumnElement[bool]:
    return and_(TemplateEmbedding.template_id == Template.id, TemplateEmbedding.model == model)


def _portions(ids: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _IDS_AT_ONCE):
        yield ordered[start : start + _IDS_AT_ONCE]


def _arrays(rows: Sequence[Row[int, str, bytes]], dim: int) -> StoredTemplates:
    return StoredTemplates(
        [row.id for row in rows],
        [row.person_id for row in rows],
        decode_embeddings([row.embedding for row in rows], dim),
    )

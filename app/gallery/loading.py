"""Database -> gallery in memory: everything in one consistent read, and then the log.

The table itself is the snapshot that a replica starts from: a million templates are read and indexed in fifteen
seconds, and no file of embeddings lies beside the database that an erasure would have to find.
"""

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from app.gallery import queries
from app.gallery.changes import stamped_revision
from app.gallery.queries import StoredTemplates
from ml.gallery import Gallery
from ml.nearest import DEFAULT_PLAN, SearchPlan

_REVISIONS_AT_ONCE = 500


@dataclass(slots=True, eq=False)
class Index:
    """A gallery in memory, the revision it is at, and that revision's stamp.

    `pending` are templates that belong in it and that its model has not embedded yet; they were looked for when
    `n_embedded_since` templates had been embedded later than they were enrolled.
    """

    gallery: Gallery
    revision: int
    stamp: str = ""
    pending: set[int] = field(default_factory=set)
    n_embedded_since: int = -1


class LogTooShortError(Exception):
    """The log does not lead from an index to what is stored: it was compacted, or the database is another one now.

    As after a restore, or when a standby took over that had not heard of the last changes: then the same revision may
    be given twice, and its stamp tells.
    """

    def __init__(self, index: Index) -> None:
        super().__init__(f"the log does not reach back to revision {index.revision}")
        self.index = index


@dataclass(frozen=True, slots=True, eq=False)
class Portion:
    """Some revisions of the log: read slowly, applied in an instant. `pending` belong in the gallery, but later."""

    removed: list[int]
    added: StoredTemplates
    pending: list[int]
    revision: int
    stamp: str

    def apply(self, index: Index) -> None:
        gallery = index.gallery
        gallery.remove(self.removed)
        gallery.remove(self.added.ids)  # somebody deactivated and activated again within the portion
        gallery.add(self.added.ids, self.added.person_ids, self.added.embeddings, gallery.model)
        index.pending.difference_update(self.removed, self.added.ids)
        index.pending.update(self.pending)
        index.revision, index.stamp = self.revision, self.stamp


def load(session: Session, *, model: str, dim: int, plan: SearchPlan = DEFAULT_PLAN) -> Index:
    """Read everything that a model has embedded.

    Args:
        session: of `Database.snapshot`, so that the templates are those of the revision.
        model: whose embeddings.
        dim: their length.
        plan: how they are to be searched.
    """
    index = Index(Gallery(model=model, dim=dim, plan=plan), *stamped_revision(session))
    for portion in queries.all_templates(session, model, dim):
        index.gallery.add(portion.ids, portion.person_ids, portion.embeddings, model)
    index.pending.update(queries.unembedded(session, model))
    return index


def read_log(session: Session, index: Index) -> Portion | None:
    """What comes next for an index; None when it is up to date.

    Raises:
        LogTooShortError: it can only be loaded anew.
    """
    newest = stamped_revision(session)
    if newest == (index.revision, index.stamp):
        return _embedded_since(session, index)
    changes = queries.changes_after(session, index.revision, _REVISIONS_AT_ONCE)
    is_next = bool(changes) and changes[0].revision == index.revision + 1
    if not is_next or queries.stamp_of(session, index.revision) != index.stamp:
        raise LogTooShortError(index)
    final = {change.template_id: change.kind for change in changes}  # the last word about each template counts
    added = [template_id for template_id, kind in final.items() if kind == "add"]
    removed = [template_id for template_id, kind in final.items() if kind == "remove"]
    templates = queries.templates_by_id(session, added, index.gallery.model, index.gallery.dim)
    pending = set(added) - set(templates.ids)  # or gone, which a later revision will tell
    return Portion(removed, templates, sorted(pending), changes[-1].revision, changes[-1].stamp)


def _embedded_since(session: Session, index: Index) -> Portion | None:
    """Templates that were pending, and are not any more."""
    if not index.pending:
        return None
    n_embedded = queries.n_embedded_later(session, index.gallery.model)
    if n_embedded == index.n_embedded_since:
        return None
    index.n_embedded_since = n_embedded
    found = queries.templates_by_id(session, index.pending, index.gallery.model, index.gallery.dim)
    return Portion([], found, [], index.revision, index.stamp) if found.ids else None

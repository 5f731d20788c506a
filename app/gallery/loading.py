"""Database -> gallery in memory: everything in one consistent read, and then the log.

The table itself is the snapshot that a replica starts from: a million templates are read and indexed in fifteen
seconds, and no file of embeddings lies beside the database that an erasure would have to find.
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.gallery import queries
from app.gallery.changes import stamped_revision
from app.gallery.queries import StoredTemplates
from app.gallery.rules import refuse_other_model
from ml.gallery import Gallery
from ml.nearest import DEFAULT_PLAN, SearchPlan

_REVISIONS_AT_ONCE = 500


@dataclass(slots=True, eq=False)
class Index:
    """A gallery in memory, the revision it is at, and that revision's stamp."""

    gallery: Gallery
    revision: int
    stamp: str = ""


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
    """Some revisions of the log: read slowly, applied in an instant."""

    removed: list[int]
    added: StoredTemplates
    revision: int
    stamp: str

    def apply(self, index: Index) -> None:
        gallery = index.gallery
        gallery.remove(self.removed)
        gallery.remove(self.added.ids)  # somebody deactivated and activated again within the portion
        gallery.add(self.added.ids, self.added.person_ids, self.added.embeddings, gallery.model)
        index.revision, index.stamp = self.revision, self.stamp


def load(session: Session, *, model: str, dim: int, plan: SearchPlan = DEFAULT_PLAN) -> Index:
    """Read everything for the backbone in use.

    Args:
        session: of `Database.snapshot`, so that the templates are those of the revision.
        model: the backbone in use.
        dim: length of its embeddings.
        plan: how they are to be searched.

    Raises:
        ModelError: the stored embeddings come from another backbone.
    """
    refuse_other_model(queries.stored_model(session), model)
    index = Index(Gallery(model=model, dim=dim, plan=plan), *stamped_revision(session))
    for portion in queries.all_templates(session, dim):
        index.gallery.add(portion.ids, portion.person_ids, portion.embeddings, model)
    return index


def read_log(session: Session, index: Index) -> Portion | None:
    """What comes next for an index; None when it is up to date.

    Raises:
        LogTooShortError: it can only be loaded anew.
        ModelError: another replica has enrolled people with another backbone.
    """
    newest = stamped_revision(session)
    if newest == (index.revision, index.stamp):
        return None
    changes = queries.changes_after(session, index.revision, _REVISIONS_AT_ONCE)
    is_next = bool(changes) and changes[0].revision == index.revision + 1
    if not is_next or queries.stamp_of(session, index.revision) != index.stamp:
        raise LogTooShortError(index)
    refuse_other_model(queries.stored_model(session), index.gallery.model)
    final = {change.template_id: change.kind for change in changes}  # the last word about each template counts
    added = [template_id for template_id, kind in final.items() if kind == "add"]
    removed = [template_id for template_id, kind in final.items() if kind == "remove"]
    templates = queries.templates_by_id(session, added, index.gallery.dim)
    return Portion(removed, templates, changes[-1].revision, changes[-1].stamp)

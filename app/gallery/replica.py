"""This process's gallery: built from the database when it starts, and kept equal to it by the change log."""

from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import monotonic

import structlog

from app.db.engine import Database
from app.db.tables import GalleryChange
from app.errors import RETRY_AFTER_S, ProblemError
from app.gallery import queries
from app.gallery.changes import current_revision
from ml.errors import ModelError
from ml.gallery import Gallery, GallerySnapshot, PersonHits
from ml.types import FloatArray

# How often another process's changes are looked for; our own are applied before we answer.
POLL_EVERY_S = 1.0
# How long a caller that asks for a newer revision is kept waiting.
WAIT_FOR_REVISION_S = 5.0
_REVISIONS_AT_ONCE = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GalleryVersion:
    """How large the gallery was, and how new, when it was searched."""

    n_people: int
    n_templates: int
    revision: int


class GalleryReplica:
    """The one gallery of a process; safe for use from several threads."""

    def __init__(self, database: Database, *, model: str, dim: int) -> None:
        self._database = database
        self._gallery = Gallery(model=model, dim=dim)
        self._revision = -1
        self._searching = Lock()
        self._following = Lock()
        self._stop = Event()
        self._poller = Thread(target=self._poll, name="gallery-follower", daemon=True)

    @property
    def model(self) -> str:
        return self._gallery.model

    @property
    def is_loaded(self) -> bool:
        return self._revision >= 0

    def start(self) -> None:
        """Load everything, then keep up in the background.

        Raises:
            ModelError: the stored embeddings come from another backbone than the one in use.
        """
        self._load()
        self._poller.start()

    def stop(self) -> None:
        self._stop.set()
        if self._poller.is_alive():
            self._poller.join()

    def version(self) -> GalleryVersion:
        with self._searching:
            return self._version()

    def search(self, probes: FloatArray, n_candidates: int) -> tuple[list[PersonHits], GalleryVersion]:
        """As `Gallery.search`, with the version that was searched."""
        with self._searching:
            return self._gallery.search(probes, n_candidates), self._version()

    def embeddings_of(self, person_id: str) -> FloatArray:
        with self._searching:
            return self._gallery.embeddings_of(person_id)

    def snapshot(self) -> tuple[GallerySnapshot, GalleryVersion]:
        """A copy of everything, for work that takes longer than a search."""
        with self._searching:
            return self._gallery.snapshot(), self._version()

    def catch_up(self) -> int:
        """Apply every committed change that is not applied yet; returns the revision reached."""
        with self._following:
            while changes := self._next_changes():
                self._apply(changes)
        return self._revision

    def wait_for(self, revision: int) -> None:
        """Wait until `revision` is applied; refuses with 503 `gallery_behind` when that takes too long."""
        deadline = monotonic() + WAIT_FOR_REVISION_S
        while self._revision < revision and self.catch_up() < revision:
            if monotonic() >= deadline or self._stop.wait(0.05):
                headers = {"Retry-After": str(RETRY_AFTER_S)}
                detail = f"This replica has not reached gallery revision {revision} yet; try again."
                raise ProblemError(503, "gallery_behind", detail, headers=headers)

    def _version(self) -> GalleryVersion:
        return GalleryVersion(self._gallery.n_people, self._gallery.n_templates, self._revision)

    def _load(self) -> None:
        # The revision is read before the templates, so that what is committed meanwhile is applied again, which
        # does no harm, and never missed.
        with self._following, self._database.read() as session:
            self._refuse_other_model(queries.stored_model(session))
            revision, last_id = current_revision(session), 0
            while (page := queries.templates_after(session, last_id, self._gallery.dim)).ids:
                self._add(page)
                last_id = page.ids[-1]
            self._revision = revision
        log.info("gallery.loaded", n_people=self._gallery.n_people, n_templates=self._gallery.n_templates)

    def _refuse_other_model(self, stored: str | None) -> None:
        if stored not in (None, self.model):
            raise ModelError(
                f"the stored templates were made by {stored}, but the settings choose {self.model}: embeddings of "
                "different networks are never compared. Set ROLLCALL_BACKBONE and ROLLCALL_MIRRORED_EMBEDDING back, "
                "or start with an empty data directory."
            )

    def _next_changes(self) -> list[GalleryChange]:
        with self._database.read() as session:
            return queries.changes_after(session, self._revision, _REVISIONS_AT_ONCE)

    def _apply(self, changes: list[GalleryChange]) -> None:
        final = {change.template_id: change.kind for change in changes}  # the last word about each template counts
        added = [template_id for template_id, kind in final.items() if kind == "add"]
        with self._database.read() as session:
            page = queries.templates_by_id(session, added, self._gallery.dim)
        with self._searching:
            self._gallery.remove([template_id for template_id, kind in final.items() if kind == "remove"])
            self._gallery.remove(page.ids)  # known already when they were committed while we loaded
            self._gallery.add(page.ids, page.person_ids, page.embeddings, self.model)
            self._revision = changes[-1].revision

    def _add(self, page: queries.StoredTemplates) -> None:
        with self._searching:
            self._gallery.add(page.ids, page.person_ids, page.embeddings, self.model)

    def _poll(self) -> None:
        while not self._stop.wait(POLL_EVERY_S):
            try:
                self.catch_up()
            except Exception:  # the database is away, or a row cannot be used: a follower that died would go unnoticed
                log.exception("gallery.catch_up_failed")

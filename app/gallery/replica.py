"""This process's gallery: built from the database when it starts, and kept equal to it by the change log."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import monotonic

import structlog
from sqlalchemy.orm import Session

from app.db.engine import Database
from app.db.tables import GalleryChange
from app.errors import RETRY_AFTER_S, ProblemError
from app.gallery import queries
from app.gallery.changes import current_revision
from app.gallery.rules import refuse_other_model
from ml.gallery import Gallery, GallerySnapshot, PersonHits
from ml.types import FloatArray

# How often another process's changes are looked for; our own are applied before we answer.
POLL_EVERY_S = 1.0
# How long a caller that asks for a newer revision is kept waiting.
WAIT_FOR_REVISION_S = 5.0
# A replica that has not been able to look for changes for so long may answer with people who were erased since.
STALE_AFTER_S = 30.0
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
        self._caught_up_s = monotonic()
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

    @property
    def trouble(self) -> str | None:
        """Why this replica should not be asked now; None when all is well."""
        if not self.is_loaded:
            return "The gallery is being loaded."
        age_s = monotonic() - self._caught_up_s
        if age_s > STALE_AFTER_S:
            return f"The gallery was last compared with the database {age_s:.0f} s ago; the log has the reason."
        return None

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

    def catch_up(self, session: Session | None = None) -> int:
        """Apply every committed change that is not applied yet; returns the revision reached.

        Args:
            session: to read on. Whoever is in a transaction must pass it, and must not have changed the gallery in it:
                a second connection could be waited for by everybody who has a first one.

        Raises:
            ModelError: another replica has enrolled people with another backbone.
        """
        with self._following_on(session) as reading:
            while changes := queries.changes_after(reading, self._revision, _REVISIONS_AT_ONCE):
                refuse_other_model(queries.stored_model(reading), self.model)
                self._apply(changes, reading)
            self._caught_up_s = monotonic()
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
        with self._following_on(None) as session:
            refuse_other_model(queries.stored_model(session), self.model)
            revision, last_id = current_revision(session), 0
            while (page := queries.templates_after(session, last_id, self._gallery.dim)).ids:
                self._add(page)
                last_id = page.ids[-1]
            self._revision, self._caught_up_s = revision, monotonic()
        log.info("gallery.loaded", n_people=self._gallery.n_people, n_templates=self._gallery.n_templates)

    @contextmanager
    def _following_on(self, session: Session | None) -> Iterator[Session]:
        """The follower's turn, with a connection that was there before it: nobody may keep others waiting for one."""
        if session is not None:
            with self._following:
                yield session
            return
        with self._database.read() as own:
            own.connection()
            with self._following:
                yield own

    def _apply(self, changes: list[GalleryChange], session: Session) -> None:
        final = {change.template_id: change.kind for change in changes}  # the last word about each template counts
        added = [template_id for template_id, kind in final.items() if kind == "add"]
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

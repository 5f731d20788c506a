"""This process's gallery: loaded from the database, kept equal to it by the change log, and proved to be so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from time import monotonic, perf_counter

import structlog
from sqlalchemy.orm import Session

from app.db.engine import Database
from app.errors import RETRY_AFTER_S, ProblemError
from app.gallery import queries
from app.gallery.audit import AuditReport, compare
from app.gallery.loading import Index, LogTooShortError, load, read_log
from ml.gallery import Gallery, GalleryIndexes, GallerySnapshot, PersonHits
from ml.nearest import DEFAULT_PLAN, IndexState, SearchPlan
from ml.types import FloatArray

# How long a caller is kept waiting for a revision that nobody has committed yet; any other is applied at once.
WAIT_FOR_REVISION_S = 1.0
# How long somebody who is in a transaction waits for those who apply changes.
_FOLLOWING_TIMEOUT_S = 5.0
# A replica that has not been able to look for changes for so long may answer with people who were erased since.
STALE_AFTER_S = 30.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GalleryVersion:
    """How large the gallery was, how new, and whose embeddings it held, when it was searched."""

    n_people: int
    n_templates: int
    revision: int
    model: str


class OtherModelError(ProblemError):
    """503: the database is searched with another model by now, and this replica has not got that ready yet."""

    def __init__(self, model: str) -> None:
        detail = f"{model} is searched with now, and this replica is getting it ready; try again."
        super().__init__(503, "gallery_behind", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


class GalleryReplica:
    """The one gallery of a process; safe for use from several threads.

    Two locks: whoever holds `_following` is the only one who changes the index, whoever holds `_searching` keeps it as
    it is. So changes are read from the database while searches go on, and keep them waiting only to be applied.

    Beside the index that is searched there may be another one, of the same templates as another model embeds them. When
    the database says that this model is in force, they change places: at once, and nothing is loaded meanwhile. Faces
    that were embedded by the one before are still searched where they belong.
    """

    def __init__(self, database: Database, *, model: str, dim: int, plan: SearchPlan = DEFAULT_PLAN) -> None:
        self._database = database
        self._plan = plan
        self._index = Index(Gallery(model=model, dim=dim, plan=plan), -1)
        self._standby: Index | None = None
        self.on_switch: Callable[[str], None] = lambda model: None
        self._caught_up_s = monotonic()
        self._searching = Lock()
        self._following = Lock()
        self._rebuilding = Lock()
        self._closed = Event()

    @property
    def model(self) -> str:
        """Whose embeddings are searched."""
        return self._index.gallery.model

    @property
    def standby_model(self) -> str | None:
        """Whose embeddings could be searched from one moment to the next."""
        standby = self._standby
        return None if standby is None else standby.gallery.model

    @property
    def is_loaded(self) -> bool:
        return self._index.revision >= 0

    @property
    def unseen_s(self) -> float:
        """How long ago it was last known to be equal to the database, in seconds."""
        return monotonic() - self._caught_up_s

    @property
    def trouble(self) -> str | None:
        """Why this replica should not be asked now; None when all is well."""
        if not self.is_loaded:
            return "The gallery is being loaded."
        if self.unseen_s > STALE_AFTER_S:
            return f"The gallery was last compared with the database {self.unseen_s:.0f} s ago; the log has the reason."
        return None

    def close(self) -> None:
        """Keep nobody waiting any more."""
        self._closed.set()

    def version(self) -> GalleryVersion:
        with self._searching:
            return version_of(self._index)

    @property
    def indexes(self) -> GalleryIndexes:
        """How it is searched now, and the recall measured for that."""
        return self._index.gallery.indexes

    def search(
        self, probes: FloatArray, n_candidates: int, model: str | None = None
    ) -> tuple[list[PersonHits], GalleryVersion]:
        """As `Gallery.search`, with the version that was searched.

        Args:
            probes: as there.
            n_candidates: as there.
            model: what embedded the probes; None: the model in force.

        Raises:
            ProblemError: 503, templates of that model are not held any more: the picture must be embedded anew.
        """
        with self._searching:
            index = self._held(model)
            return index.gallery.search(probes, n_candidates), version_of(index)

    def embeddings_of(self, person_id: str) -> FloatArray:
        with self._searching:
            return self._index.gallery.embeddings_of(person_id)

    def snapshot(self) -> tuple[GallerySnapshot, GalleryVersion]:
        """A copy of everything, for work that takes longer than a search."""
        with self._searching:
            return self._index.gallery.snapshot(), version_of(self._index)

    def catch_up(self, session: Session | None = None) -> int:
        """Apply every committed change that is not applied yet; returns the revision reached.

        Args:
            session: to read on. Whoever is in a transaction must pass it, and must not have changed the gallery in it:
                a second connection could be waited for by everybody who has a first one.

        Raises:
            OtherModelError: another model is searched with by now, and not ready here.
        """
        try:
            with self._following_on(session) as reading:
                self._heed_switch(reading)
                self._follow(reading, self._index)
                self._caught_up_s = monotonic()
                if session is None:
                    self._follow_standby(reading)
        except LogTooShortError as error:
            if session is not None:  # nobody shall hold a transaction open for so long
                raise _behind("This replica is loading the gallery anew; try again.") from None
            log.warning("gallery.log_too_short", revision=error.index.revision)
            self.rebuild(error.index)
        return self._index.revision

    def hear(self) -> bool:
        """As `catch_up`, after a commit: whoever made it is not told of a failure when only this replica is late.

        Returns:
            Whether this replica is as new as the database.
        """
        try:
            self.catch_up()
        except OtherModelError:
            return False
        return True

    def rebuild(self, stale: Index | None = None) -> None:
        """Load everything aside, bring that up to date, and put it in place of what is searched.

        Args:
            stale: the index that is to be replaced: nothing is done where somebody else has replaced it meanwhile.
        """
        with self._rebuilding:
            if stale is not None and self._index is not stale:
                return
            started_s, old = perf_counter(), self._index.gallery
            with self._database.snapshot() as session:
                new = load(session, model=old.model, dim=old.dim, plan=self._plan)
            with self._following_on(None) as reading:
                if self._index.gallery is not old:  # a switch came between, and what it put there is as new
                    return
                self._follow(reading, new)
                with self._searching:
                    self._index = new
                self._caught_up_s = monotonic()
            log.info("gallery.loaded", **_sizes(new), seconds=round(perf_counter() - started_s, 3))

    def prepare(self, model: str, dim: int) -> None:
        """Load what another model has embedded, to be searched as soon as the database says so."""
        with self._rebuilding:
            with self._database.snapshot() as session:
                new = load(session, model=model, dim=dim, plan=self._plan)
            with self._following_on(None) as reading:
                self._follow(reading, new)
                with self._searching:
                    self._standby = new
            log.info("gallery.standby_loaded", model=model, **_sizes(new))

    def pending(self, model: str) -> set[int]:
        """Ids of templates that belong in it and that a held model has not embedded."""
        with self._searching:
            return set(self._held(model).pending)

    def drop_standby(self) -> None:
        """Hold one model's embeddings only."""
        with self._following, self._searching:
            self._standby = None

    def build_codes(self) -> None:
        """Make a gallery that has grown large quick to search; searches and changes go on meanwhile, as they did.

        Nothing where that is not due. What is loaded anew is searched exactly until this was called again.
        """
        for index in (self._index, self._standby):
            if index is not None and index.gallery.wants_codes:
                self._build_codes(index)

    def _build_codes(self, index: Index) -> None:
        gallery, started_s = index.gallery, perf_counter()

        def is_let_go() -> bool:
            return self._closed.is_set() or index not in (self._index, self._standby)

        gallery.build_codes(self._searching, is_let_go)
        seconds = round(perf_counter() - started_s, 3)
        indexes = gallery.indexes
        for part, state in (("templates", indexes.templates), ("people", indexes.people)):
            log.info("gallery.codes_built", part=part, **_facts(state), seconds=seconds)

    def audit(self) -> AuditReport:
        """Compare the index with the database, both at one revision; changes wait meanwhile, searches do not.

        Raises:
            LogTooShortError: this replica cannot be brought to the database's revision, so it must be rebuilt.
        """
        with self._database.snapshot() as session:
            with self._following_on(session) as reading:
                self._follow(reading, self._index)
                revision, gallery = self._index.revision, self._index.gallery
                indexed, n_misfused = gallery.contents(), gallery.n_misfused()
            return compare(queries.stored_contents(session, gallery.model), indexed, n_misfused, revision)

    def wait_for(self, revision: int) -> None:
        """Wait until `revision` is applied; refuses with 503 `gallery_behind` when that takes too long."""
        deadline = monotonic() + WAIT_FOR_REVISION_S
        while self._index.revision < revision and self.catch_up() < revision:
            if monotonic() >= deadline or self._closed.wait(0.05):
                raise _behind(f"This replica has not reached gallery revision {revision} yet; try again.")

    def _held(self, model: str | None) -> Index:
        if model is None or model == self._index.gallery.model:
            return self._index
        standby = self._standby
        if standby is None or standby.gallery.model != model:
            raise _behind(f"{model} is not in use any more; send the picture again.")
        return standby

    def _heed_switch(self, reading: Session) -> None:
        """Change places where another model is in force. The follower's turn is ours."""
        stored = queries.stored_model(reading)
        if stored in (None, self.model):
            return
        standby = self._standby
        if standby is None or standby.gallery.model != stored:
            self._follow(reading, self._index)  # whoever was erased is gone here, too, however long it takes
            raise OtherModelError(str(stored))
        try:
            self._follow(reading, standby)
        except LogTooShortError:  # it is loaded anew by whoever wants it
            with self._searching:
                self._standby = None
            raise OtherModelError(str(stored)) from None
        self.on_switch(standby.gallery.model)  # first the networks: whoever was embedded by them is found in either
        with self._searching:
            self._index, self._standby = standby, self._index
        log.info("gallery.switched", model=self.model, **_sizes(self._index))

    def _follow_standby(self, reading: Session) -> None:
        standby = self._standby
        if standby is None:
            return
        try:
            self._follow(reading, standby)
        except LogTooShortError:  # it is loaded anew by whoever wants it
            with self._searching:
                self._standby = None

    def _follow(self, reading: Session, index: Index) -> None:
        while (portion := read_log(reading, index)) is not None:
            with self._searching:
                portion.apply(index)

    @contextmanager
    def _following_on(self, session: Session | None) -> Iterator[Session]:
        """The follower's turn, with a connection that was there before it: nobody may keep others waiting for one."""
        if session is not None:
            session.connection()
            if not self._following.acquire(timeout=_FOLLOWING_TIMEOUT_S):
                raise _behind("This replica is busy comparing its gallery with the database; try again.")
            try:
                yield session
            finally:
                self._following.release()
            return
        with self._database.read() as own:
            own.connection()
            with self._following:
                yield own


def version_of(index: Index) -> GalleryVersion:
    """How large, how new and whose an index is."""
    gallery = index.gallery
    return GalleryVersion(gallery.n_people, gallery.n_templates, index.revision, gallery.model)


def _behind(detail: str) -> ProblemError:
    return ProblemError(503, "gallery_behind", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def _facts(state: IndexState) -> dict[str, object]:
    recall = state.recall.least if state.recall else None
    return {"kind": state.kind, "n_built": state.n_built, "n_reranked": state.n_reranked, "recall": recall}


def _sizes(index: Index) -> dict[str, int]:
    return {
        "n_people": index.gallery.n_people,
        "n_templates": index.gallery.n_templates,
        "revision": index.revision,
    }

"""Keeps a process ready for another model: its networks and its gallery, so that a switch takes an instant.

gallery_state.standby_model ─► networks loaded ─► gallery loaded ─► told to whoever waits for that
gallery_state.model         ─► both change places
"""

from time import monotonic
from typing import Final

import structlog

from app.db.engine import Database
from app.gallery import queries
from app.gallery.caretaker import Caretaker
from app.gallery.replica import GalleryReplica
from app.models.embedding import Reembedder
from app.models.holding import ModelHolder
from app.models.standby import settle_standby, trouble_with
from app.periodic import Periodic
from ml.errors import ModelError

_LOOK_EVERY_S: Final = 0.5
# What cannot be loaded is tried again now and then: somebody may bring the file.
_TRY_AGAIN_AFTER_S: Final = 10.0
_LONGEST_TROUBLE: Final = 300

log = structlog.get_logger(__name__)


class Understudy:
    """A thread for one replica. `reembedder` sees to templates that were enrolled since; None: others do that."""

    def __init__(
        self,
        database: Database,
        holder: ModelHolder,
        gallery: GalleryReplica,
        caretaker: Caretaker,
        reembedder: Reembedder | None = None,
    ) -> None:
        self._database = database
        self._holder = holder
        self._gallery = gallery
        self._caretaker = caretaker
        self._reembedder = reembedder
        self._hopeless: set[tuple[str, int]] = set()
        self._rests_until_s: dict[str, float] = {}
        self._periodic = Periodic("understudy", self.look, _LOOK_EVERY_S)
        gallery.on_switch = holder.inference.serve

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def look(self) -> None:
        """Get ready what the database asks for, switch if it has, and embed what is new."""
        with self._database.read() as session:
            force = queries.models_in_force(session)
        held = self._gallery.model, self._gallery.standby_model
        if force.searched not in (None, self._gallery.model):
            self._get_ready(str(force.searched))
            self._gallery.hear()
        # Between the commit of a switch and our own part in it the two are still the other way round.
        elif force.standby != self._gallery.standby_model:
            self._get_ready(force.standby)
        elif self._caretaker.standby_trouble is not None:
            self._caretaker.standby_trouble = None
            self._caretaker.beat()
        if held != (self._gallery.model, self._gallery.standby_model):
            self._holder.let_go_of_others(self._gallery.model, self._gallery.standby_model)
            self._hopeless.clear()
            self._caretaker.beat()
        if self._reembedder is not None:
            settle_standby(self._database)
            self._embed_new(self._reembedder)

    def _get_ready(self, word: str | None) -> None:
        if word is None:
            self._gallery.drop_standby()
            return
        if word == self._gallery.standby_model or monotonic() < self._rests_until_s.get(word, 0.0):
            return
        try:
            self._holder.hold(word)
            self._gallery.prepare(word, self._holder.inference.card_of(word).dim)
        except ModelError as error:
            self._rests_until_s[word] = monotonic() + _TRY_AGAIN_AFTER_S
            self._caretaker.standby_trouble = trouble_with(word, str(error))[:_LONGEST_TROUBLE]
            self._caretaker.beat()
            log.warning("models.not_ready", model=word, reason=str(error))
            return
        self._caretaker.standby_trouble = None

    def _embed_new(self, reembedder: Reembedder) -> None:
        """Whoever is enrolled while two models are held is embedded by both, so that going back loses nobody."""
        for word in (self._gallery.standby_model, self._gallery.model):
            if word is None:
                continue
            pending = {each for each in self._gallery.pending(word) if (word, each) not in self._hopeless}
            if not pending:
                continue
            with self._database.alone("embedding") as is_alone:
                if is_alone:
                    left = reembedder.embed_missing(word, template_ids=pending)
                    self._hopeless.update((word, each) for each in left)
            self._gallery.hear()

"""Brings models that the database speaks of into the networks of this process."""

from dataclasses import dataclass

from app.db.engine import Database
from app.db.tables import Model
from app.gallery.queries import models_in_force
from app.gallery.rules import refuse_other_model
from app.inference.port import Inference
from app.models import registry
from app.sealing import Sealer
from ml.backbones.card import ModelCard
from ml.backbones.trained_file import from_bytes
from ml.errors import ModelError


@dataclass(frozen=True, slots=True)
class ModelHolder:
    """`backbone` is what the settings name: the network that a new database begins with."""

    database: Database
    inference: Inference
    sealer: Sealer
    backbone: str

    def begin(self) -> None:
        """Put in force what is searched with: a switch may have put another model there than the settings name.

        Raises:
            ModelError: the settings name a network that was never in use here, or the model cannot be loaded.
        """
        own = self.inference.info.model
        with self.database.read() as session:
            searched = models_in_force(session).searched
            known = registry.by_word(session, own)
            was_in_use = known is not None and known.promoted_at is not None
            has_switched = was_in_use and searched not in (None, own)
            measured = _measured_card(known)
        if measured is not None:
            self.inference.describe(own, measured)
        if not has_switched:
            refuse_other_model(searched, own)
            with self.database.write_in_turn() as session:
                registry.ensure_champion(session, own, self.backbone, self.inference.card_of(own))
            return
        assert searched is not None
        self.hold(searched)
        self.inference.serve(searched)

    def hold(self, word: str) -> None:
        """Load a model beside the others, unless it is there.

        Raises:
            ModelError: it is not known, or cannot be loaded.
        """
        if word in self.inference.models:
            return
        with self.database.read() as session:
            model = registry.by_word(session, word)
            if model is None:
                raise ModelError(f"{word} is not among the models; GET /v1/models lists them")
            content, backbone = registry.weights_of(session, model, self.sealer), model.backbone
            measured = _measured_card(model)
        self.inference.hold(word, backbone, None if content is None else from_bytes(content))
        if measured is not None:
            self.inference.describe(word, measured)

    def let_go_of_others(self, *words: str | None) -> None:
        """Unload every model but these, and the one in force."""
        for word in self.inference.models:
            if word not in words:
                self.inference.let_go(word)


def _measured_card(model: Model | None) -> ModelCard | None:
    """A published network's card says what its scores mean elsewhere; where that was measured here, that counts."""
    is_measured = model is not None and model.kind == "backbone" and model.report is not None
    return registry.stored_card(model) if model is not None and is_measured else None

"""The networks that a training is about: the champion, and the published one that challengers start from."""

from dataclasses import dataclass
from functools import cached_property

from sqlalchemy.orm import Session

from app.inference.tuning import chosen_plan
from app.models import registry
from app.models import training_queries as queries
from app.sealing import Sealer
from app.settings import Settings
from ml.backbones import ONNX_PREFIX
from ml.backbones.card import ModelCard, ScoringFacts
from ml.backbones.cards import find_card
from ml.backbones.trained import load_embedder
from ml.backbones.trained_file import TrainedWeights, from_bytes
from ml.embedding import PLAIN_SUFFIX, ChipEmbedder


@dataclass(frozen=True, slots=True, eq=False)
class Champion:
    """The model in use, and what was trained of it, if anything; `seed` is that of its own training."""

    word: str
    kind: str
    backbone: str
    card: ModelCard
    weights: TrainedWeights | None
    seed: int | None

    @classmethod
    def read(cls, session: Session, sealer: Sealer) -> "Champion":
        model = registry.champion(session)
        content = registry.weights_of(session, model, sealer)
        weights = None if content is None else from_bytes(content)
        run = None if model.job_id is None else queries.training_run(session, model.job_id)
        seed = None if run is None else run.seed
        return cls(model.word, model.kind, model.backbone, registry.stored_card(model), weights, seed)


class Networks:
    """The champion, and the published network that challengers start from; loaded when they are needed."""

    def __init__(self, settings: Settings, champion: Champion) -> None:
        self._settings = settings
        self.champion_facts = champion
        self.suffix = "" if settings.mirrored_embedding else PLAIN_SUFFIX
        self.backbone = champion.backbone or settings.backbone

    def load(self, weights: TrainedWeights | None, backbone: str) -> ChipEmbedder:
        settings = self._settings
        return load_embedder(
            weights,
            backbone,
            models_dir=settings.models_path,
            device=settings.device,
            plan=chosen_plan(settings).plan,
            mirrored=settings.mirrored_embedding,
        )

    @cached_property
    def base(self) -> ChipEmbedder:
        return self.load(None, self.backbone)

    @cached_property
    def base_card(self) -> ModelCard:
        if self.champion_facts.kind == "backbone":
            return self.champion_facts.card
        return self.base.card if self.backbone.startswith(ONNX_PREFIX) else find_card(self.backbone)

    @property
    def base_word(self) -> str:
        return self.base_card.model + self.suffix

    @cached_property
    def champion(self) -> ChipEmbedder:
        is_base = self.champion_facts.weights is None and self.champion_facts.backbone == self.backbone
        return self.base if is_base else self.load(self.champion_facts.weights, self.champion_facts.backbone)

    @property
    def projection(self) -> TrainedWeights | None:
        """The champion's, where it is one of the base's embeddings: then these are enough to embed by it."""
        weights = self.champion_facts.weights
        is_ours = weights is not None and weights.kind == "projection" and weights.base_word == self.base_word
        return weights if is_ours else None


def scoring_facts(card: ModelCard) -> ScoringFacts:
    return ScoringFacts(card.score_rule, card.pair_bounds, card.prior, card.look_alike_margin)

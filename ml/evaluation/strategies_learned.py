"""Strategies that learn, on the photos of an evaluation: trained on whom the protocol gives, then everybody embedded
anew. A face is found in its photo again by the embedding that the published network made of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.alignment import align_face
from ml.backbones.card import ModelCard, ScoringFacts
from ml.backbones.small_cnn import SMALL_CNN
from ml.backbones.trained import load_embedder, trained_card
from ml.backbones.trained_file import TrainedWeights
from ml.embedding import PLAIN_SUFFIX, ChipEmbedder
from ml.errors import HardlyRecognisesError, TrainingError
from ml.evaluation.enrolment import Rows, Seen
from ml.image import decode_image
from ml.plan import default_plan
from ml.training.finetune import TRAINABLE, Finetune
from ml.training.projection import Projection, project
from ml.training.scoring import measure_scoring
from ml.training.scratch import Scratch
from ml.training.splits import make_split
from ml.training.types import (
    Kind,
    NoCheckpoints,
    Strategy,
    Trained,
    TrainingCurves,
    TrainingFaces,
    TrainingSettings,
)
from ml.types import Chip, Face, FloatArray

EPOCHS: Final[Mapping[Kind, int | None]] = {"projection": None, "finetune": 4, "scratch": 15}
"""So that an evaluation takes minutes on two cores; None: as many as the strategy itself chooses."""
MAX_CHIPS: Final = 2000
"""Most faces that are learned from as pictures: 135 MB of them."""
_SHARES: Final = (0.8, 0.2, 0.0)  # the judges are the people of the protocol that are searched
_CHIPS_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Faces to learn from: `embeddings (N, D)` by the published network, and `people (N,)` whose they are."""

    embeddings: FloatArray
    people: Rows

    def first_people(self, n_faces: int) -> "Lessons":
        """Whole people, as many as have about so many faces together."""
        if len(self.people) <= n_faces:
            return self
        last = np.sort(self.people, kind="stable")[n_faces]
        kept = self.people < last
        return Lessons(self.embeddings[kept], self.people[kept])


@dataclass(frozen=True, slots=True)
class Base:
    """The published network, and where it runs; `model` is the word of its embeddings."""

    card: ModelCard
    model: str
    models_dir: Path | None
    device: str

    @property
    def is_mirrored(self) -> bool:
        return not self.model.endswith(PLAIN_SUFFIX)


@dataclass(frozen=True, slots=True, eq=False)
class LearnedModel:
    """What a strategy made: `embed_again` turns embeddings of the published network `(N, D)` into its own `(N, D')`.

    `is_tunable`: whether enough people are recognised to say what its scores mean. If not, `scoring` is the network's
    that it was made like, of which only the rule can be used.
    """

    kind: Kind
    scoring: ScoringFacts
    is_tunable: bool
    embed_again: Callable[[FloatArray], FloatArray]
    n_faces: int
    trained: Trained


class FacePhotos:
    """Cuts faces out of their photos again, a few at a time."""

    def __init__(self, seen: Seen) -> None:
        self._places: dict[bytes, tuple[Path, Face]] = {
            sample.embedding.tobytes(): (path, sample.face)
            for path, analyzed in seen.items()
            for sample in analyzed.photo.samples
        }

    def chips(self, embeddings: FloatArray, card: ModelCard) -> Iterator[list[Chip]]:
        """Chips of the faces with these embeddings `(N, D)`, in their order, aligned for a network.

        Raises:
            OSError: a photo cannot be read any more.
            ImageError: it is no image any more.
            TrainingError: nothing in these photos has such an embedding.
        """
        for start in range(0, len(embeddings), _CHIPS_AT_ONCE):
            yield [self._chip(embedding, card) for embedding in embeddings[start : start + _CHIPS_AT_ONCE]]

    def all_chips(self, embeddings: FloatArray, card: ModelCard) -> NDArray[np.uint8]:
        """The same in one array `(N, S, S, 3)`."""
        side = card.chip_size_px
        chips, n_done = np.empty((len(embeddings), side, side, 3), dtype=np.uint8), 0
        for part in self.chips(embeddings, card):
            chips[n_done : n_done + len(part)] = part
            n_done += len(part)
        return chips

    def _chip(self, embedding: FloatArray, card: ModelCard) -> Chip:
        place = self._places.get(embedding.tobytes())
        if place is None:
            raise TrainingError("a face is in none of the photos that were looked at: evaluate the whole folder anew")
        path, face = place
        return align_face(decode_image(path.read_bytes()), face, card.template_array, card.chip_size_px)


def learn(kind: Kind, lessons: Lessons, photos: FacePhotos, base: Base, seed: int) -> LearnedModel:
    """Train a strategy and measure what its cosines mean, on those people that only stopped the training.

    Args:
        kind: of strategy.
        lessons: whom to learn from.
        photos: where their faces, and all faces to embed later, are.
        base: the published network.
        seed: of the split and of the training.

    Raises:
        TrainingError: too little to learn from, or the network cannot be trained in this way.
        ModelError: its file is absent, or there is no such device.
    """
    strategy = _strategy(kind, base)
    if kind == "finetune" and base.card.name not in TRAINABLE:  # before photos are looked at for it
        raise TrainingError(f"{base.card.name} cannot be trained further, only {' and '.join(TRAINABLE)} can")
    used = lessons.first_people(MAX_CHIPS) if strategy.needs_chips else lessons
    card = SMALL_CNN if kind == "scratch" else base.card
    split = make_split(used.people, seed, _SHARES)
    times_s = np.full(len(used.people), np.nan)
    chips = photos.all_chips(used.embeddings, card) if strategy.needs_chips else None
    settings = TrainingSettings(seed=seed, n_epochs=EPOCHS[kind], device=base.device)
    faces = TrainingFaces(used.people, times_s, used.embeddings, chips)
    trained = strategy.train(faces, split, card, settings, NoCheckpoints(), _say_nothing)
    if kind == "projection":
        embed_again: Callable[[FloatArray], FloatArray] = partial(project, trained.tensors)
    else:
        embed_again = partial(_embed, _embedder(trained, card, base), photos)
    unseen = split.validation
    embedded = embed_again(used.embeddings[unseen])
    try:
        scoring, is_tunable = measure_scoring(embedded, used.people[unseen], times_s[unseen], _facts(card)), True
    except HardlyRecognisesError:  # the table shall show how bad it is
        scoring, is_tunable = _facts(card), False
    return LearnedModel(kind, scoring, is_tunable, embed_again, len(used.people), trained)


def _strategy(kind: Kind, base: Base) -> Strategy:
    match kind:
        case "projection":
            return Projection()
        case "finetune":
            return Finetune(base.models_dir, mirrored=base.is_mirrored)
        case "scratch":
            return Scratch(mirrored=base.is_mirrored)


def _embedder(trained: Trained, card: ModelCard, base: Base) -> ChipEmbedder:
    own_card = trained_card(trained.kind, card, trained.tensors, _facts(card))
    is_scratch = trained.kind == "scratch"
    weights = TrainedWeights(
        trained.kind, "" if is_scratch else card.name, "" if is_scratch else base.model, own_card, trained.tensors
    )
    plan = default_plan(base.device)
    return load_embedder(
        weights, card.name, models_dir=base.models_dir, device=base.device, plan=plan, mirrored=base.is_mirrored
    )


def _embed(embedder: ChipEmbedder, photos: FacePhotos, embeddings: FloatArray) -> FloatArray:
    parts: Sequence[FloatArray] = [embedder.embed(chips) for chips in photos.chips(embeddings, embedder.card)]
    return np.concatenate([np.empty((0, embedder.card.dim), dtype=np.float32), *parts])


def _facts(card: ModelCard) -> ScoringFacts:
    if card.scoring is None:
        raise TrainingError(f"{card.name} is a detector: choose a backbone")
    return card.scoring


def _say_nothing(share: float, message: str, curves: TrainingCurves) -> None:
    pass

"""A linear map of embeddings that a network has already made: minutes of training, no chips, nothing to embed again.

It begins as the identity and is held near it. Measured on dlib's embeddings, 2 242 development faces of 685 people, on
those held out: whitening what differs within a person gains nothing, a softmax over the training people loses, with
ArcFace's margin it is about even. Counting what the product would miss (`OpenSetHead`, default) gains a little, FNIR
at FPIR 1 % 0.025 instead of 0.028, the best of some sixteen settings tried; on the 155 people who judge it gained
nothing. Expect such a projection to be refused: that network leaves a linear map little to do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from math import ceil
from time import monotonic
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from ml.backbones.card import ModelCard
from ml.embedding import unit
from ml.errors import TrainingError
from ml.training.heads import MarginHead, OpenSetHead
from ml.training.loop import Lesson, Phase, learn, seeded
from ml.training.types import (
    Checkpoints,
    Kind,
    Report,
    Rows,
    Split,
    Trained,
    TrainingFaces,
    TrainingSettings,
)
from ml.training.validation import OpenSet
from ml.types import FloatArray, ScoreRule

MIN_PEOPLE: Final = 20
"""With two faces or more, to learn from."""
# Chosen on halves of the 685 development people, and not on those who judge.
_N_EPOCHS: Final = 12
_LEARNING_RATE: Final = 1e-3
_PULL: Final = 0.1
_SMOOTHNESS: Final = 1.4
_MARGIN_SCALE: Final = 32.0
_N_BATCHES: Final = 4
_PEOPLE_AT_ONCE: Final = 1024
_FACES_OF_ONE: Final = 8
_MAX_SPREAD: Final = 1000
_PATIENCE: Final = 6


class Projection:
    """A strategy: `unit(embedding @ weight.T + bias)`; the tensors are `weight (D, D)` and `bias (D,)`."""

    kind: Kind = "projection"
    needs_chips = False

    def train(
        self,
        faces: TrainingFaces,
        split: Split,
        card: ModelCard,
        settings: TrainingSettings,
        checkpoints: Checkpoints,
        report: Report,
    ) -> Trained:
        """Learn a projection; see `ml.training.types.Strategy`.

        Without a margin in the settings the product's own misses are counted, with one a `MarginHead` is trained.

        Raises:
            TrainingError: fewer than `MIN_PEOPLE` to learn from, or fewer than three to stop by.
        """
        started = monotonic()
        rows = _useful(faces.people, split.train)
        people, labels = np.unique(faces.people[rows], return_inverse=True)
        if len(people) < MIN_PEOPLE:
            raise TrainingError(
                f"{len(people)} people with two faces or more are there to learn from, {MIN_PEOPLE} are needed: enrol "
                "more people, more faces of each, or add a folder of other people's faces"
            )
        lesson = _lesson(faces, replace(split, train=rows), labels.astype(np.int64), card, settings)
        learned = learn(lesson, settings, checkpoints, report)
        tensors = {name: tensor.numpy() for name, tensor in learned.tensors.items()}
        return Trained(self.kind, tensors, learned.curves, monotonic() - started)


def project(tensors: Mapping[str, FloatArray], embeddings: FloatArray) -> FloatArray:
    """Carry embeddings over.

    Args:
        tensors: `weight (D', D)` and `bias (D',)`, as `Projection.train` returns them.
        embeddings: `(n, D)` unit-norm, by the network that the projection was trained on.

    Returns:
        `(n, D')` float32 unit-norm. Empty case: `(0, D')`.
    """
    return unit(np.asarray(embeddings @ tensors["weight"].T + tensors["bias"], dtype=np.float32))


def _useful(people: Rows, rows: Rows) -> Rows:
    """Those rows whose person has another one among them."""
    _, faces, n_faces = np.unique(people[rows], return_inverse=True, return_counts=True)
    return rows[n_faces[faces] > 1]


class _Map(nn.Module):
    """`(n, D)` -> `(n, D)`; at first what comes in."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.eye(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, embeddings: Tensor) -> Tensor:
        return nn.functional.linear(embeddings, self.weight, self.bias)

    def moved(self) -> Tensor:
        """How far it is from the identity, squared."""
        eye = torch.eye(len(self.bias), device=self.weight.device)
        return (self.weight - eye).square().sum() + self.bias.square().sum()


def _lesson(faces: TrainingFaces, split: Split, labels: Rows, card: ModelCard, settings: TrainingSettings) -> Lesson:
    known, kept_back = faces.embeddings[split.train], faces.embeddings[split.validation]
    rule, open_set = card.score_rule, OpenSet(faces.people, faces.times_s, split.validation)
    network = _Map(known.shape[1])
    with seeded(settings):
        head = _head(known, labels, rule, settings)
    n_epochs = _N_EPOCHS if settings.n_epochs is None else settings.n_epochs
    rate = _LEARNING_RATE if settings.learning_rate is None else settings.learning_rate
    return Lesson(
        network=network,
        head=head,
        phases=[Phase(list(network.parameters()), n_epochs, rate)],
        batches=lambda generator: _batches(known, labels, generator),
        validate=lambda trained: open_set.measure(project(_arrays(trained), kept_back), rule),
        identity=f"projection of {card.model}, {settings.margin}, {rate}, {_digest(faces, split)}",
        penalty=lambda: _PULL * network.moved(),
        patience=_PATIENCE,
    )


def _head(known: FloatArray, labels: Rows, rule: ScoreRule, settings: TrainingSettings) -> nn.Module:
    if settings.margin is None:
        return OpenSetHead(rule.runner_up_weight, _SMOOTHNESS / _spread(known, labels))
    head = MarginHead(known.shape[1], int(labels.max()) + 1, settings.margin, _MARGIN_SCALE)
    head.start_at(torch.from_numpy(known), torch.from_numpy(labels))
    return head


def _spread(embeddings: FloatArray, labels: Rows) -> float:
    """Standard deviation of the cosines of different people: what networks differ in."""
    firsts = embeddings[np.unique(labels, return_index=True)[1][:_MAX_SPREAD]]
    return float((firsts @ firsts.T)[~np.eye(len(firsts), dtype=np.bool_)].std())


def _batches(known: FloatArray, labels: Rows, generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of whole people, a few faces of each: templates are made of the others in the batch."""
    people = generator.permutation(int(labels.max()) + 1)
    order = generator.permutation(len(labels))
    shuffled = order[np.argsort(labels[order], kind="stable")]
    starts = np.searchsorted(labels[shuffled], np.arange(len(people) + 1))
    for _ in range(max(_N_BATCHES, ceil(len(people) / _PEOPLE_AT_ONCE))):
        chosen, people = people[:_PEOPLE_AT_ONCE], np.roll(people, -_PEOPLE_AT_ONCE)
        rows = np.concatenate([shuffled[starts[p] : min(starts[p + 1], starts[p] + _FACES_OF_ONE)] for p in chosen])
        yield torch.from_numpy(known[rows]), torch.from_numpy(labels[rows])


def _arrays(network: nn.Module) -> dict[str, FloatArray]:
    return {name: np.asarray(tensor.cpu().numpy()) for name, tensor in network.state_dict().items()}


def _digest(faces: TrainingFaces, split: Split) -> str:
    digest = sha256()
    for part in (faces.people, faces.times_s, faces.embeddings, split.train, split.validation):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()

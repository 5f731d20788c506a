"""Train the last blocks of a published network further, on chips: first a new head alone, then both, gently.

What lies below the last blocks stays as it was published, so each chip goes through it once, and not once an epoch:
that is most of the work. Each chip is kept in a few variants, as other cameras might have seen it.

Source: the two phases are common practice (Yosinski et al., "How transferable are features in deep neural networks?",
2014); the pull towards the published weights is L2-SP (Li, Grandvalet, Davoine, 2018).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from ml.backbones.card import ModelCard
from ml.backbones.torch_backbone import torch_device
from ml.backbones.trained import published_network, tensors_of
from ml.errors import TrainingError
from ml.training.augmentation import augment_batch
from ml.training.chips import (
    ChipLesson,
    embed_both,
    identity_of,
    in_batches,
    mirror_images,
    require_chips,
    shuffled,
    take_lesson,
)
from ml.training.heads import MarginHead
from ml.training.loop import Lesson, Phase, learn, seeded
from ml.training.types import (
    Checkpoints,
    Kind,
    Report,
    Rows,
    Split,
    Trained,
    TrainingCurves,
    TrainingFaces,
    TrainingSettings,
)
from ml.training.validation import OpenSet

TRAINABLE: Final = ("dlib-resnet", "facenet-vggface2")
"""Names of the networks whose last blocks can be trained further."""

_HEAD_EPOCHS: Final = 3
_HEAD_RATE: Final = 1e-2
_EPOCHS: Final = 12
# Ten times more undoes in one step what the network knows: the first loss rises from 0.5 to 4.
_RATE: Final = 1e-5
_WEIGHT_DECAY: Final = 0.01
_PULL: Final = 1.0
_DROPOUT: Final = 0.2
_BATCH: Final = 32
_PATIENCE: Final = 4
# Cosines of dlib's network lie between 0.8 and 1: less would leave its softmax undecided.
_SCALE: Final = 64.0
_N_VARIANTS: Final = 4
_VARIANT_BYTES: Final = 1 << 30


class Finetune:
    """Two phases on a published torch network; `ml.training.types.Strategy`."""

    kind: Kind = "finetune"
    needs_chips = True

    def __init__(self, models_dir: Path | None = None, *, mirrored: bool = True) -> None:
        """Choose where the published weights are.

        Args:
            models_dir: folder of the files that `rollcall models pull` fetched.
            mirrored: whether chips will be embedded mirrored, too: validated the same way.
        """
        self._models_dir = models_dir
        self._mirrored = mirrored

    def train(
        self,
        faces: TrainingFaces,
        split: Split,
        card: ModelCard,
        settings: TrainingSettings,
        checkpoints: Checkpoints,
        report: Report,
    ) -> Trained:
        """Train, as `Strategy.train`; `card` is the published network's.

        Raises:
            TrainingError: too little to learn from, no chips, or a network that is not one of torch.
            ModelError: its file is absent, or there is no such device.
        """
        started = monotonic()
        network = _published(card, self._models_dir)
        lesson, chips = take_lesson(faces, split, card), require_chips(faces, card)
        open_set = OpenSet(faces.people, faces.times_s, split.validation)
        device, rule = torch_device(settings.device), card.score_rule
        with seeded(settings):
            below = _Below(network, device, report)
            variants = below.variants(lesson.chips, settings.seed)
            plain, mirrored = self._judged(below, chips[split.validation])
            upper = _Upper(network)
            head = _head(upper, variants[0], lesson, settings, card.dim)
        upper.to(device)
        learned = learn(
            Lesson(
                network=upper,
                head=head,
                phases=_phases(upper, settings),
                batches=lambda generator: _batches(variants, lesson.labels, generator),
                validate=lambda module: open_set.measure(embed_both(module, plain, mirrored, device), rule),
                identity=identity_of(f"finetune {card.model} mirrored {self._mirrored}", faces, split, settings),
                penalty=_pull(upper),
                patience=_PATIENCE,
            ),
            settings,
            checkpoints,
            report,
        )
        tensors = tensors_of(network)
        tensors.update((name, tensor.numpy()) for name, tensor in learned.tensors.items() if name in tensors)
        return Trained(self.kind, tensors, learned.curves, monotonic() - started)

    def _judged(self, below: "_Below", chips: NDArray[np.uint8]) -> tuple[Tensor, Tensor | None]:
        return below.seen(chips), below.seen(mirror_images(chips)) if self._mirrored else None


def _published(card: ModelCard, models_dir: Path | None) -> nn.Module:
    """The network at its published weights, in two parts named `lower` and `upper`."""
    if card.name not in TRAINABLE:
        raise TrainingError(
            f"{card.name} cannot be trained further, only {' and '.join(TRAINABLE)} can: train a projection of its "
            "embeddings, which works with every network"
        )
    return published_network(card.name, models_dir).eval()


class _Below:
    """What stays as it is: every chip goes through it once."""

    def __init__(self, network: nn.Module, device: torch.device, report: Report) -> None:
        self._network = network.get_submodule("lower").to(device)
        self._device, self._report = device, report

    def variants(self, chips: NDArray[np.uint8], seed: int) -> Tensor:
        """Feature maps `(V, n, C, h, w)`: of the chips as they are, then of changed ones, as many as memory allows."""
        first = self.seen(chips)
        n_allowed = int(_VARIANT_BYTES // max(1, first.nbytes))
        kept = first.new_empty((min(_N_VARIANTS, max(1, n_allowed)), *first.shape))
        kept[0] = first
        for number in range(1, len(kept)):
            kept[number] = self.seen(augment_batch(chips, np.random.default_rng([seed, number])))
        return kept

    def seen(self, chips: NDArray[np.uint8]) -> Tensor:
        """Feature maps `(n, C, h, w)` of chips, on the CPU."""
        parts = []
        for part in in_batches(
            self._network, torch.from_numpy(np.require(chips, requirements=["C", "W"])), self._device
        ):
            parts.append(part)
            self._report(0.0, f"looking at the faces, {sum(map(len, parts))} of {len(chips)}", TrainingCurves())
        return torch.cat(parts)


class _Upper(nn.Module):
    """The last blocks, and in training a dropout before the head. Its tensors are named as in the whole network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.upper = network.get_submodule("upper")

    def forward(self, features: Tensor) -> Tensor:
        return F.dropout(self.upper(features), _DROPOUT, self.training)

    def train(self, mode: bool = True) -> Self:
        """Batch normalisation keeps what it knows of millions of faces: a few people's would replace it."""
        super().train(mode)
        self.upper.eval()
        return self


def _head(upper: _Upper, features: Tensor, lesson: ChipLesson, settings: TrainingSettings, dim: int) -> MarginHead:
    """A head that begins with the mean of each person's embeddings."""
    head = MarginHead(dim, lesson.n_people, settings.margin or "softmax", _SCALE)
    device = next(upper.parameters()).device
    embeddings = torch.cat([*in_batches(upper.eval(), features, device)])
    head.start_at(embeddings, torch.from_numpy(lesson.labels))
    return head


def _phases(upper: _Upper, settings: TrainingSettings) -> list[Phase]:
    n_epochs = _EPOCHS if settings.n_epochs is None else settings.n_epochs
    rate = settings.learning_rate or _RATE
    parameters = list(upper.parameters())
    return [Phase([], min(_HEAD_EPOCHS, n_epochs), _HEAD_RATE), Phase(parameters, n_epochs, rate, _WEIGHT_DECAY)]


def _batches(variants: Tensor, labels: Rows, generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Every face once, in one of its variants."""
    chosen = generator.integers(len(variants), size=len(labels))
    for rows in shuffled(len(labels), _BATCH, generator):
        yield variants[chosen[rows], rows], torch.from_numpy(labels[rows])


def _pull(upper: _Upper) -> Callable[[], Tensor]:
    """Half the squared way from the published weights: what few people do not ask for stays."""
    parameters = list(upper.parameters())
    starts = [parameter.detach().clone() for parameter in parameters]

    def penalty() -> Tensor:
        ways = [(now - start).square().sum() for now, start in zip(parameters, starts, strict=True)]
        return _PULL / 2 * torch.stack(ways).sum()

    return penalty

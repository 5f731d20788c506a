"""Train a small network from nothing on chips, for people who have a folder of photos and want no published weights."""

from collections.abc import Iterator
from time import monotonic
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ml.backbones.card import ModelCard
from ml.backbones.small_cnn import SMALL_CNN, SmallCnn
from ml.backbones.torch_backbone import torch_device
from ml.training.augmentation import augment_batch
from ml.training.chips import (
    ChipLesson,
    embed_both,
    identity_of,
    mirror_images,
    require_chips,
    shuffled,
    take_lesson,
)
from ml.training.heads import MarginHead
from ml.training.loop import Lesson, Phase, learn, seeded
from ml.training.types import Checkpoints, Kind, Report, Split, Trained, TrainingFaces, TrainingSettings
from ml.training.validation import OpenSet

_EPOCHS: Final = 60
_RATE: Final = 2e-3
_WEIGHT_DECAY: Final = 0.05
_BATCH: Final = 64
_PATIENCE: Final = 20
_SCALE: Final = 32.0


class Scratch:
    """`SmallCnn` from random weights; `ml.training.types.Strategy`."""

    kind: Kind = "scratch"
    needs_chips = True

    def __init__(self, *, mirrored: bool = True) -> None:
        """Choose how it is validated: `mirrored` as chips will be embedded."""
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
        """Train, as `Strategy.train`; chips are aligned to `SMALL_CNN`, `faces.embeddings` and `card` are not used.

        Raises:
            TrainingError: too little to learn from, no chips, or chips that were aligned for another network.
            ModelError: there is no such device.
        """
        started = monotonic()
        lesson, chips = take_lesson(faces, split, SMALL_CNN), require_chips(faces, SMALL_CNN)
        open_set = OpenSet(faces.people, faces.times_s, split.validation)
        device, rule = torch_device(settings.device), SMALL_CNN.score_rule
        plain = torch.from_numpy(chips[split.validation])
        mirrored = torch.from_numpy(mirror_images(chips[split.validation])) if self._mirrored else None
        with seeded(settings):
            network = SmallCnn()
            head = MarginHead(SMALL_CNN.dim, lesson.n_people, settings.margin or "cosface", _SCALE)
        n_epochs = _EPOCHS if settings.n_epochs is None else settings.n_epochs
        rate = settings.learning_rate or _RATE
        learned = learn(
            Lesson(
                network=network,
                head=head,
                phases=[Phase(list(network.parameters()), n_epochs, rate, _WEIGHT_DECAY)],
                batches=lambda generator: _batches(lesson, generator),
                validate=lambda module: open_set.measure(embed_both(module, plain, mirrored, device), rule),
                identity=identity_of(f"scratch mirrored {self._mirrored}", faces, split, settings),
                patience=_PATIENCE,
            ),
            settings,
            checkpoints,
            report,
        )
        tensors = {name: tensor.numpy() for name, tensor in learned.tensors.items() if tensor.is_floating_point()}
        return Trained(self.kind, tensors, learned.curves, monotonic() - started)


def _batches(lesson: ChipLesson, generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Every face once, changed anew."""
    for rows in shuffled(len(lesson.labels), _BATCH, generator):
        yield torch.from_numpy(augment_batch(lesson.chips[rows], generator)), torch.from_numpy(lesson.labels[rows])

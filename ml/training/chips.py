"""What trainings on chips share: faces that fit, labels, batches, and the word that a checkpoint is known by."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.backbones.card import ModelCard
from ml.embedding import unit
from ml.errors import TrainingError
from ml.training.types import Rows, Split, TrainingFaces, TrainingSettings
from ml.types import FloatArray

EMBED_BATCH: Final = 32
_MIN_PEOPLE: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class ChipLesson:
    """Chips to learn from: `chips (n, S, S, 3)` uint8 RGB, `labels (n,)` int64 from 0, and how many people they are."""

    chips: NDArray[np.uint8]
    labels: Rows
    n_people: int


def require_chips(faces: TrainingFaces, card: ModelCard) -> NDArray[np.uint8]:
    """The chips of all faces, `(N, S, S, 3)` uint8 RGB, checked to fit the network.

    Raises:
        TrainingError: none were kept, or they were aligned for another network.
    """
    chips, side = faces.chips, card.chip_size_px
    if chips is None:
        raise TrainingError("no face crops were kept, and this way learns from them: keep crops, or train a projection")
    if chips.dtype != np.uint8 or chips.shape != (len(faces), side, side, 3):
        raise TrainingError(
            f"{card.name} learns from uint8 chips of ({side}, {side}, 3), these are {chips.dtype} {chips.shape[1:]}: "
            "align the faces to its template first"
        )
    return chips


def take_lesson(faces: TrainingFaces, split: Split, card: ModelCard) -> ChipLesson:
    """Take the faces to learn from.

    Raises:
        TrainingError: as `require_chips`, or there are not two people.
    """
    chips = require_chips(faces, card)
    people, labels = np.unique(faces.people[split.train], return_inverse=True)
    if len(people) < _MIN_PEOPLE:
        raise TrainingError(
            f"there are {len(people)} people to learn from and it takes two at least: enrol more people"
        )
    return ChipLesson(chips[split.train], labels.astype(np.int64), len(people))


def identity_of(what: str, faces: TrainingFaces, split: Split, settings: TrainingSettings) -> str:
    """A word that is the same only for the same faces, split and settings.

    Args:
        what: the strategy and the network it starts from.
        faces: with chips.
        split: of them.
        settings: what a person chose; the number of epochs is told apart by the loop.
    """
    digest = sha256(faces.people.tobytes())
    for array in (faces.times_s, split.train, split.validation, faces.chips):
        digest.update(np.ascontiguousarray(array).data if array is not None else b"")
    return f"{what}, {settings.margin}, {settings.learning_rate}, {settings.device}, faces {digest.hexdigest()}"


def mirror_images(chips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Chips `(n, S, S, 3)` with left and right exchanged."""
    return np.ascontiguousarray(chips[:, :, ::-1])


def in_batches(network: Callable[[Tensor], Tensor], inputs: Tensor, device: torch.device) -> Iterator[Tensor]:
    """What a network, in eval mode and on the device, makes of many inputs, batch by batch, on the CPU."""
    with torch.no_grad():
        for start in range(0, len(inputs), EMBED_BATCH):
            yield network(inputs[start : start + EMBED_BATCH].to(device)).float().cpu()


def embed_both(
    network: Callable[[Tensor], Tensor], plain: Tensor, mirrored: Tensor | None, device: torch.device
) -> FloatArray:
    """Unit-norm embeddings `(n, D)` of inputs, averaged with those of their mirror images where these are given."""
    own = unit(torch.cat([*in_batches(network, plain, device)]).numpy())
    if mirrored is None:
        return own
    return unit(own + unit(torch.cat([*in_batches(network, mirrored, device)]).numpy()))


def shuffled(n: int, batch_size: int, generator: np.random.Generator) -> Iterator[Rows]:
    """Row numbers in a new order, in batches; what is left over waits for another epoch, where there is a full one."""
    order = generator.permutation(n).astype(np.int64)
    n_whole = max(1, n // batch_size)
    for batch in range(n_whole):
        yield order[batch * batch_size : (batch + 1) * batch_size]

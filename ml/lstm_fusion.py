"""A small LSTM that learns, on people who are enrolled nowhere, how much each frame of a person is worth.

It reads the frames in both directions and gives each a weight; the template is their weighted mean. So it can only
choose among what was seen: a network that made up a vector of its own would learn the few hundred people it saw by
heart. It begins as the mean, and stays the mean where it learns nothing that helps people it was not trained on.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ml.fusion import Frames, mean
from ml.types import FloatArray

MIN_FRAMES: Final = 3
"""Of a person to learn from: one is searched, and of the rest one must be worth more than another."""
MIN_PEOPLE: Final = 20
"""With so many frames that training needs; some of them are held out."""
_HIDDEN: Final = 16
_HELD_OUT_SHARE: Final = 0.3
_BATCH: Final = 64
_LEARNING_RATE: Final = 3e-3
_MAX_EPOCHS: Final = 200
_PATIENCE: Final = 20  # epochs without a better lead on the held-out people


class FrameWeights(nn.Module):
    """Frames of several people -> their templates."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self._lstm = nn.LSTM(dim + 1, _HIDDEN, batch_first=True, bidirectional=True)
        self._weight = nn.Linear(2 * _HIDDEN, 1)
        nn.init.zeros_(self._weight.weight)  # equal weights: the mean
        nn.init.zeros_(self._weight.bias)

    def forward(self, embeddings: Tensor, qualities: Tensor, lengths: Tensor) -> Tensor:
        """Fuse B people's frames, padded to the longest: `(B, n, D)`, `(B, n)`, `(B,)` int64 on the CPU -> `(B, D)`."""
        # Elements of a unit vector are about 1 / sqrt(D); the gates want numbers about 1.
        scaled = torch.cat([embeddings * embeddings.shape[2] ** 0.5, qualities[..., None]], dim=2)
        packed = pack_padded_sequence(scaled, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self._lstm(packed)[0], batch_first=True, total_length=embeddings.shape[1])
        is_frame = torch.arange(embeddings.shape[1])[None] < lengths[:, None]
        weights = self._weight(states)[..., 0].masked_fill(~is_frame, -torch.inf).softmax(dim=1)
        return nn.functional.normalize((weights[..., None] * embeddings).sum(dim=1), dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class LstmFusion:
    """A trained network as a fusion; `n_epochs` is how many its weights were trained for: 0 is the mean."""

    network: FrameWeights
    n_epochs: int

    def __call__(self, frames: Frames) -> FloatArray:
        """Fuse a person's frames: `(1, D)`; the order may matter a little, one frame stays as it is."""
        with torch.inference_mode():
            return np.asarray(self.network(*_padded([frames])).numpy(), dtype=np.float32)


def train_lstm(people: Sequence[Frames], seed: int) -> LstmFusion:
    """Train the network, the same for the same people and seed on one machine.

    A frame of each person is left out of their template and must be told from the templates of the others by a
    softmax. That softmax is over templates, not over vectors learned for each person: such vectors would follow
    whichever single frame the network picked, and it would learn to pick one. Training stops when people held out
    from it gain no more.

    Args:
        people: who are neither enrolled nor searched; of fewer than `MIN_FRAMES` frames nothing can be learned.
        seed: of the choice of the held-out, the first weights and the order.

    Raises:
        ValueError: fewer than `MIN_PEOPLE` with so many frames.

    Source: the softmax over templates as in Snell et al., Prototypical Networks for Few-shot Learning, 2017.
    """
    useful = [person for person in people if len(person.qualities) >= MIN_FRAMES]
    if len(useful) < MIN_PEOPLE:
        raise ValueError(f"{len(useful)} people with {MIN_FRAMES} frames or more: training needs {MIN_PEOPLE}")
    order = np.random.default_rng(seed).permutation(len(useful))
    n_held_out = round(_HELD_OUT_SHARE * len(useful))
    held_out, taught = ([useful[i] for i in part] for part in (order[:n_held_out], order[n_held_out:]))
    # The caller's own random numbers are left alone. One thread: with more, sums differ from machine to machine, and
    # for so small a network it is no slower.
    with torch.random.fork_rng(devices=[]), threadpool_limits(limits=1):
        torch.manual_seed(seed)
        return _trained(taught, held_out)


def _trained(taught: Sequence[Frames], held_out: Sequence[Frames]) -> LstmFusion:
    network = FrameWeights(taught[0].embeddings.shape[1])
    optimizer, scale = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE), _scale(taught)
    best, best_lead, best_epoch = copy.deepcopy(network), _lead(network, held_out), 0
    for epoch in range(1, _MAX_EPOCHS + 1):
        for numbers in torch.split(torch.randperm(len(taught)), _BATCH):
            cosines = _cosines(network, [_shuffled(taught[number]) for number in numbers.tolist()], left_out=0)
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(scale * cosines, torch.arange(len(numbers))))
            optimizer.step()
        lead = _lead(network, held_out)
        if lead > best_lead:
            best, best_lead, best_epoch = copy.deepcopy(network), lead, epoch
        elif epoch - best_epoch >= _PATIENCE:
            break
    return LstmFusion(best.eval(), best_epoch)


def _scale(people: Sequence[Frames]) -> float:
    """Of cosines before a softmax. Backbones differ in how far apart strangers are, so that spread is the unit."""
    means = np.concatenate([mean(person) for person in people])
    return 1 / float((means @ means.T)[~np.eye(len(means), dtype=np.bool_)].std())


def _lead(network: FrameWeights, people: Sequence[Frames]) -> float:
    """By how much, on average, a left-out frame is nearer to its own person's template than to any other."""
    leads = []
    with torch.inference_mode():
        for left_out in range(MIN_FRAMES):
            cosines = _cosines(network, people, left_out).numpy()
            others = np.where(np.eye(len(cosines), dtype=np.bool_), -np.inf, cosines)
            leads.append(float((cosines.diagonal() - others.max(axis=1)).mean()))
    return float(np.mean(leads))


def _cosines(network: FrameWeights, people: Sequence[Frames], left_out: int) -> Tensor:
    """`(B, B)` cosines of each person's left-out frame with everybody's template of the other frames."""
    # Left out of all templates: those of one frame more would be nearer to everybody.
    kept = [_without(person, left_out) for person in people]
    probes = torch.from_numpy(np.array([person.embeddings[left_out] for person in people]))
    return probes @ cast(Tensor, network(*_padded(kept))).T


def _shuffled(frames: Frames) -> Frames:
    """The frames in another order, because photos come in none."""
    order = torch.randperm(len(frames.qualities)).numpy()
    return Frames(frames.embeddings[order], frames.qualities[order])


def _without(frames: Frames, number: int) -> Frames:
    return Frames(np.delete(frames.embeddings, number, axis=0), np.delete(frames.qualities, number))


def _padded(people: Sequence[Frames]) -> tuple[Tensor, Tensor, Tensor]:
    lengths = [len(person.qualities) for person in people]
    embeddings = np.zeros((len(people), max(lengths), people[0].embeddings.shape[1]), dtype=np.float32)
    qualities = np.zeros(embeddings.shape[:2], dtype=np.float32)
    for row, (person, n) in enumerate(zip(people, lengths, strict=True)):
        embeddings[row, :n], qualities[row, :n] = person.embeddings, person.qualities
    return torch.from_numpy(embeddings), torch.from_numpy(qualities), torch.tensor(lengths)

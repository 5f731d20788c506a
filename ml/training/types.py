"""Plain data on the arrows of a training, and the protocol that every strategy keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.backbones.card import ModelCard
from ml.types import FloatArray

Rows: TypeAlias = NDArray[np.int64]
Kind = Literal["projection", "finetune", "scratch"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingFaces:
    """N labelled faces.

    `people (N,)` int64, a number for whose face it is; `times_s (N,)` float64 when it was taken, seconds since the
    epoch, NaN where that is unknown; `embeddings (N, D)` float32 unit-norm, made by the network that is trained
    further; `chips (N, S, S, 3)` uint8 RGB, aligned for it, or None where they were not kept or are not needed.
    """

    people: Rows
    times_s: NDArray[np.float64]
    embeddings: FloatArray
    chips: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.people)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Row numbers of faces, `(n,)` int64 each, by people: nobody is in two parts.

    The first is learned from, the second decides when to stop, the third judges and is seen by nothing before.
    """

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a person may choose. None: the strategy's own default; `n_threads` None: all cores."""

    seed: int = 0
    n_epochs: int | None = None
    learning_rate: float | None = None
    margin: Literal["softmax", "cosface", "arcface"] | None = None
    device: str = "cpu"
    n_threads: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingCurves:
    """One entry per finished epoch: mean training loss, FNIR at FPIR 1 % on the validation people, learning rate.

    `best_epoch` is the one (from 0) whose weights are kept; -1: none was better than the start.
    """

    loss: list[float] = field(default_factory=list)
    validation_fnir: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    best_epoch: int = -1


class Report(Protocol):
    """Told how far a training is; may raise to stop it."""

    def __call__(self, share: float, message: str, curves: TrainingCurves) -> None:
        """`share` 0..1 of the whole training is done."""


class Checkpoints(Protocol):
    """Where a training keeps what it needs to go on after a crash."""

    def load(self) -> bytes | None:
        """What was saved last, whole; None where there is nothing."""

    def save(self, state: bytes) -> None:
        """Keep this in place of what was saved before: after a crash one of both is there, never half of one."""


class NoCheckpoints:
    """For trainings that are over in seconds."""

    def load(self) -> bytes | None:
        return None

    def save(self, state: bytes) -> None:
        pass


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What came out: named float32 `tensors` without the head, and how it went. `seconds` in this process."""

    kind: Kind
    tensors: Mapping[str, FloatArray]
    curves: TrainingCurves
    seconds: float


class Strategy(Protocol):
    """One way to learn from faces."""

    kind: Kind
    needs_chips: bool

    def train(
        self,
        faces: TrainingFaces,
        split: Split,
        card: ModelCard,
        settings: TrainingSettings,
        checkpoints: Checkpoints,
        report: Report,
    ) -> Trained:
        """Learn from `split.train`, stopped early by `split.validation`; `split.test` is not looked at.

        The same faces, split and settings give the same tensors, also when it was interrupted and went on from a
        checkpoint.

        Args:
            faces: all of them.
            split: which are for what.
            card: of the network that made `faces.embeddings`.
            settings: what a person chose.
            checkpoints: where to keep what a crash must not take.
            report: told after every epoch at least.

        Raises:
            TrainingError: there is too little to learn from, or the network cannot be trained.
        """

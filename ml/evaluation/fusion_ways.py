"""The ways to combine frames that are compared, and what is learned for them on the cohort."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np

from ml.fusion import (
    Frames,
    Fusion,
    PcaBasis,
    keep_all,
    max_pool,
    mean,
    principal_direction,
    quality_weighted_mean,
)
from ml.lstm_fusion import MIN_FRAMES, MIN_PEOPLE, train_lstm
from ml.types import FloatArray

ALL: Final = "all"
_PCA_TITLE: Final = "PCA of the cohort: half the dimensions"
_LSTM_TITLE: Final = "LSTM"
_NO_COHORT: Final = "the protocol has no cohort, and nothing is learned from people who are enrolled or searched"


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A fusion ready for use; `project` puts probes where its templates are, `fit_s` is how long learning it took."""

    name: str
    title: str
    fuse: Fusion
    project: Callable[[FloatArray], FloatArray] = np.asarray
    fit_s: float | None = None
    setting: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that could not be measured, and why."""

    title: str
    reason: str


def choose_ways(cohort: Sequence[Frames], seed: int) -> tuple[list[Way], list[LeftOut]]:
    """Make every way ready, all templates first.

    Args:
        cohort: people to learn from; without them the ways that learn are left out.
        seed: of what is learned.
    """
    plain = [
        Way(ALL, "all templates", keep_all),
        Way("mean", "mean", mean),
        Way("quality", "quality-weighted mean", quality_weighted_mean),
        Way("max", "max pooling", max_pool),
        Way("direction", "PCA of each person: first direction", principal_direction),
    ]
    learned = [_learn_pca(cohort), _learn_lstm(cohort, seed)]
    ways = [way for way in learned if isinstance(way, Way)]
    return [*plain, *ways], [each for each in learned if isinstance(each, LeftOut)]


def _learn_pca(cohort: Sequence[Frames]) -> Way | LeftOut:
    if not cohort:
        return LeftOut(_PCA_TITLE, _NO_COHORT)
    embeddings = np.concatenate([person.embeddings for person in cohort])
    n, dim = embeddings.shape
    if n < dim:
        return LeftOut(_PCA_TITLE, f"the cohort has {n} usable photos, and {dim} dimensions need as many")
    started = perf_counter()
    basis = PcaBasis.fit(embeddings, dim // 2)
    fit_s = perf_counter() - started
    return Way("pca", _PCA_TITLE, basis.keep_all, basis.project, fit_s, f"{dim // 2} of {dim}")


def _learn_lstm(cohort: Sequence[Frames], seed: int) -> Way | LeftOut:
    if not cohort:
        return LeftOut(_LSTM_TITLE, _NO_COHORT)
    n = sum(len(person.qualities) >= MIN_FRAMES for person in cohort)
    if n < MIN_PEOPLE:
        people = f"{n} people with {MIN_FRAMES} usable photos"
        return LeftOut(_LSTM_TITLE, f"the cohort has {people}, and learning needs {MIN_PEOPLE}")
    started = perf_counter()
    lstm = train_lstm(cohort, seed)
    words = f"{lstm.n_epochs} epochs" if lstm.n_epochs else "learned nothing: the mean"
    return Way("lstm", _LSTM_TITLE, lstm, fit_s=perf_counter() - started, setting=words)

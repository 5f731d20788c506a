"""FNIR at a target FPIR with its interval, and whether two systems differ by more than chance.

The threshold rests on the few strangers who score highest, so both sides are drawn again: whole people, and strangers.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.intervals import chunks, draw_people, numbered, percentile_interval
from ml.metrics import NO_SCORE, MetricsError, fnir_at_fpir
from ml.types import Interval

_Doubles: TypeAlias = NDArray[np.float64]
_N_RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class MatedSearches:
    """Searches for enrolled people: `scores (M,)` of the rank 1 candidate, `is_rank1 (M,)` whether that is the right
    person, `people (M,)` whose search it was."""

    scores: _Doubles
    is_rank1: NDArray[np.bool_]
    people: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class NonMatedSearches:
    """Searches for strangers: `scores (M,)` of the rank 1 candidate, `people (M,)` whose search it was."""

    scores: _Doubles
    people: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class OpenSetSearches:
    """Every search of one system in one gallery."""

    mated: MatedSearches
    non_mated: NonMatedSearches


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher a rate is, -1..1, with its 95 % interval: beyond chance when that leaves out 0."""

    value: float
    low: float
    high: float


def fnir_at_fpir_interval(searches: OpenSetSearches, target: float, *, seed: int = 0) -> Interval:
    """FNIR at a target FPIR with its 95 % interval.

    Raises:
        MetricsError: as `ml.metrics.fnir` and `threshold_at_fpir`.
    """
    return percentile_interval(_fnir(searches, target), _resampled_fnir(searches, target, seed))


def fnir_difference(a: OpenSetSearches, b: OpenSetSearches, target: float, *, seed: int = 0) -> Difference:
    """FNIR of `a` less that of `b` at a target FPIR, each with its own threshold; people are drawn for both at once.

    Args:
        a: searches by one system.
        b: the same searches, in the same order, by another.
        target: FPIR, 0..1.
        seed: of the draw.

    Raises:
        MetricsError: the people differ, or as `fnir_at_fpir_interval`.
    """
    for ours, theirs in ((a.mated.people, b.mated.people), (a.non_mated.people, b.non_mated.people)):
        if not np.array_equal(ours, theirs):
            raise MetricsError("two systems are compared on the same searches in the same order")
    value = _fnir(a, target) - _fnir(b, target)
    # One seed and the same people: both systems are measured on the same draws.
    low, high = np.quantile(_resampled_fnir(a, target, seed) - _resampled_fnir(b, target, seed), [0.025, 0.975])
    return Difference(value, min(value, float(low)), max(value, float(high)))


def _fnir(searches: OpenSetSearches, target: float) -> float:
    mated = searches.mated
    return fnir_at_fpir(mated.scores, mated.is_rank1, searches.non_mated.scores, target).fnir


def _resampled_fnir(searches: OpenSetSearches, target: float, seed: int) -> _Doubles:
    mated, non_mated = searches.mated, searches.non_mated
    right = np.where(mated.is_rank1, mated.scores, NO_SCORE)
    person, n_people = numbered(mated.people)
    stranger, n_strangers = numbered(non_mated.people)
    order = np.argsort(-non_mated.scores, kind="stable")
    falling, stranger = non_mated.scores[order], stranger[order]
    generator, values = np.random.default_rng(seed), []
    for n in chunks(_N_RESAMPLES, len(right) + len(falling)):
        refused = _highest_refused(falling, draw_people(generator, n_strangers, n)[:, stranger], target)
        weights = draw_people(generator, n_people, n)[:, person]
        values.append((weights * (right <= refused[:, None])).sum(axis=1) / weights.sum(axis=1))
    return np.concatenate(values)


def _highest_refused(falling: _Doubles, weights: _Doubles, target: float) -> _Doubles:
    """Per row of `weights (R, M)` the highest of the falling scores that must be refused to keep the target."""
    n_accepted = weights.cumsum(axis=1)
    is_refused = n_accepted > target * n_accepted[:, -1:] + 1e-9
    padded = np.append(falling, NO_SCORE)
    return np.asarray(padded[np.where(is_refused.any(axis=1), is_refused.argmax(axis=1), len(falling))])

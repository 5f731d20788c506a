"""Scores -> error rates of open-set identification, with 95 % intervals: pure functions on arrays.

A search that failed to acquire a face has no score. It is never dropped: give it the score `NO_SCORE`, which no
threshold lets through. A mated one is then a miss and a non-mated one a rejection, as at a real door.

A rate over no searches has no value: functions that return a number refuse it, intervals say "anything from 0 to 1".
"""

from dataclasses import dataclass
from math import floor, isfinite
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.intervals import (
    MetricsError,
    bootstrap_by_person,
    effective_n,
    wilson,
    wilson_by_person,
)
from ml.types import Interval

__all__ = [
    "NO_SCORE",
    "ConfusionCounts",
    "DetCurve",
    "FnirAtFpir",
    "MetricsError",
    "RocCurve",
    "bootstrap_by_person",
    "confusion_counts",
    "det_curve",
    "effective_n",
    "fnir",
    "fnir_at_fpir",
    "fnir_interval",
    "fpir",
    "fpir_interval",
    "misidentification_interval",
    "misidentification_rate",
    "rank_k_rate",
    "roc",
    "threshold_at_fpir",
    "wilson",
]

NO_SCORE: Final = float("-inf")

_Doubles: TypeAlias = NDArray[np.float64]
_Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class DetCurve:
    """`fpir (K,)` falls and `fnir (K,)` rises along rising `thresholds (K,)`."""

    thresholds: _Doubles
    fpir: _Doubles
    fnir: _Doubles


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """Verification: shares `tpr (K,)` of mated and `fpr (K,)` of non-mated pairs at or above `thresholds (K,)`."""

    thresholds: _Doubles
    tpr: _Doubles
    fpr: _Doubles

    @property
    def auc(self) -> float:
        """Chance that a mated pair scores higher than a non-mated one, ties counting half."""
        tpr, fpr = (np.concatenate([[1.0], x]) for x in (self.tpr, self.fpr))  # below every score
        return -float(np.trapezoid(tpr, fpr))


@dataclass(frozen=True, slots=True)
class FnirAtFpir:
    """The threshold that keeps `target_fpir`, the FPIR it really has and what it costs."""

    target_fpir: float
    threshold: float
    fpir: float
    fnir: float


@dataclass(frozen=True, slots=True)
class ConfusionCounts:
    """What happened to mated searches (identified right, misidentified, missed) and to strangers (rejected, named).

    The intervals are Wilson's and take searches as independent; use `bootstrap_by_person` where they are not.
    """

    n_identified_right: int
    n_misidentified: int
    n_missed: int
    n_strangers_rejected: int
    n_strangers_named: int

    @property
    def n_mated(self) -> int:
        return self.n_identified_right + self.n_misidentified + self.n_missed

    @property
    def n_non_mated(self) -> int:
        return self.n_strangers_rejected + self.n_strangers_named

    @property
    def accuracy(self) -> Interval:
        """Share of all searches that ended as they should."""
        return wilson(self.n_identified_right + self.n_strangers_rejected, self.n_mated + self.n_non_mated)

    @property
    def precision(self) -> Interval:
        """Share of the names given that are right."""
        wrong = self.n_misidentified + self.n_strangers_named
        return wilson(self.n_identified_right, self.n_identified_right + wrong)

    @property
    def recall(self) -> Interval:
        """Share of mated searches that got the right name: 1 - FNIR."""
        return wilson(self.n_identified_right, self.n_mated)

    @property
    def f1(self) -> Interval:
        """Harmonic mean of precision and recall, `2 q / (1 + q)` for q = right / (right + every wrong or missing name).

        A misidentification is one wrong and one missing name, so it counts twice.
        """
        wrong = 2 * self.n_misidentified + self.n_missed + self.n_strangers_named
        q = wilson(self.n_identified_right, self.n_identified_right + wrong)
        return Interval(*(2 * x / (1 + x) for x in (q.value, q.low, q.high)))


def fnir(scores: ArrayLike, is_rank1: ArrayLike, threshold: float) -> float:
    """Share of mated searches whose person is not rank 1 with `score >= threshold`.

    Args:
        scores: `(M,)` of the rank 1 candidate; `NO_SCORE` where no face was found.
        is_rank1: `(M,)` bool, whether that candidate is the right person.
        threshold: finite.

    Raises:
        MetricsError: no searches, NaN, or different lengths.
    """
    return _share(~_is_found(scores, is_rank1, threshold))


def fnir_interval(scores: ArrayLike, is_rank1: ArrayLike, threshold: float, people: ArrayLike) -> Interval:
    """FNIR with a bootstrap by person; `people (M,)` ids, the rest as `fnir`."""
    return bootstrap_by_person(~_is_found(scores, is_rank1, threshold), people)


def misidentification_rate(scores: ArrayLike, is_rank1: ArrayLike, threshold: float) -> float:
    """Share of mated searches accepted as another person; part of FNIR. Arguments as `fnir`."""
    return _share(_is_misidentified(scores, is_rank1, threshold))


def misidentification_interval(scores: ArrayLike, is_rank1: ArrayLike, threshold: float, people: ArrayLike) -> Interval:
    """Misidentification rate with its interval: Wilson's over the effective size, because hits are few."""
    return wilson_by_person(_is_misidentified(scores, is_rank1, threshold), people)


def fpir(scores: ArrayLike, threshold: float) -> float:
    """Share of non-mated searches with any candidate at `score >= threshold`.

    Args:
        scores: `(M,)` of the rank 1 candidate; `NO_SCORE` where no face was found or nobody is enrolled.
        threshold: finite.

    Raises:
        MetricsError: no searches, or NaN.
    """
    return _share(_is_accepted(scores, threshold))


def fpir_interval(scores: ArrayLike, threshold: float, people: ArrayLike | None = None) -> Interval:
    """FPIR with its interval: Wilson's, over the effective size where `people (M,)` says whose searches they are."""
    hits = _is_accepted(scores, threshold)
    return wilson(int(hits.sum()), len(hits)) if people is None else wilson_by_person(hits, people)


def threshold_at_fpir(non_mated_scores: ArrayLike, target: float) -> float:
    """The smallest threshold whose FPIR is at most `target`.

    It lies just above the highest score that must not be let through, so equal scores fall together and the FPIR
    reached may be below the target; compare in float64, float32 would round it back onto that score.

    Args:
        non_mated_scores: `(M,)`.
        target: 0..1.

    Raises:
        MetricsError: no searches, NaN, or a target outside 0..1.
    """
    scores = np.sort(_finite_or_no_score(non_mated_scores))[::-1]
    _require_searches(scores)
    if not 0 <= target <= 1:
        raise MetricsError(f"a target FPIR of {target} is no share: give a number from 0 to 1")
    n_allowed = floor(target * len(scores) + 1e-9)  # 0.07 * 100 is 7.000000000000001, 0.29 * 100 is 28.999999999999996
    highest_refused = scores[n_allowed] if n_allowed < len(scores) else NO_SCORE
    return float(np.nextafter(highest_refused, np.inf))


def fnir_at_fpir(scores: ArrayLike, is_rank1: ArrayLike, non_mated_scores: ArrayLike, target: float) -> FnirAtFpir:
    """What a target FPIR costs; mated searches as in `fnir`, non-mated ones as in `threshold_at_fpir`."""
    threshold = threshold_at_fpir(non_mated_scores, target)
    return FnirAtFpir(target, threshold, fpir(non_mated_scores, threshold), fnir(scores, is_rank1, threshold))


def det_curve(
    scores: ArrayLike, is_rank1: ArrayLike, non_mated_scores: ArrayLike, thresholds: ArrayLike | None = None
) -> DetCurve:
    """FNIR against FPIR along the threshold.

    Args:
        scores: mated searches, as in `fnir`.
        is_rank1: as in `fnir`.
        non_mated_scores: as in `fpir`.
        thresholds: `(K,)` finite; None for every score that occurs and one above them all.

    Raises:
        MetricsError: no searches of either kind, NaN, or different lengths.
    """
    top, right = _pair(scores, is_rank1)
    strangers = np.sort(_finite_or_no_score(non_mated_scores))
    _require_searches(top)
    _require_searches(strangers)
    found = np.sort(np.where(right, top, NO_SCORE))
    steps = _steps(np.concatenate([top, strangers])) if thresholds is None else np.sort(_finite(thresholds))
    n_missed = np.searchsorted(found, steps, side="left")
    return DetCurve(steps, _share_at_or_above(strangers, steps), n_missed / len(found))


def roc(mated_scores: ArrayLike, non_mated_scores: ArrayLike) -> RocCurve:
    """Verification of pairs: mated `(M,)` and non-mated `(K,)` scores of two samples each.

    Raises:
        MetricsError: no pairs of either kind, or NaN.
    """
    mated, non_mated = (np.sort(_finite_or_no_score(x)) for x in (mated_scores, non_mated_scores))
    _require_searches(mated)
    _require_searches(non_mated)
    steps = _steps(np.concatenate([mated, non_mated]))
    return RocCurve(steps, _share_at_or_above(mated, steps), _share_at_or_above(non_mated, steps))


def confusion_counts(
    scores: ArrayLike, is_rank1: ArrayLike, non_mated_scores: ArrayLike, threshold: float
) -> ConfusionCounts:
    """Count every outcome of the open-set decision at one threshold; arguments as `fnir` and `fpir`."""
    right = int(_is_found(scores, is_rank1, threshold).sum())
    wrong = _is_misidentified(scores, is_rank1, threshold)
    named = _is_accepted(non_mated_scores, threshold)
    return ConfusionCounts(
        n_identified_right=right,
        n_misidentified=int(wrong.sum()),
        n_missed=len(wrong) - right - int(wrong.sum()),
        n_strangers_rejected=len(named) - int(named.sum()),
        n_strangers_named=int(named.sum()),
    )


def rank_k_rate(ranks: ArrayLike, k: int) -> float:
    """Share of mated searches with the right person among the first k candidates, whatever the score.

    Args:
        ranks: `(M,)` int rank of the right person from 1; 0 where they are no candidate or no face was found.
        k: >= 1.

    Raises:
        MetricsError: no searches, a negative rank, or k below 1.
    """
    given = np.asarray(ranks)
    if k < 1 or not (given >= 0).all():  # also false for NaN
        raise MetricsError("ranks count from 1 (0: not found), and k is at least 1")
    return _share((given >= 1) & (given <= k))


def _is_accepted(scores: ArrayLike, threshold: float) -> _Flags:
    if not isfinite(threshold):  # NO_SCORE >= -inf would let failures through
        raise MetricsError(f"the threshold is {threshold}: give a finite number")
    return np.asarray(_finite_or_no_score(scores) >= threshold, dtype=np.bool_)


def _is_found(scores: ArrayLike, is_rank1: ArrayLike, threshold: float) -> _Flags:
    top, right = _pair(scores, is_rank1)
    return _is_accepted(top, threshold) & right


def _is_misidentified(scores: ArrayLike, is_rank1: ArrayLike, threshold: float) -> _Flags:
    top, right = _pair(scores, is_rank1)
    return _is_accepted(top, threshold) & ~right


def _pair(scores: ArrayLike, is_rank1: ArrayLike) -> tuple[_Doubles, _Flags]:
    top, right = _finite_or_no_score(scores), np.asarray(is_rank1, dtype=np.bool_)
    if top.shape != right.shape:
        raise MetricsError(f"{top.shape} scores and {right.shape} flags: give one flag per search")
    return top, right


def _finite_or_no_score(values: ArrayLike) -> _Doubles:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not (scores < np.inf).all():  # also false for NaN
        raise MetricsError("scores must be one list of numbers without NaN or +inf (NO_SCORE for a failure)")
    return scores


def _finite(values: ArrayLike) -> _Doubles:
    scores = _finite_or_no_score(values)
    if not np.isfinite(scores).all():
        raise MetricsError("thresholds must be finite")
    return scores


def _require_searches(searches: NDArray[Any]) -> None:
    if not len(searches):
        raise MetricsError("there are no searches, so there is no rate")


def _share(hits: _Flags) -> float:
    _require_searches(hits)
    return float(hits.mean())


def _steps(scores: _Doubles) -> _Doubles:
    """Every threshold that makes a difference; 0 where no search has a score and none does."""
    known = np.unique(scores[np.isfinite(scores)])
    return np.append(known, np.nextafter(known[-1], np.inf)) if len(known) else np.zeros(1)


def _share_at_or_above(rising: _Doubles, thresholds: _Doubles) -> _Doubles:
    return (len(rising) - np.searchsorted(rising, thresholds, side="left")) / len(rising)

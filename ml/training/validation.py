"""How well a network finds people it did not learn from, by the product's own rule: what early stopping goes by."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.errors import TrainingError
from ml.metrics import NO_SCORE, threshold_at_fpir
from ml.scoring import decision_scores, person_scores
from ml.training.loop import Validation
from ml.training.splits import time_split
from ml.training.types import Rows
from ml.types import FloatArray, ScoreRule

TARGET_FPIR: Final = 0.01
# The median of the best of ten equals this quantile of one.
_BEST_OF_TEN: Final = 0.5 ** (1 / 10)
# A few dozen people give a few different rates at one target; more targets about it tell equal ones apart.
_NEAR_TARGETS: Final = (0.003, 0.01, 0.03, 0.1)

_Scores: TypeAlias = NDArray[np.float32]


class OpenSet:
    """People who are enrolled with their older faces and searched by their newer, and strangers.

    Strangers are people with one face, and everybody enrolled once more, searched where they alone are not enrolled.
    """

    def __init__(self, people: Rows, times_s: NDArray[np.float64], rows: Rows) -> None:
        """Choose who.

        Args:
            people: `(N,)` int64, whose faces they are.
            times_s: `(N,)` float64, as `ml.training.splits.time_split`.
            rows: `(n,)` the faces to use; `measure` takes embeddings in this order.

        Raises:
            TrainingError: fewer than three people with two faces: a search needs a person and a runner-up.
        """
        own_people, own_times = people[rows], times_s[rows]
        gallery, probes = time_split(own_people, own_times, np.arange(len(rows)))
        self._gallery, self._probes = gallery, probes
        enrolled, self._person_rows = np.unique(own_people[gallery], return_inverse=True)
        if len(enrolled) < 3:
            raise TrainingError(
                f"{len(enrolled)} people with two faces or more decide when a training stops: 3 are needed"
            )
        self._starts = np.searchsorted(self._person_rows, np.arange(len(enrolled)))
        searched = own_people[probes]
        found = np.searchsorted(enrolled, searched).clip(max=len(enrolled) - 1)
        self._own = np.where(enrolled[found] == searched, found, -1)

    def measure(self, embeddings: FloatArray, rule: ScoreRule) -> Validation:
        """Search everybody.

        Args:
            embeddings: `(n, D)` unit-norm, of the rows given at the start.
            rule: weights; the floor of the runner-up is measured anew, because another network has another scale.
        """
        templates = embeddings[self._gallery]
        searched = np.concatenate([embeddings[self._probes], templates])
        own = np.concatenate([self._own, self._person_rows])
        scores = self._person_scores(searched, templates, rule)
        others = scores.copy()
        is_enrolled = np.flatnonzero(own >= 0)
        others[is_enrolled, own[is_enrolled]] = -np.inf
        floor = float(np.quantile(others[np.isfinite(others)], _BEST_OF_TEN))
        rule = ScoreRule(rule.centroid_weight, rule.runner_up_weight, floor)
        right = self._right(scores, others, rule)
        best, second = _two_best(others)
        strangers = np.sort(decision_scores(best, second, rule).astype(np.float64))[::-1]
        rates = [float((right < threshold_at_fpir(strangers, target)).mean()) for target in _NEAR_TARGETS]
        return Validation(rates[_NEAR_TARGETS.index(TARGET_FPIR)], float(np.mean(rates)))

    def _person_scores(self, searched: FloatArray, templates: FloatArray, rule: ScoreRule) -> _Scores:
        sums = np.add.reduceat(templates, self._starts, axis=0)
        centroids = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        best = np.maximum.reduceat(searched @ templates.T, self._starts, axis=1)
        return person_scores(searched @ centroids.T, best, rule)

    def _right(self, scores: _Scores, others: _Scores, rule: ScoreRule) -> NDArray[np.float64]:
        """Decision score of each mated probe; NO_SCORE where somebody else is at rank 1."""
        is_mated = np.flatnonzero(self._own >= 0)
        own, best_other = scores[is_mated, self._own[is_mated]], others[is_mated].max(axis=1)
        decided = decision_scores(own, best_other, rule).astype(np.float64)
        return np.where(own > best_other, decided, NO_SCORE)


def _two_best(scores: _Scores) -> tuple[_Scores, _Scores]:
    two = np.partition(scores, -2, axis=1)[:, -2:]
    return two[:, 1], two[:, 0]

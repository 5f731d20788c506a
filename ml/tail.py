"""The rare end of a distribution: rates that are rarer than the evidence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ml.types import FloatArray

# The tail begins where a tenth of the weight is left: enough to fit, little enough to be a tail.
_TAIL_SHARE = 0.1
# Scores are bounded and their tails short: shapes of fits on 535 people scatter about -0.05 by about 0.1.
_SHAPE_PRIOR, _SHAPE_PRIOR_SD = -0.05, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class TailModel:
    """How often a score is reached: counted in the bulk, a generalised Pareto distribution in the tail.

    `scores` and `survival` hold the bulk by falling score; above `start` the share `share` follows the Pareto law with
    `scale` and `shape`.
    """

    scores: NDArray[np.float64]
    survival: NDArray[np.float64]
    start: float
    share: float
    scale: float
    shape: float

    def rate(self, score: float) -> float:
        """Share of the distribution at or above `score`, 0..1."""
        if score <= self.start:
            above = np.searchsorted(-self.scores, -score, side="right")
            return float(self.survival[above - 1]) if above else self.share
        base = 1.0 + self.shape * (score - self.start) / self.scale
        return float(self.share * base ** (-1.0 / self.shape)) if base > 0 else 0.0

    def score(self, rate: float) -> float:
        """The score that a share `rate`, 0..1, is at or above."""
        if rate >= self.share:
            below = int(np.searchsorted(self.survival, rate, side="right"))
            return float(self.scores[min(below, len(self.scores) - 1)])
        return float(self.start + self.scale / self.shape * ((self.share / max(rate, 1e-12)) ** self.shape - 1.0))


def fit_tail(scores: FloatArray, weights: FloatArray) -> TailModel:
    """Fit a weighted sample.

    Args:
        scores: `(N,)`, N >= 20, not all of the highest equal.
        weights: `(N,)` positive.

    Source: peaks over threshold (Pickands 1975; Coles, "An Introduction to Statistical Modeling of Extreme Values"),
    by penalised likelihood: the shape is held near what larger samples showed.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    survival = np.cumsum(weights[order], dtype=np.float64)
    survival /= survival[-1]
    first = int(np.searchsorted(survival, _TAIL_SHARE))
    first = min(max(first, 1), len(ranked) - 1)
    start, share = float(ranked[first]), float(survival[first - 1])
    scale, shape = _fit_pareto(ranked[:first] - start, weights[order][:first].astype(np.float64))
    return TailModel(ranked, survival, start, share, scale, shape)


def _fit_pareto(excess: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    mean = max(float(np.average(excess, weights=weights)), 1e-9)
    share = weights / weights.sum()
    # What the sample is worth in equally weighted draws decides how much it may bend the shape.
    n_draws = float(weights.sum() ** 2 / (weights**2).sum())

    def cost(parameters: NDArray[np.float64]) -> float:
        scale, shape = float(np.exp(parameters[0])) * mean, float(parameters[1])
        base = 1.0 + shape * excess / scale
        if base.min() <= 0 or abs(shape) < 1e-6:
            return 1e12
        likelihood = np.log(scale) + (1.0 / shape + 1.0) * np.log(base)
        return n_draws * float(share @ likelihood) + 0.5 * ((shape - _SHAPE_PRIOR) / _SHAPE_PRIOR_SD) ** 2

    # A law with this shape ends before the highest score where that lies far out: then the search begins with one
    # that just reaches it, because it cannot find its way from where nothing is possible.
    shape = max(_SHAPE_PRIOR, -0.9 * mean / max(float(excess.max()), mean))
    found = minimize(cost, np.array([0.0, shape]), method="Nelder-Mead").x
    return float(np.exp(found[0])) * mean, float(found[1])

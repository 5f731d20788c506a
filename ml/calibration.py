"""Evidence -> operating point: the threshold that keeps a promised FPIR, and what it will cost.

Two sources are pooled. The backbone's card says what strangers score in general; the gallery, searched with its own
templates, says what they score here. The card counts as many people as it was measured on, the gallery as many as it
holds, so the gallery takes over as it grows - and at once where it contradicts the card.
"""

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.evidence import GalleryEvidence
from ml.metrics import wilson
from ml.priors import ScorePrior
from ml.tail import TailModel, fit_tail
from ml.types import Evidence, FloatArray, Interval, OperatingPoint

# The card stands as long as the gallery's own rate, where the card expects 10 %, may lie within a factor of 1.5.
_CHECKED_AT, _TOLERATED_FACTOR = 0.10, 1.5
# What a contradicted card still counts, moved to where this gallery's strangers are: enough to shape a tail, little
# enough to give way to 60 people.
_CONTRADICTED_N_PEOPLE = 30
# Points at which the card's distribution is sampled.
_PRIOR_POINTS = 4000
# How sure a stated FPIR is: galleries of 3 to 305 people drawn from the development photos scattered around their
# target like samples of this many searches, and enrolled people differ from strangers by this factor besides. A card
# counts no more here than the people it was measured on, and not at all where it is contradicted.
_SURE_AS_N, _SURE_AS_N_PER_PERSON, _DOMAIN_LOG_SD = 60.0, 2.5, 0.2
# The card's FNIR counts as this many searches at most: misses depend on a deployment's cameras more than strangers do.
_PRIOR_N_MATED = 20.0
# Most of a person's templates pass for somebody else where the card gives that to one stranger in ten thousand: twins,
# or one person enrolled twice. Strangers are not like that, so they are no evidence about strangers.
_TWIN_FPIR = 0.0001
FEWEST_PEOPLE: Final = 5
"""From this many on two of them are not half of the gallery, so its median shows where strangers score here."""
_CURVE_POINTS = 161
_HISTOGRAM_BINS = 60


@dataclass(frozen=True, slots=True, eq=False)
class ConfirmedSearches:
    """Searches whose person an operator confirmed: `people` K ids, `scores (K,)`, -inf where not rank 1."""

    people: tuple[str, ...]
    scores: FloatArray


NO_CONFIRMED = ConfirmedSearches((), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class ScoreEvidence:
    """Decision scores seen in one deployment of `n_people`.

    `non_mated (M,)` with the row of the searching person in `non_mated_people (M,)`; `mated (K,)` with -inf where the
    person was not rank 1, and `mated_weights (K,)` 0..1: what a miss counts. A person with few templates loses more
    by leaving one out than will be missing in use, so a miss with n templates left counts n / (n + 1). `twins` are
    people who pass for each other and are left out of `non_mated`.
    """

    n_people: int
    n_templates: int
    twins: tuple[str, ...]
    non_mated: FloatArray
    non_mated_people: NDArray[np.int64]
    mated: FloatArray
    mated_people: NDArray[np.int64]
    mated_weights: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Rates by threshold, for charts, previews and odds; all lists have one entry per threshold, rising.

    The ends of the rates' 95 % intervals are empty in curves that were stored before these were kept.
    """

    thresholds: list[float]
    fpir: list[float]
    fnir: list[float]
    bin_edges: list[float]
    mated_histogram: list[int]
    non_mated_histogram: list[int]
    fpir_low: list[float] = field(default_factory=list)
    fpir_high: list[float] = field(default_factory=list)
    fnir_low: list[float] = field(default_factory=list)
    fnir_high: list[float] = field(default_factory=list)


def gather(
    found: GalleryEvidence, n_templates: int, prior: ScorePrior, confirmed: ConfirmedSearches = NO_CONFIRMED
) -> ScoreEvidence:
    """Sort a gallery's own searches, and those confirmed in use, into evidence.

    Args:
        found: what `search_gallery` returned.
        n_templates: how many the gallery holds.
        prior: of the backbone; it says how high a stranger never scores.
        confirmed: mated searches by cameras; those of people who are not in the gallery are passed over.
    """
    n_people = len(found.person_ids)
    twins = _twins(found, prior)
    non_mated = found.is_non_mated & ~np.isin(found.person_rows, twins)
    row_of = {person_id: row for row, person_id in enumerate(found.person_ids)}
    used = [i for i, person_id in enumerate(confirmed.people) if person_id in row_of]
    mated, n_left = found.is_mated, found.n_left[found.is_mated]
    return ScoreEvidence(
        n_people=n_people,
        n_templates=n_templates,
        twins=tuple(found.person_ids[int(row)] for row in twins),
        non_mated=found.non_mated[non_mated],
        non_mated_people=found.person_rows[non_mated],
        mated=np.r_[
            np.where(found.is_rank1[mated], found.mated[mated], -np.inf).astype(np.float32), confirmed.scores[used]
        ],
        mated_people=np.r_[
            found.person_rows[mated], np.array([row_of[confirmed.people[i]] for i in used], dtype=np.int64)
        ],
        mated_weights=np.r_[(n_left / (n_left + 1)).astype(np.float32), np.ones(len(used), np.float32)],
    )


class Calibration:
    """What a deployment's evidence, pooled with the backbone's card, says of every threshold."""

    def __init__(self, evidence: ScoreEvidence, prior: ScorePrior) -> None:
        if evidence.n_people:
            prior = prior.for_templates(max(1.0, evidence.n_templates / evidence.n_people))
        self._evidence = evidence
        self._prior = prior
        self._n_strangers = len(np.unique(evidence.non_mated_people))
        self._n_mated_people = len(np.unique(evidence.mated_people))
        self.is_prior_contradicted = is_contradicted(evidence, prior)
        self._strangers = _pooled_strangers(evidence, prior, self.is_prior_contradicted)

    def operating_point(self, target_fpir: float, model: str) -> OperatingPoint:
        """The point that keeps a target FPIR, 0 < target < 1; `model` is the word of the backbone."""
        return self._point(self.threshold(target_fpir), target_fpir, model)

    def point_at(self, threshold: float, model: str) -> OperatingPoint:
        """What to expect of a threshold that somebody else chose."""
        return self._point(threshold, None, model)

    def threshold(self, target_fpir: float) -> float:
        """The threshold that a share `target_fpir` of strangers is expected to reach; 0 < target < 1."""
        return self._strangers.score(target_fpir)

    def fpir(self, threshold: float) -> Interval:
        """Expected FPIR with its 95 % interval."""
        rate = self._strangers.rate(threshold)
        return _fpir_interval(rate, self._n_strangers, 0 if self.is_prior_contradicted else self._prior.n_people)

    def fnir(self, threshold: float) -> Interval:
        """Expected FNIR with its 95 % interval."""
        evidence, expected = self._evidence, self._prior.fnir(threshold, self._evidence.n_people)
        n_people = self._n_mated_people
        missed = (evidence.mated < threshold).astype(np.float64)
        raw = float(missed.mean()) if len(missed) else 0.0
        counted = float((missed * evidence.mated_weights).mean()) if len(missed) else 0.0
        prior_n = min(_PRIOR_N_MATED, self._prior.n_people)
        total = n_people + prior_n
        value = (n_people * counted + prior_n * expected) / total
        upper = (n_people * raw + prior_n * expected) / total
        return Interval(value, _low(value, total), wilson(upper * total, total).high)

    def curves(self) -> Curves:
        """Everything above on a grid that reaches from the typical stranger to the surest match."""
        evidence = self._evidence
        ends = [self.threshold(0.9), self.threshold(1e-6), *evidence.mated[np.isfinite(evidence.mated)]]
        thresholds = np.linspace(min(ends), max(ends), _CURVE_POINTS)
        edges = np.linspace(min([*ends, *evidence.non_mated]), max(ends), _HISTOGRAM_BINS + 1)
        fpir, fnir = [self.fpir(float(t)) for t in thresholds], [self.fnir(float(t)) for t in thresholds]
        return Curves(
            thresholds=[float(t) for t in thresholds],
            fpir=[rate.value for rate in fpir],
            fnir=[rate.value for rate in fnir],
            bin_edges=[float(edge) for edge in edges],
            mated_histogram=np.histogram(evidence.mated, edges)[0].tolist(),
            non_mated_histogram=np.histogram(evidence.non_mated, edges)[0].tolist(),
            fpir_low=[rate.low for rate in fpir],
            fpir_high=[rate.high for rate in fpir],
            fnir_low=[rate.low for rate in fnir],
            fnir_high=[rate.high for rate in fnir],
        )

    def _point(self, threshold: float, target_fpir: float | None, model: str) -> OperatingPoint:
        evidence = self._evidence
        return OperatingPoint(
            threshold=threshold,
            target_fpir=target_fpir,
            expected_fpir=self.fpir(threshold),
            expected_fnir=self.fnir(threshold),
            method=self._method,
            model=model,
            n_people=evidence.n_people,
            n_templates=evidence.n_templates,
            evidence=Evidence(len(evidence.mated), len(evidence.non_mated), "; ".join(self._sources)),
        )

    @property
    def _method(self) -> str:
        return "leave one person out, model card, Pareto tail" if len(self._evidence.non_mated) else "model card"

    @property
    def _sources(self) -> list[str]:
        """In words, for whoever asks why the threshold is what it is."""
        evidence, said = self._evidence, [f"model card ({self._prior.source})"]
        if evidence.n_people == 0:
            said.append("nobody is enrolled, so the figures are the card's")
        elif evidence.n_people == 1:
            said.append("one person is enrolled, who cannot be taken for anybody else: the figures are the card's")
        elif not len(evidence.non_mated):
            said.append("this gallery has not been searched yet")
        else:
            said.append(f"{len(evidence.non_mated)} searches of this gallery by {self._n_strangers} of its own people")
        if evidence.twins:
            said.append(f"left out for passing as somebody else (twins, enrolled twice): {len(evidence.twins)}")
        if self.is_prior_contradicted:
            said.append("the card does not describe this gallery, so it counts little")
        return said


def is_contradicted(evidence: ScoreEvidence, prior: ScorePrior) -> bool:
    """Whether the gallery itself shows that the card's expectations do not hold here."""
    n_people = len(np.unique(evidence.non_mated_people))
    if n_people < FEWEST_PEOPLE:
        return False
    reached = evidence.non_mated >= prior.threshold(_CHECKED_AT, evidence.n_people)
    share = min(1.0, float(reached @ _once_each(evidence.non_mated_people)) / n_people)
    # People who look alike come in pairs and both reach a high score, so high ones are worth half as many.
    least, most = wilson(share * n_people / 2, n_people / 2).low, wilson(share * n_people, n_people).high
    return least > _CHECKED_AT * _TOLERATED_FACTOR or most < _CHECKED_AT / _TOLERATED_FACTOR


def odds(score: float, curves: Curves) -> float:
    """Read from curves: a stranger reaches `score` once in this many searches; at least 1."""
    rates = np.log(np.maximum(curves.fpir, 1e-9))
    return float(np.exp(-np.interp(score, curves.thresholds, rates)))


def _twins(found: GalleryEvidence, prior: ScorePrior) -> NDArray[np.int64]:
    """Rows of people most of whose templates score for one other person as hardly any stranger does."""
    n_others = max(1, len(found.person_ids) - 1)
    level = prior.threshold(_TWIN_FPIR, n_others)
    if len(found.person_ids) >= FEWEST_PEOPLE:
        typical = _typical(found.non_mated, found.person_rows)
        if typical > prior.threshold(_CHECKED_AT, n_others):  # then the card is wrong, and not everybody a twin
            level += typical - prior.threshold(0.5, n_others)
    passing = found.is_non_mated & (found.non_mated >= level)
    n_searches = np.bincount(found.person_rows, minlength=len(found.person_ids))
    n_passing = np.bincount(found.person_rows[passing], minlength=len(found.person_ids))
    return np.flatnonzero(2 * n_passing > n_searches)


def _pooled_strangers(evidence: ScoreEvidence, prior: ScorePrior, is_prior_contradicted: bool) -> TailModel:
    levels = (np.arange(_PRIOR_POINTS) + 0.5) / _PRIOR_POINTS
    expected = prior.thresholds(levels, evidence.n_people)
    prior_weight = min(prior.n_people, _CONTRADICTED_N_PEOPLE) if is_prior_contradicted else prior.n_people
    weights = np.full(_PRIOR_POINTS, prior_weight / _PRIOR_POINTS)
    if is_prior_contradicted:
        expected = expected + (_typical(evidence.non_mated, evidence.non_mated_people) - np.median(expected))
    scores = np.r_[expected, evidence.non_mated].astype(np.float32)
    return fit_tail(scores, np.r_[weights, _once_each(evidence.non_mated_people)].astype(np.float32))


def _once_each(people: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights of searches that add up to 1 for each person, however many templates they have."""
    return np.asarray(1.0 / np.bincount(people)[people], dtype=np.float64)


def _typical(scores: FloatArray, people: NDArray[np.int64]) -> float:
    """Median over people of their mean score."""
    n_searches = np.bincount(people)
    sums = np.bincount(people, weights=scores)
    return float(np.median(sums[n_searches > 0] / n_searches[n_searches > 0]))


def _fpir_interval(rate: float, n_people: int, card_n_people: int) -> Interval:
    """Sampling and domain uncertainty added up on a logarithmic scale."""
    n = min(_SURE_AS_N, card_n_people) + _SURE_AS_N_PER_PERSON * n_people
    sampled = wilson(rate * n, n)
    if rate <= 0.0:
        return sampled
    factor = _DOMAIN_LOG_SD * NormalDist().inv_cdf(0.975)
    above = np.hypot(np.log(sampled.high / rate), factor)
    low = _low(rate, n)
    if low > 0.0:
        low = float(rate * np.exp(-np.hypot(np.log(rate / low), factor)))
    return Interval(rate, low, min(1.0, float(rate * np.exp(above))))


def _low(rate: float, n: float) -> float:
    """Wilson's lower bound, and 0 where less than one event is expected: there may well be none."""
    return wilson(rate * n, n).low if rate * n >= 1.0 else 0.0

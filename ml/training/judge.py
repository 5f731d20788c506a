"""Champion against challenger, on people that neither has seen: is the new one better, and by more than chance?

Of each person with two faces or more the older are enrolled and the newer searched for. Who has one face is a stranger.
Where these are too few for a rate as small as the target, every enrolled person is searched for once more in the
gallery without them: that is a search by a stranger, too.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.comparison import (
    Difference,
    MatedSearches,
    NonMatedSearches,
    OpenSetSearches,
    fnir_at_fpir_interval,
    fnir_difference,
)
from ml.errors import TrainingError
from ml.evaluation.enrolment import EnrolledPeople
from ml.metrics import NO_SCORE, bootstrap_by_person, fnir_at_fpir
from ml.scoring import decision_scores
from ml.training.scoring import all_person_scores, make_gallery
from ml.training.splits import time_split
from ml.training.types import Rows
from ml.types import FloatArray, Interval, ScoreRule

MIN_PEOPLE: Final = 20
"""People to be searched for, below whom drawing them again says nothing about others."""
_N_BLOCK_VALUES: Final = 16_000_000  # of the probe-by-template matrix: 64 MB
_UNIT_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One model: `embeddings (N, D)` float32 unit-norm of the faces that both have seen, and how it scores them."""

    embeddings: FloatArray
    rule: ScoreRule


@dataclass(frozen=True, slots=True)
class SideResult:
    """What one model does at the threshold that keeps the target FPIR in its own searches; `fpir` is what it keeps."""

    fnir: Interval
    rank1: Interval
    threshold: float
    fpir: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the challenger is better beyond chance, and why in a sentence.

    `difference` is the challenger's FNIR less the champion's, with its 95 % interval. The results are None where there
    were too few people or searches to judge by.
    """

    is_better: bool
    reason: str
    target_fpir: float
    champion: SideResult | None
    challenger: SideResult | None
    difference: Difference | None
    n_people: int
    n_mated: int
    n_non_mated: int


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Rows to enrol and to search; `twice` are those of `mated` that are searched without their person, too."""

    gallery: Rows
    mated: Rows
    strangers: Rows
    twice: Rows


def judge(
    champion: Side,
    challenger: Side,
    people: Rows,
    times_s: NDArray[np.float64],
    rows_test: Rows,
    target_fpir: float,
    seed: int,
) -> Verdict:
    """Measure both models on the same searches, and compare them with people drawn again for both at once.

    Args:
        champion: the model in use.
        challenger: the one that would take its place.
        people: `(N,)` int64, whose faces they are.
        times_s: `(N,)` float64 when they were taken, NaN where that is unknown.
        rows_test: `(n,)` faces of people that nothing was learned from.
        target_fpir: 0 < target < 1.
        seed: of the draws.

    Raises:
        TrainingError: embeddings that are not unit vectors, or not one for each face, or a target that is no share.
    """
    if not 0 < target_fpir < 1:
        raise TrainingError(f"a target FPIR of {target_fpir} cannot be judged by: give a share between 0 and 1")
    for name, side in (("champion", champion), ("challenger", challenger)):
        _require_units(name, side, len(people))
    plan = _plan(people, times_s, rows_test, target_fpir)
    doubt = _doubt(people, plan, target_fpir)
    if doubt:
        return Verdict(False, doubt, target_fpir, None, None, None, *_counts(people, plan))
    old, new = (_searches(side, people, plan) for side in (champion, challenger))
    difference = fnir_difference(new, old, target_fpir, seed=seed)
    before, after = (_result(searches, target_fpir, seed) for searches in (old, new))
    counts = _counts(people, plan)
    reason = _reason(before, after, difference, target_fpir, counts[0])
    return Verdict(difference.high < 0, reason, target_fpir, before, after, difference, *counts)


def _plan(people: Rows, times_s: NDArray[np.float64], rows_test: Rows, target_fpir: float) -> _Plan:
    gallery, probes = time_split(people, times_s, rows_test)
    is_enrolled = np.isin(people[probes], people[gallery])
    mated, strangers = probes[is_enrolled], probes[~is_enrolled]
    is_enough = len(strangers) >= _n_needed(target_fpir)
    return _Plan(gallery, mated, strangers, mated[:0] if is_enough else mated)


def _n_needed(target_fpir: float) -> int:
    """With fewer searches by strangers, one of them is more than the target allows."""
    return ceil(1 / target_fpir - 1e-9)


def _counts(people: Rows, plan: _Plan) -> tuple[int, int, int]:
    return len(np.unique(people[plan.mated])), len(plan.mated), len(plan.strangers) + len(plan.twice)


def _doubt(people: Rows, plan: _Plan, target_fpir: float) -> str:
    """Why nothing can be said; empty where something can."""
    n_people, _, n_non_mated = _counts(people, plan)
    if n_people < MIN_PEOPLE:
        return (
            f"too few to judge by: {n_people} people with two faces or more were kept from the training, and "
            f"{MIN_PEOPLE} are needed at least"
        )
    needed = _n_needed(target_fpir)
    if n_non_mated < needed:
        return (
            f"too few to judge by: {n_non_mated} searches by people who are not enrolled, and a false alarm rate of "
            f"{_percent(target_fpir)} shows in {needed} at least"
        )
    return ""


def _require_units(name: str, side: Side, n: int) -> None:
    if side.embeddings.ndim != 2 or len(side.embeddings) != n:
        raise TrainingError(f"the {name}'s embeddings are {side.embeddings.shape}, for {n} faces: give one for each")
    norms = np.linalg.norm(side.embeddings, axis=1)
    if not (np.abs(norms - 1) < _UNIT_TOLERANCE).all():  # also false for NaN
        raise TrainingError(f"the {name}'s embeddings are not unit vectors: its training ran away, train it again")


def _searches(side: Side, people: Rows, plan: _Plan) -> OpenSetSearches:
    gallery = make_gallery(side.embeddings, people, plan.gallery)
    enrolled = np.unique(people[plan.gallery])
    own_rows = np.searchsorted(enrolled, people[plan.mated])
    top, is_right = _top(side, gallery, plan.mated, own_rows, is_own_left_out=False)
    nobody = np.full(len(plan.strangers), -1)
    strange, _ = _top(side, gallery, plan.strangers, nobody, is_own_left_out=False)
    without, _ = _top(side, gallery, plan.twice, own_rows[: len(plan.twice)], is_own_left_out=True)
    whose = np.concatenate([people[plan.strangers], people[plan.twice]])
    return OpenSetSearches(
        MatedSearches(top, is_right, people[plan.mated]), NonMatedSearches(np.concatenate([strange, without]), whose)
    )


def _top(
    side: Side, gallery: EnrolledPeople, rows: Rows, own_rows: NDArray[np.integer], *, is_own_left_out: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The decision score of each face's first candidate, and whether that is its own person."""
    scores, is_right = np.full(len(rows), NO_SCORE), np.zeros(len(rows), dtype=np.bool_)
    at_once = max(1, _N_BLOCK_VALUES // len(gallery.embeddings))
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        found = all_person_scores(side.embeddings[rows[part]], gallery, side.rule)
        faces = np.arange(len(found))
        if is_own_left_out:
            found[faces, own_rows[part]] = -np.inf
        first = found.argmax(axis=1)
        best = found[faces, first]
        found[faces, first] = -np.inf
        scores[part] = decision_scores(best, found.max(axis=1), side.rule)
        is_right[part] = first == own_rows[part]
    return scores, is_right


def _result(searches: OpenSetSearches, target_fpir: float, seed: int) -> SideResult:
    mated = searches.mated
    point = fnir_at_fpir(mated.scores, mated.is_rank1, searches.non_mated.scores, target_fpir)
    return SideResult(
        fnir=fnir_at_fpir_interval(searches, target_fpir, seed=seed),
        rank1=bootstrap_by_person(mated.is_rank1, mated.people, seed=seed),
        threshold=point.threshold,
        fpir=point.fpir,
    )


def _reason(old: SideResult, new: SideResult, difference: Difference, target_fpir: float, n_people: int) -> str:
    if difference.high < 0:
        meaning = "is beyond chance"
    elif difference.low > 0:
        meaning = "is beyond chance, and for the worse"
    else:
        meaning = "may be chance"
    points = f"{_points(difference.value)} points ({_points(difference.low)} to {_points(difference.high)})"
    return (
        f"missed {_percent(new.fnir.value)} instead of {_percent(old.fnir.value)} of searches at "
        f"{_percent(target_fpir)} false alarms on {n_people} people it never saw; the difference, {points}, {meaning}"
    )


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %" if share < 0.01 else f"{share * 100:.1f} %".replace(".0 %", " %")


def _points(share: float) -> str:
    """Percentage points with a sign, a true minus among them."""
    return "0.0" if round(100 * share, 1) == 0 else f"{100 * share:+.1f}".replace("-", "−")

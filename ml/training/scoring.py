"""Faces of a network -> what its cosines mean: every network spreads them otherwise, and a card's figures are its own.

Measured as the figures of `ml.backbones.cards` were. Give faces that the network did not learn from: people it knows
lie closer together, and further from each other, than those it will meet.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.backbones.card import ScoringFacts
from ml.errors import HardlyRecognisesError, TrainingError
from ml.evaluation.enrolment import EnrolledPeople
from ml.evaluation.prior import FNIR_LEVELS, FPIR_LEVELS, GALLERY_SIZES
from ml.metrics import NO_SCORE
from ml.priors import ScorePrior
from ml.scoring import decision_scores, person_scores
from ml.training.splits import time_split
from ml.training.types import Rows
from ml.types import FloatArray, PairBounds, ScoreRule

MIN_PEOPLE: Final = 20
"""People with two faces or more, below whom there is too little to measure."""
_MAX_PEOPLE: Final = 400  # more move no figure by as much as another draw does, and take minutes
_MAX_FACES: Final = 10  # of one person: more would make the figures theirs
_N_STRANGERS: Final = 10  # ScoreRule.runner_up_floor says why
_N_DRAWS: Final = 20_000
# The same shares as of the pairs that DLIB_SCORING was chosen by, and as its leads.
_DIFFERENT_SHARE: Final = 0.009  # of the mated pairs lie below "different"
_SAME_SHARE: Final = 0.003  # of the non-mated pairs lie above "same"
_LEAD_SHARE: Final = 0.02  # of the right rank 1 lead by less than look-alikes must
# Drawn together, within bounds; more would move the tables by less than other people do.
_SEARCHED_PEOPLE: Final = 5_000
_MIN_GALLERIES, _MAX_GALLERIES = 20, 200
_LEAST_SEEN: Final = 0.5  # people that the rarest level of a table is: the lines through the others go on beyond
_MIN_LEVELS: Final = 2
_SEED: Final = 0
_BLOCK: Final = 1024

_Doubles = NDArray[np.float64]


def measure_scoring(
    embeddings: FloatArray, people: Rows, times_s: NDArray[np.float64], base: ScoringFacts
) -> ScoringFacts:
    """Measure what the cosines of a network say, from faces alone.

    The weights of the rule stay the base's. The same faces give the same figures. Takes seconds, however many
    people there are.

    Args:
        embeddings: `(N, D)` float32 unit-norm.
        people: `(N,)` int64, whose faces they are; who has one face is a stranger only.
        times_s: `(N,)` float64 when they were taken, NaN where that is unknown: older ones are enrolled.
        base: of the network that this one was made from.

    Returns:
        Scoring facts whose prior has fewer levels the fewer people there are, and counts as so many.

    Raises:
        TrainingError: fewer than `MIN_PEOPLE` people have two faces.
        HardlyRecognisesError: nobody, or next to nobody, is recognised by them.
    """
    rows = _used(people)
    gallery, probes = time_split(people, times_s, rows)
    n_enrolled = len(np.unique(people[gallery]))
    if n_enrolled < MIN_PEOPLE:
        raise TrainingError(
            f"{n_enrolled} people have two faces or more, and what their cosines mean is measured on {MIN_PEOPLE} at "
            "least: enrol more people, or take two photos of each"
        )
    generator = np.random.default_rng(_SEED)
    rule = replace(base.rule, runner_up_floor=_best_of_strangers(embeddings[rows], people[rows], generator))
    bounds = _pair_bounds(embeddings[rows], people[rows])
    known = make_gallery(embeddings, people, gallery)
    mated = probes[np.isin(people[probes], people[gallery])]
    margin = _lead(known, embeddings[mated], np.searchsorted(np.unique(people[gallery]), people[mated]), rule)
    return ScoringFacts(rule, bounds, _prior(embeddings, people, rows, gallery, mated, rule), margin)


def make_gallery(embeddings: FloatArray, people: Rows, rows: Rows) -> EnrolledPeople:
    """Enrol faces; person n of the gallery is the nth of the people in rising order.

    Args:
        embeddings: `(N, D)` float32 unit-norm.
        people: `(N,)` int64.
        rows: `(n,)` which of the faces to enrol.
    """
    rows = rows[np.argsort(people[rows], kind="stable")]
    _, person_rows = np.unique(people[rows], return_inverse=True)
    return gallery_of(embeddings[rows], person_rows.astype(np.int64))


def gallery_of(templates: FloatArray, person_rows: Rows) -> EnrolledPeople:
    """A gallery of templates `(T, D)` sorted by `person_rows (T,)`, with everybody's fused one."""
    starts = np.searchsorted(person_rows, np.arange(person_rows.max(initial=-1) + 1))
    sums = np.add.reduceat(templates.astype(np.float64), starts, axis=0) if len(starts) else templates
    centroids = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
    ones = np.ones(len(templates), dtype=np.float32)
    return EnrolledPeople(person_rows, templates, ones, ones, centroids)


def all_person_scores(embeddings: FloatArray, gallery: EnrolledPeople, rule: ScoreRule) -> FloatArray:
    """`(M, P)` person scores of probes `(M, D)` for all people of a gallery that is not empty."""
    starts = np.searchsorted(gallery.person_rows, np.arange(gallery.n_people))
    nearest = np.maximum.reduceat(embeddings @ gallery.embeddings.T, starts, axis=1)
    return person_scores(embeddings @ gallery.centroids.T, nearest, rule)


def _used(people: Rows) -> Rows:
    """The faces to measure: some of everybody's, of some people where there are very many."""
    generator = np.random.default_rng(_SEED)
    numbers, n_faces = np.unique(people, return_counts=True)
    if len(numbers) > _MAX_PEOPLE:
        # Strangers are never short, people who can be searched for may be: these first.
        order = np.lexsort((generator.random(len(numbers)), n_faces < 2))
        numbers = np.sort(numbers[order[:_MAX_PEOPLE]])
    kept = [np.empty(0, dtype=np.int64)]
    for number in numbers:
        own = np.flatnonzero(people == number)
        kept.append(np.sort(generator.choice(own, _MAX_FACES, replace=False)) if len(own) > _MAX_FACES else own)
    return np.concatenate(kept)


def _best_of_strangers(embeddings: FloatArray, people: Rows, generator: np.random.Generator) -> float:
    """The cosine that the nearest of ten other people's faces reaches in half of the draws."""
    probes = generator.integers(len(people), size=_N_DRAWS)
    others = generator.integers(len(people), size=(_N_DRAWS, _N_STRANGERS))
    best = np.empty(_N_DRAWS, dtype=np.float32)
    for start in range(0, _N_DRAWS, _BLOCK):
        part = slice(start, start + _BLOCK)
        cosines = np.einsum("nd,nkd->nk", embeddings[probes[part]], embeddings[others[part]])
        # A face of their own is no stranger's; that leaves nine of ten now and then.
        best[part] = np.where(people[others[part]] == people[probes[part], None], -np.inf, cosines).max(axis=1)
    return _rounded(np.median(best))


def _pair_bounds(embeddings: FloatArray, people: Rows) -> PairBounds:
    cosines = embeddings @ embeddings.T
    a, b = np.triu_indices(len(people), 1)
    is_mated = people[a] == people[b]
    mated, non_mated = cosines[a, b][is_mated], cosines[a, b][~is_mated]
    same = _rounded(np.quantile(non_mated, 1 - _SAME_SHARE))
    # Where a network tells everybody apart, hardly a mated pair lies as low as that.
    return PairBounds(different=min(_rounded(np.quantile(mated, _DIFFERENT_SHARE)), same), same=same)


def _lead(gallery: EnrolledPeople, probes: FloatArray, own_rows: Rows, rule: ScoreRule) -> float:
    """By how much all but a few of the probes `(M, D)` whose own person is first are ahead of the second."""
    scores = all_person_scores(probes, gallery, rule)
    ranked = np.sort(scores, axis=1)
    is_right = scores.argmax(axis=1) == own_rows
    if not is_right.any():
        raise HardlyRecognisesError("nobody is recognised by these embeddings at all: the network has learned nothing")
    first, second = ranked[is_right, -1], ranked[is_right, -2]
    leads = decision_scores(first, second, rule) - decision_scores(second, first, rule)
    return _rounded(np.quantile(leads, _LEAD_SHARE))


def _prior(embeddings: FloatArray, people: Rows, rows: Rows, gallery: Rows, mated: Rows, rule: ScoreRule) -> ScorePrior:
    """Random galleries of everybody searched with the others, and of those with two faces with their own.

    As `ml.evaluation.prior.fit_prior`, which works on photos; here all are compared once, so that drawing is quick.
    """
    generator = np.random.default_rng(_SEED)
    everybody, firsts = np.unique(people[rows], return_index=True)
    all_scores = all_person_scores(embeddings[rows[firsts]], make_gallery(embeddings, people, rows), rule)
    known = np.unique(people[gallery])
    known_scores = all_person_scores(embeddings[mated], make_gallery(embeddings, people, gallery), rule)
    own = np.searchsorted(known, people[mated])
    sizes = tuple(size for size in GALLERY_SIZES if size < len(everybody))
    strangers = [_non_mated(all_scores, size, rule, generator) for size in sizes]
    found = [_mated(known_scores, own, min(size, len(known)), rule, generator) for size in sizes]
    fpir_levels = [level for level in FPIR_LEVELS if level >= _LEAST_SEEN / len(everybody)]
    fnir_levels = [level for level in FNIR_LEVELS if level >= _LEAST_SEEN / len(known)]
    non_mated = np.array([_quantiles(scores, 1 - np.array(fpir_levels)) for scores in strangers])
    right = np.array([_quantiles(scores, np.array(fnir_levels)) for scores in found])
    is_known = np.isfinite(right).all(axis=0)
    if is_known.sum() < _MIN_LEVELS:
        raise HardlyRecognisesError("the network hardly recognises anybody: most searches fail at every threshold")
    return ScorePrior(
        source=f"{len(everybody)} people searched as strangers, {len(mated)} mated probes of {len(known)} people",
        n_people=len(everybody),
        gallery_sizes=sizes,
        fpir_levels=tuple(fpir_levels),
        non_mated=_as_rows(non_mated),
        fnir_levels=tuple(level for level, is_kept in zip(fnir_levels, is_known, strict=True) if is_kept),
        mated=_as_rows(right[:, is_known]),
    )


def _non_mated(scores: FloatArray, size: int, rule: ScoreRule, generator: np.random.Generator) -> _Doubles:
    """Decision scores of everybody who is not in a random gallery; `scores (P, P)`, probes in the order of people."""
    decided = []
    for chosen in _galleries(len(scores), size, generator):
        others = np.delete(np.arange(len(scores)), chosen)
        found = np.sort(scores[np.ix_(others, chosen)], axis=1)
        decided.append(decision_scores(found[:, -1], _second(found), rule))
    return np.concatenate(decided).astype(np.float64)


def _mated(
    scores: FloatArray, own: NDArray[np.integer], size: int, rule: ScoreRule, generator: np.random.Generator
) -> _Doubles:
    """Decision scores of everybody who is in a random gallery; NO_SCORE where another one is first."""
    decided = []
    for chosen in _galleries(scores.shape[1], size, generator):
        probes = np.flatnonzero(np.isin(own, chosen))
        mine, found = scores[probes, own[probes]], np.sort(scores[np.ix_(probes, chosen)], axis=1)
        right = decision_scores(mine, _second(found), rule).astype(np.float64)
        decided.append(np.where(mine == found[:, -1], right, NO_SCORE))
    return np.concatenate(decided)


def _galleries(n_people: int, size: int, generator: np.random.Generator) -> Iterator[Rows]:
    """As many random galleries as `ml.evaluation.prior` draws."""
    n = 1 if size == n_people else int(np.clip(_SEARCHED_PEOPLE // size, _MIN_GALLERIES, _MAX_GALLERIES))
    for _ in range(n):
        yield generator.choice(n_people, size, replace=False)


def _second(rising: FloatArray) -> FloatArray:
    return rising[:, -2] if rising.shape[1] > 1 else np.full(len(rising), -np.inf, dtype=np.float32)


def _quantiles(scores: _Doubles, shares: _Doubles) -> _Doubles:
    """Scores at shares of the way up; failures count, as scores below all others."""
    places = np.floor(shares * len(scores)).astype(np.int64)
    return np.asarray(np.sort(scores)[np.clip(places, 0, len(scores) - 1)])


def _as_rows(table: _Doubles) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(_rounded(score) for score in row) for row in table)


def _rounded(value: np.floating | _Doubles | float) -> float:
    return round(float(value), 4)

"""The tables of `ml.priors`, measured on a folder: what a backbone's decision scores are before there is evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.enrolment import NOBODY, Enrolment
from ml.evaluation.searches import Probes, image_scores, search
from ml.evaluation.variants import wrong_name_scores
from ml.metrics import MetricsError
from ml.priors import ScorePrior
from ml.types import ScoreRule

GALLERY_SIZES: Final = (1, 2, 3, 5, 10, 20, 50, 100, 200, 400)
FPIR_LEVELS: Final = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.003, 0.001)
FNIR_LEVELS: Final = (0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
# Galleries are drawn until they held about this many people together, within bounds: it takes seconds, and drawing with
# another seed moves the median by 0.001 at most.
_SEARCHED_PEOPLE: Final = 20_000
_MIN_GALLERIES, _MAX_GALLERIES = 20, 500
_MIN_LEVELS: Final = 2  # a prior draws lines through them


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Enrolled people and photos of the same people to search with; `probes.people` are places in `enrolment.rows`."""

    enrolment: Enrolment
    probes: Probes


def fit_prior(cohort: People, known: People, rule: ScoreRule, seed: int) -> ScorePrior:
    """Measure the tables.

    Args:
        cohort: people of whom random galleries are drawn, each searched with the photos of everybody else: non-mated.
        known: people of whom random galleries are drawn, each searched with further photos of its own: mated.
        rule: how scores are made.
        seed: of the draws.

    Raises:
        MetricsError: fewer than two people in the cohort, or nobody known, could be enrolled, or hardly anybody is
            recognised at all.
    """
    generator = np.random.default_rng(seed)
    n_cohort, n_known = (int((people.enrolment.rows != NOBODY).sum()) for people in (cohort, known))
    if n_cohort < 2 or n_known < 1:
        raise MetricsError(f"{n_cohort} people of the cohort and {n_known} known ones could be enrolled: give more")
    sizes = tuple(size for size in GALLERY_SIZES if size < n_cohort)
    strangers = [_pooled(cohort, size, rule, generator, is_mated=False) for size in sizes]
    own = [_pooled(known, min(size, n_known), rule, generator, is_mated=True) for size in sizes]
    fpir_levels, non_mated = _table(strangers, FPIR_LEVELS, is_from_above=True)
    fnir_levels, mated = _table(own, FNIR_LEVELS, is_from_above=False)
    return ScorePrior(
        source=f"{n_cohort} people searched as strangers, {known.probes.n_photos} mated probes of {n_known} people",
        n_people=n_cohort,
        gallery_sizes=sizes,
        fpir_levels=fpir_levels,
        non_mated=non_mated,
        fnir_levels=fnir_levels,
        mated=mated,
    )


def as_source(prior: ScorePrior) -> str:
    """The prior as Python, in the shape of `ml/priors.py`."""
    lines = [f"    {field.name}={_literal(getattr(prior, field.name))}," for field in fields(prior)]
    return "\n".join(["ScorePrior(", *lines, ")"])


def largest_difference(a: ScorePrior, b: ScorePrior) -> tuple[float, float] | None:
    """How far two priors are apart at most, non-mated and mated; None where their tables are not of the same shape."""
    shape_a, shape_b = ((p.gallery_sizes, p.fpir_levels, p.fnir_levels) for p in (a, b))
    if shape_a != shape_b:
        return None
    non_mated, mated = (
        float(np.abs(np.array(x) - np.array(y)).max()) for x, y in ((a.non_mated, b.non_mated), (a.mated, b.mated))
    )
    return non_mated, mated


def _pooled(
    people: People, size: int, rule: ScoreRule, generator: np.random.Generator, *, is_mated: bool
) -> NDArray[np.float64]:
    """Scores of the searches in random galleries of one size, together."""
    rows = people.enrolment.rows
    enrolled = np.flatnonzero(rows != NOBODY)
    n = 1 if size == len(enrolled) else int(np.clip(_SEARCHED_PEOPLE // size, _MIN_GALLERIES, _MAX_GALLERIES))
    scores = []
    for _ in range(n):
        chosen = generator.choice(enrolled, size, replace=False)
        gallery = people.enrolment.people.only(rows[chosen])
        new_rows = np.full(len(rows), NOBODY)
        new_rows[chosen] = np.arange(size)
        is_searched = np.isin(people.probes.people, chosen) == is_mated
        probes = people.probes.only(is_searched, new_rows[people.probes.people[is_searched]])
        hits = search(probes, gallery, rule)
        scores.append(image_scores(hits, probes).own if is_mated else wrong_name_scores(hits, probes))
    return np.concatenate(scores)


def _table(
    scores_by_size: Sequence[NDArray[np.float64]], levels: tuple[float, ...], *, is_from_above: bool
) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Quantiles per gallery size, without the levels at which searches fail whatever the threshold."""
    shares = np.array([1 - level if is_from_above else level for level in levels])
    table = np.array([_quantiles(scores, shares) for scores in scores_by_size])
    is_known = np.isfinite(table).all(axis=0)
    if is_known.sum() < _MIN_LEVELS:
        raise MetricsError("most searches fail at every threshold: there is nothing to make a prior of")
    kept = tuple(level for level, known in zip(levels, is_known, strict=True) if known)
    return kept, tuple(tuple(round(float(score), 4) for score in row) for row in table[:, is_known])


def _quantiles(scores: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores at shares of the way up; failures count, as scores below all others."""
    places = np.floor(shares * len(scores)).astype(int)
    return np.asarray(np.sort(scores)[np.clip(places, 0, len(scores) - 1)])


def _literal(value: object) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        rows = "".join(f"        ({', '.join(map(repr, row))}),\n" for row in value)
        return f"(\n{rows}    )"
    return repr(value)

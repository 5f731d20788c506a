"""Many templates or one: ways to combine a person's frames, each with ways to search them, on the same samples.

Nothing is fitted on strangers or probes. What is learned over people (the basis of a PCA, the LSTM) is learned on the
cohort, a classifier on the gallery, and every threshold is set on strangers as for the product's rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from ml.comparison import (
    Difference,
    MatedSearches,
    NonMatedSearches,
    OpenSetSearches,
    fnir_at_fpir_interval,
    fnir_difference,
)
from ml.enrolling import fuse
from ml.evaluation.enrolment import NOBODY, EnrolledPeople
from ml.evaluation.fusion_ways import ALL, LeftOut, Way, choose_ways
from ml.evaluation.matchers import MIN_PEOPLE, KnnMatcher, LinearMatcher, Matcher, RuleMatcher
from ml.evaluation.pooling import PoolingTable
from ml.evaluation.searches import Probes, image_scores
from ml.evaluation.variants import DEFAULT_FPIR, PRODUCT, Searches, wrong_name_scores
from ml.fusion import Frames
from ml.metrics import bootstrap_by_person
from ml.types import FloatArray, Interval, ScoreRule

DEFAULT: Final = (ALL, PRODUCT)
"""What the service does: it keeps every template, and scores by the card's rule."""
_N_TIMED: Final = 300  # searches; the median of more is the same to a microsecond
_CLASSIFIERS: Final[tuple[tuple[str, str, Callable[[EnrolledPeople], Matcher]], ...]] = (
    ("svm", "linear SVM", LinearMatcher.fit_svm),
    ("logistic", "logistic regression", LinearMatcher.fit_logistic),
)
_N_WARM: Final = 10  # searches before, which fill caches and import what is imported late


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """`searches` to measure, the frames of the gallery's `people` in its order, and of the `cohort`, maybe empty."""

    searches: Searches
    people: Sequence[Frames]
    cohort: Sequence[Frames]


@dataclass(frozen=True, slots=True)
class FusionRow:
    """One way to combine frames with one way to search.

    `difference` is how much more it misses than the default, None for that one. `n_bytes` are those kept for one
    person, `search_us` microseconds for one face, `fit_s` the seconds that learning took, where anything is learned.
    """

    fusion: str
    matcher: str
    title: str
    is_default: bool
    fnir: Interval
    difference: Difference | None
    rank1: Interval
    n_bytes: float
    search_us: float | None
    fit_s: float | None
    setting: str


@dataclass(frozen=True, slots=True)
class FusionTable:
    """Every way, the default first; `verdict` says whether that is the best.

    `pooling` are the ways to make one decision of several frames; None where they are left out.
    """

    target_fpir: float
    rows: tuple[FusionRow, ...]
    left_out: tuple[LeftOut, ...]
    pooling: PoolingTable | None = None

    @property
    def best(self) -> FusionRow | None:
        """The row that misses least, the earlier of equals; None where nobody could be enrolled."""
        return min(self.rows, key=lambda row: row.fnir.value, default=None)

    @property
    def is_default_best(self) -> bool:
        """Whether no other row misses less."""
        return self.best is not None and self.best.is_default

    @property
    def beyond_chance(self) -> tuple[str, ...]:
        """Titles of the rows that miss less than the default with an interval of the difference that leaves out 0."""
        return tuple(row.title for row in self.rows if row.difference is not None and row.difference.high < 0)

    @property
    def within_chance(self) -> tuple[str, ...]:
        """Titles of the rows that these photos cannot tell from the default."""
        others = ((row.title, row.difference) for row in self.rows)
        return tuple(title for title, apart in others if apart is not None and apart.low <= 0 <= apart.high)

    @property
    def verdict(self) -> str:
        """What the table says about the default, in words."""
        default = next((row for row in self.rows if row.is_default), None)
        if default is None or self.best is None:
            return "Nobody could be enrolled, so there is nothing to compare."
        if self.beyond_chance:
            better = "; ".join(self.beyond_chance)
            return f"The default ({default.title}) is NOT the best: less is missed, beyond chance, by {better}."
        close = f" These photos cannot tell it from {'; '.join(self.within_chance)}." if self.within_chance else ""
        if self.is_default_best:
            return f"The default ({default.title}) is the one that measures best.{close}"
        points = 100 * (default.fnir.value - self.best.fnir.value)
        return (
            f"The default ({default.title}) is not the lowest: {self.best.title} misses {points:.1f} percentage points "
            f"less, but not beyond chance.{close}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A matcher with its name, and how long fitting it took where that is worth telling."""

    name: str
    title: str
    matcher: Matcher
    fit_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    row: FusionRow
    searches: OpenSetSearches


def frames_of(people: EnrolledPeople) -> list[Frames]:
    """Each enrolled person's frames."""
    rows = [people.person_rows == row for row in range(people.n_people)]
    return [Frames(people.embeddings[own], people.qualities[own]) for own in rows]


def compare_fusions(crowd: Crowd, rule: ScoreRule, seed: int) -> FusionTable:
    """Measure every way to combine frames.

    Args:
        crowd: who is enrolled, searched and learned from.
        rule: the product's.
        seed: of the draws and of what is learned.
    """
    if not crowd.people:
        return FusionTable(DEFAULT_FPIR, (), ())
    with threadpool_limits(limits=1):  # searches are timed on one thread, and the rest is too small to share out
        ways, left_out = choose_ways(crowd.cohort, seed)
        measured = [each for way in ways for each in _measure_way(way, crowd, rule, seed)]
    if len(crowd.people) < MIN_PEOPLE:
        titles = " and ".join(title for _, title, _ in _CLASSIFIERS)
        left_out.append(
            LeftOut(titles, f"they tell {MIN_PEOPLE} people or more apart, and {len(crowd.people)} enrolled")
        )
    default = next(each for each in measured if each.row.is_default)
    rows = [default, *(each for each in measured if each is not default)]
    return FusionTable(DEFAULT_FPIR, tuple(_compared(each, default, seed) for each in rows), tuple(left_out))


def _measure_way(way: Way, crowd: Crowd, rule: ScoreRule, seed: int) -> list[_Measured]:
    """Search the templates that a fusion makes in every way that suits them."""
    searches = Searches(
        _enrolled([way.fuse(person) for person in crowd.people]),
        _projected(crowd.searches.mated, way),
        _projected(crowd.searches.strangers, way),
    )
    ready = _matchers(way, searches.gallery, rule)
    faces = crowd.searches.mated.embeddings[:_N_TIMED]
    return [_measure(way, each, searches, seed, _search_us(way, each.matcher, faces)) for each in ready]


def _enrolled(templates: Sequence[FloatArray]) -> EnrolledPeople:
    """A gallery of these people's templates; nobody compares their raw lengths, or asks for qualities once fused."""
    embeddings = np.concatenate(templates)
    return EnrolledPeople(
        person_rows=np.repeat(np.arange(len(templates)), [len(own) for own in templates]),
        embeddings=embeddings,
        lengths=np.ones(len(embeddings), dtype=np.float32),
        qualities=np.ones(len(embeddings), dtype=np.float32),
        centroids=np.array([fuse(own) for own in templates], dtype=np.float32),
    )


def _projected(probes: Probes, way: Way) -> Probes:
    """The same faces where the templates are; without any face their width is unknown."""
    return replace(probes, embeddings=way.project(probes.embeddings)) if len(probes.embeddings) else probes


def _matchers(way: Way, gallery: EnrolledPeople, rule: ScoreRule) -> list[_Ready]:
    """The product's rule and the nearest template for all; classifiers where people have several templates."""
    nearest = ScoreRule(centroid_weight=0.0, runner_up_weight=0.0, runner_up_floor=-1.0)
    ready = [
        _Ready(PRODUCT, "product's rule", RuleMatcher(gallery, rule)),
        _Ready("nearest", "nearest", RuleMatcher(gallery, nearest)),
    ]
    if way.name != ALL:
        return ready
    ready.append(_Ready("knn", "kNN", KnnMatcher.fit(gallery)))
    for name, title, fit in _CLASSIFIERS if gallery.n_people >= MIN_PEOPLE else ():
        started = perf_counter()
        matcher = fit(gallery)
        ready.append(_Ready(name, title, matcher, perf_counter() - started))
    return ready


def _measure(way: Way, ready: _Ready, searches: Searches, seed: int, search_us: float | None) -> _Measured:
    mated = image_scores(ready.matcher.search(searches.mated), searches.mated)
    strangers = wrong_name_scores(ready.matcher.search(searches.strangers), searches.strangers)
    found = OpenSetSearches(
        MatedSearches(mated.own, mated.is_found, searches.mated.people),
        NonMatedSearches(strangers, searches.strangers.people),
    )
    row = FusionRow(
        fusion=way.name,
        matcher=ready.name,
        title=f"{way.title}, {ready.title}",
        is_default=(way.name, ready.name) == DEFAULT,
        fnir=fnir_at_fpir_interval(found, DEFAULT_FPIR, seed=seed),
        difference=None,
        rank1=bootstrap_by_person(mated.is_found, searches.mated.people, seed=seed),
        n_bytes=ready.matcher.n_bytes / searches.gallery.n_people,
        search_us=search_us,
        fit_s=way.fit_s if ready.fit_s is None else ready.fit_s,
        setting=", ".join(filter(None, (way.setting, ready.matcher.setting))),
    )
    return _Measured(row, found)


def _compared(each: _Measured, default: _Measured, seed: int) -> FusionRow:
    if each is default:
        return each.row
    return replace(each.row, difference=fnir_difference(each.searches, default.searches, DEFAULT_FPIR, seed=seed))


def _search_us(way: Way, matcher: Matcher, embeddings: FloatArray) -> float | None:
    """Median microseconds of a search for one face; None where no face is searched for."""
    if not len(embeddings):
        return None
    faces, taken = [_single(embedding) for embedding in embeddings], []
    for face in (*faces[:_N_WARM], *faces):
        started = perf_counter()
        matcher.search(_projected(face, way))
        taken.append(perf_counter() - started)
    return float(np.median(taken[-len(faces) :]) * 1e6)


def _single(embedding: FloatArray) -> Probes:
    place = np.zeros(1, dtype=np.int64)
    return Probes(embedding[None], np.ones(1, dtype=np.float32), place, place, np.full(1, NOBODY))

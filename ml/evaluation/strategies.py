"""Why the default is the default: ways to recognise people on one folder, each as it would be used.

Nothing is learned from strangers or probes. Each way has the threshold that it would have in use, set without looking
at the searches, where it allows that; what it would miss with the best one stands beside it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from ml.backbones.card import ScoringFacts
from ml.calibration import Calibration, gather
from ml.comparison import MatedSearches, NonMatedSearches, OpenSetSearches, fnir_at_fpir_interval
from ml.errors import ModelError, TrainingError
from ml.evaluation.enrolment import NOBODY, EnrolledPeople, Rows
from ml.evaluation.fusion_ways import LeftOut
from ml.evaluation.matchers import MIN_PEOPLE, KnnMatcher, LinearMatcher, Matcher, RuleMatcher
from ml.evaluation.searches import Probes, TopHits, image_scores, search_by_l2
from ml.evaluation.strategies_learned import EPOCHS, Base, FacePhotos, LearnedModel, Lessons, learn
from ml.evaluation.variants import DEFAULT_FPIR, Searches, customary_variant, wrong_name_scores
from ml.evidence import search_gallery
from ml.metrics import (
    NO_SCORE,
    ConfusionCounts,
    bootstrap_by_person,
    confusion_counts,
    fpir_interval,
    threshold_at_fpir,
)
from ml.training.scoring import gallery_of
from ml.training.types import Kind
from ml.types import FloatArray, Interval

_N_TIMED: Final = 200  # searches; the median of more is the same to a microsecond
_N_LEFT_OUT: Final = 150  # people, each left out of the gallery once, where a way has to be fitted anew for that
_ANY_SCORE: Final = float(np.finfo(np.float64).min)
_KINDS: Final[tuple[tuple[Kind, str], ...]] = (
    ("projection", "projection of the embeddings"),
    ("finetune", "last blocks trained further"),
    ("scratch", "small network from nothing"),
)
_FLATTERED: Final = "chosen on these very strangers, which flatters it"
_SOFTMAX_STEPS, _SOFTMAX_RATE, _SOFTMAX_MOMENTUM = 200, 2.0, 0.9


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """One way. `fpir` and `counts` are what its own `threshold` does, the note says how that was set.

    `fnir` is what it misses at FPIR 1 % exactly, with the threshold chosen on the strangers: None where no threshold
    makes it refuse anybody. `train_s` None: nothing is learned; `search_us` microseconds for one face that is embedded.
    """

    name: str
    title: str
    is_default: bool
    fnir: Interval | None
    rank1: Interval
    threshold: float
    fpir: Interval
    counts: ConfusionCounts
    train_s: float | None
    search_us: float | None
    note: str


@dataclass(frozen=True, slots=True)
class StrategyTable:
    """Every way, the product's first, and what could not be measured."""

    target_fpir: float
    rows: tuple[StrategyRow, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Contest:
    """What is measured on.

    `searches` by the network as the service runs it, `plain` by the same without mirror images, None where nobody
    needs them; `cohort` are faces to learn from besides the gallery's, `photos` where all faces are.
    """

    searches: Searches
    plain: Searches | None
    cohort: Lessons
    photos: FacePhotos
    base: Base


@dataclass(frozen=True, slots=True, eq=False)
class SoftmaxMatcher:
    """The usual classifier with one output for each person: its best answer is always somebody's name.

    The score is the highest probability, 0..1.
    """

    weight: FloatArray
    bias: FloatArray
    setting: str = ""

    @property
    def n_bytes(self) -> int:
        return self.weight.nbytes + self.bias.nbytes

    @classmethod
    def fit(cls, people: EnrolledPeople, seed: int) -> "SoftmaxMatcher":
        """Train the layer on a gallery of two people or more: cross-entropy, all faces at once, with momentum."""
        middle = people.embeddings.mean(axis=0)
        spread = np.float32(max(1e-6, float((people.embeddings - middle).std())))
        faces = (people.embeddings - middle) / spread
        faces = np.hstack([faces, np.ones((len(faces), 1), np.float32)])  # the last weight is the bias
        wanted = np.eye(people.n_people, dtype=np.float32)[people.person_rows]
        weight = np.random.default_rng(seed).normal(0, 0.01, (people.n_people, faces.shape[1])).astype(np.float32)
        moved = np.zeros_like(weight)
        for _ in range(_SOFTMAX_STEPS):
            gradient = (softmax(faces @ weight.T, axis=1) - wanted).T @ faces / len(faces)
            moved = _SOFTMAX_MOMENTUM * moved - _SOFTMAX_RATE * gradient
            weight += moved
        layer = (weight[:, :-1] / spread).astype(np.float32)
        return cls(layer, np.asarray(weight[:, -1] - layer @ middle, dtype=np.float32))

    def search(self, probes: Probes) -> TopHits:
        if not len(probes.embeddings):
            return TopHits(np.empty(0, np.int64), np.empty(0))
        shares = softmax((probes.embeddings @ self.weight.T + self.bias).astype(np.float64), axis=1)
        return TopHits(shares.argmax(axis=1), shares.max(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class _DistanceMatcher:
    """The nearest raw vector; the score is the distance, negative."""

    people: EnrolledPeople
    setting: str = ""

    @property
    def n_bytes(self) -> int:
        return self.people.embeddings.nbytes

    def search(self, probes: Probes) -> TopHits:
        return search_by_l2(probes, self.people)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A way made ready; `threshold` None: it is set on the searches. A way without `can_refuse` names everybody."""

    name: str
    title: str
    matcher: Matcher
    searches: Searches
    threshold: float | None
    train_s: float | None
    note: str
    can_refuse: bool = True


def compare_strategies(contest: Contest, seed: int) -> StrategyTable:
    """Measure every way.

    Args:
        contest: what to measure on.
        seed: of the draws and of what is learned.
    """
    gallery = contest.searches.gallery
    if gallery.n_people < MIN_PEOPLE:
        reason = f"they tell {MIN_PEOPLE} people or more apart, and {gallery.n_people} enrolled"
        return StrategyTable(DEFAULT_FPIR, (), (LeftOut("all ways", reason),))
    left_out: list[LeftOut] = []
    entries = [_product(contest), *_customary(contest, left_out), *_classifiers(contest, seed)]
    for kind, title in _KINDS:
        try:
            entries.append(_learned(kind, title, contest, seed))
        except (TrainingError, ModelError) as error:
            left_out.append(LeftOut(title, str(error)))
    with threadpool_limits(limits=1):  # searches are timed on one thread
        rows = tuple(_measure(entry, seed, is_default=entry is entries[0]) for entry in entries)
    return StrategyTable(DEFAULT_FPIR, rows, tuple(left_out))


def self_tuned_threshold(gallery: EnrolledPeople, scoring: ScoringFacts) -> float:
    """The threshold that the service sets by itself: the gallery searched with its own templates, and the prior."""
    snapshot = gallery.snapshot("")
    found = search_gallery(snapshot, snapshot.person_rows, scoring.rule)
    evidence = gather(found, len(snapshot.template_ids), scoring.prior)
    return Calibration(evidence, scoring.prior).threshold(DEFAULT_FPIR)


def lessons_of(contest: Contest) -> Lessons:
    """Whom the protocol allows to learn from: those who enrolled, by their templates, and the cohort."""
    gallery, cohort = contest.searches.gallery, contest.cohort
    embeddings = np.concatenate([gallery.embeddings, cohort.embeddings.reshape(-1, gallery.embeddings.shape[1])])
    return Lessons(embeddings, np.concatenate([gallery.person_rows, gallery.n_people + cohort.people]))


def embedded_again(searches: Searches, learned: LearnedModel) -> Searches:
    """The same searches by another network."""
    templates = learned.embed_again(searches.gallery.embeddings)
    return Searches(
        replace(gallery_of(templates, searches.gallery.person_rows), qualities=searches.gallery.qualities),
        _probes_again(searches.mated, learned),
        _probes_again(searches.strangers, learned),
    )


def _probes_again(probes: Probes, learned: LearnedModel) -> Probes:
    """Without any face their width is unknown."""
    if not len(probes.embeddings):
        return probes
    return replace(probes, embeddings=learned.embed_again(probes.embeddings), lengths=np.ones_like(probes.lengths))


def _product(contest: Contest) -> _Entry:
    card, searches = contest.base.card, contest.searches
    scoring = ScoringFacts(card.score_rule, card.pair_bounds, card.prior, card.look_alike_margin)
    return _Entry(
        "product",
        "feature extractor, self-tuned threshold",
        RuleMatcher(searches.gallery, card.score_rule),
        searches,
        self_tuned_threshold(searches.gallery, scoring),
        None,
        "Threshold: set by the service itself, from the gallery and the model card; nothing is learned.",
    )


def _customary(contest: Contest, left_out: list[LeftOut]) -> Iterator[_Entry]:
    title = "nearest template, fixed tolerance"
    variant = customary_variant(contest.base.card.name)
    if variant is None or contest.plain is None or variant.fixed_threshold is None:
        left_out.append(LeftOut(title, f"no tolerance is customary for {contest.base.card.name}"))
        return
    yield _Entry(
        "nearest-fixed",
        title,
        _DistanceMatcher(contest.plain.gallery),
        contest.plain,
        variant.fixed_threshold,
        None,
        f"Threshold: the customary distance of {-variant.fixed_threshold:g}, wherever it is used.",
    )


def _classifiers(contest: Contest, seed: int) -> Iterator[_Entry]:
    searches, gallery = contest.searches, contest.searches.gallery
    tuned = threshold_at_fpir(_left_out_scores(KnnMatcher.fit, gallery, seed), DEFAULT_FPIR)
    knn = KnnMatcher.fit(gallery)
    note = "Threshold: each enrolled person searched in the gallery without them."
    yield _Entry("knn", f"kNN, {knn.setting}", knn, searches, tuned, None, note)
    note = f"Threshold: {_FLATTERED}: fitting anew without each person takes hours."
    for name, title, fit in (
        ("svm", "linear SVM", LinearMatcher.fit_svm),
        ("logistic", "logistic regression", LinearMatcher.fit_logistic),
    ):
        matcher, seconds = _timed(lambda fit=fit: fit(gallery))  # type: ignore[misc]
        yield _Entry(name, f"{title}, {matcher.setting}", matcher, searches, None, seconds, note)
    classifier, seconds = _timed(lambda: SoftmaxMatcher.fit(gallery, seed))
    note = "It has no way to say UNKNOWN: the most probable of those who enrolled is named, whoever it is."
    yield _Entry("softmax", "softmax classifier", classifier, searches, _ANY_SCORE, seconds, note, can_refuse=False)


def _learned(kind: Kind, title: str, contest: Contest, seed: int) -> _Entry:
    lessons = lessons_of(contest)
    model = learn(kind, lessons, contest.photos, contest.base, seed)
    searches = embedded_again(contest.searches, model)
    how = "set as by the service" if model.is_tunable else f"{_FLATTERED}: by itself it recognises too few to set one"
    note = f"Threshold: {how}. Learned from " + (
        f"{model.n_faces} of {len(lessons.people)} faces" if model.n_faces < len(lessons.people) else "all"
    )
    note += " of the gallery and the cohort"
    if EPOCHS[kind] is not None:
        note += f", for {EPOCHS[kind]} epochs at most: longer may be better, and takes longer than an evaluation should"
    return _Entry(
        kind,
        title,
        RuleMatcher(searches.gallery, model.scoring.rule),
        searches,
        self_tuned_threshold(searches.gallery, model.scoring) if model.is_tunable else None,
        model.trained.seconds,
        f"{note}.",
    )


def _timed(fit: Callable[[], Matcher]) -> tuple[Matcher, float]:
    started = perf_counter()
    matcher = fit()
    return matcher, perf_counter() - started


def _left_out_scores(
    fit: Callable[[EnrolledPeople], Matcher], gallery: EnrolledPeople, seed: int
) -> NDArray[np.float64]:
    """What templates score in the gallery without their person: some people's, where there are many."""
    everybody = np.arange(gallery.n_people)
    generator = np.random.default_rng(seed)
    chosen = generator.choice(everybody, min(_N_LEFT_OUT, len(everybody)), replace=False)
    scores = []
    for person in chosen:
        own = gallery.embeddings[gallery.person_rows == person]
        matcher = fit(gallery.only(everybody[everybody != person]))
        scores.append(matcher.search(_strangers(own)).scores)
    return np.concatenate(scores)


def _measure(entry: _Entry, seed: int, *, is_default: bool) -> StrategyRow:
    searches = entry.searches
    mated = image_scores(entry.matcher.search(searches.mated), searches.mated)
    strangers = wrong_name_scores(entry.matcher.search(searches.strangers), searches.strangers)
    threshold = threshold_at_fpir(strangers, DEFAULT_FPIR) if entry.threshold is None else entry.threshold
    scores, is_right = mated.at(threshold)
    found = OpenSetSearches(
        MatedSearches(mated.own, mated.is_found, searches.mated.people),
        NonMatedSearches(strangers, searches.strangers.people),
    )
    return StrategyRow(
        name=entry.name,
        title=entry.title,
        is_default=is_default,
        fnir=fnir_at_fpir_interval(found, DEFAULT_FPIR, seed=seed) if entry.can_refuse else None,
        rank1=bootstrap_by_person(mated.own > NO_SCORE, searches.mated.people, seed=seed),
        threshold=threshold,
        fpir=fpir_interval(strangers, threshold, searches.strangers.people),
        counts=confusion_counts(scores, is_right, strangers, threshold),
        train_s=entry.train_s,
        search_us=_search_us(entry.matcher, searches.mated.embeddings[:_N_TIMED]),
        note=entry.note,
    )


def _search_us(matcher: Matcher, embeddings: FloatArray) -> float | None:
    """Median microseconds of a search for one face; None where no face is searched for."""
    if not len(embeddings):
        return None
    taken = []
    for embedding in embeddings:
        face = _strangers(embedding[None])
        started = perf_counter()
        matcher.search(face)
        taken.append(perf_counter() - started)
    return float(np.median(taken) * 1e6)


def _strangers(embeddings: FloatArray) -> Probes:
    """Photos with one face each."""
    photos: Rows = np.arange(len(embeddings), dtype=np.int64)
    return Probes(embeddings, np.ones(len(photos), np.float32), photos, photos, np.full(len(photos), NOBODY))

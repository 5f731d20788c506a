"""One decision from several frames: how the product pools a tracked face, beside other ways, at the same threshold.

Photos stand in for frames: the probes of an enrolled person are one mated track, the photos of a person of the cohort,
who is enrolled nowhere, one non-mated track. They agree less with each other than the frames of a clip do.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.backbones.card import ModelCard
from ml.comparison import Difference
from ml.evaluation.enrolment import Rows, Seen
from ml.evaluation.fusion_ways import LeftOut
from ml.evaluation.samples import Analyzed, main_face
from ml.evaluation.searches import search
from ml.evaluation.variants import DEFAULT_FPIR, PRODUCT, Searches, wrong_name_scores
from ml.gallery import Gallery, PersonHits
from ml.intervals import bootstrap_by_person, chunks, draw_people, wilson
from ml.metrics import fpir_interval, threshold_at_fpir
from ml.quality import ENROLL_LIMITS, reasons_against
from ml.scoring import rank_candidates
from ml.tracking import Sightings, Track, TrackedFace, pool_track
from ml.types import Interval, Sample, ScoreRule

_Flags: TypeAlias = NDArray[np.bool_]

BEST: Final = "best"
TITLES: Final = {
    BEST: "best single frame (highest quality)",
    PRODUCT: "mean embedding at its own length",
    "unit": "mean embedding at unit length",
    "mean": "mean of the frames' scores",
    "median": "median of the frames' scores",
    "any": "best score of any frame",
}
POOLING_TITLE: Final = "One decision from several frames"
_MIN_FRAMES, _MAX_FRAMES = 2, 8  # with one there is nothing to pool, and `pool_track` counts no more than eight
_N_NEAREST: Final = 8  # people that are searched for; the two that scoring needs are among them
_N_RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Stand-ins for `tracks`, of those of `n_people` with enough usable photos.

    `own_rows (n,)` are their people's rows in the gallery, NOBODY for strangers and failures to enrol.
    """

    tracks: Sequence[Track]
    own_rows: Rows
    n_people: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Who a track is said to be: the person at rank 1, with the decision score."""

    person_id: str
    score: float


@dataclass(frozen=True, slots=True)
class PoolingRow:
    """One way to pool. `difference` is how much more it misses than the best single frame, None for that one."""

    way: str
    title: str
    is_product: bool
    fpir: Interval
    fnir: Interval
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class PoolingTable:
    """Every way at the `threshold` that names `target_fpir` of strangers by a single photo each."""

    target_fpir: float
    threshold: float
    n_mated: int
    n_non_mated: int
    rows: tuple[PoolingRow, ...]

    @property
    def best(self) -> PoolingRow:
        """The row of the best single frame."""
        return next(row for row in self.rows if row.way == BEST)

    @property
    def product(self) -> PoolingRow:
        """The row of what the service does."""
        return next(row for row in self.rows if row.is_product)

    @property
    def is_no_worse(self) -> bool:
        """Whether the product misses no more than the best single frame does."""
        return self.product.fnir.value <= self.best.fnir.value

    @property
    def is_promise_kept(self) -> bool:
        """Whether the product names no more strangers than promised."""
        return self.product.fpir.value <= self.target_fpir

    @property
    def breaking(self) -> tuple[str, ...]:
        """Titles of the rows that name more strangers than promised, beyond chance."""
        return tuple(row.title for row in self.rows if row.fpir.low > self.target_fpir)

    @property
    def verdict(self) -> str:
        """What the table says about the product, and who breaks the promise, in words."""
        others = [title for title in self.breaking if title != self.product.title]
        told = f" More strangers than promised are named, beyond chance, by {'; '.join(others)}." if others else ""
        return f"{self._on_misses()} {self._on_promise()}{told}"

    def _on_misses(self) -> str:
        ours, best, apart = self.product.fnir.value, self.best.fnir.value, self.product.difference
        words = "no worse than" if self.is_no_worse else "WORSE than"
        is_sure = apart is not None and not apart.low <= 0 <= apart.high
        chance = "beyond" if is_sure else "within"
        return (
            f"The product's pooling ({self.product.title}) is {words} the best single frame: it misses "
            f"{100 * ours:.1f} % of tracks, that one {100 * best:.1f} %, a difference {chance} chance."
        )

    def _on_promise(self) -> str:
        is_broken = self.product.title in self.breaking
        broken = "BREAKS the promise" if is_broken else "is above what is promised, but not beyond chance"
        words = "keeps the promise" if self.is_promise_kept else broken
        shown, promised = 100 * self.product.fpir.value, 100 * self.target_fpir
        return f"It {words}: {shown:.1f} % of strangers' tracks are named, {promised:g} % were promised."


def stand_ins(photos: Sequence[Sequence[Path]], own_rows: Rows, seen: Seen) -> Tracks:
    """Make a track of the main faces in each person's photos; none of people with fewer than two clear ones.

    Args:
        photos: for each person.
        own_rows: `(P,)` the person's row in the gallery, or NOBODY.
        seen: what is in the photos.
    """
    clear = [_clear_faces([seen[path] for path in own]) for own in photos]
    is_enough = np.array([len(own) >= _MIN_FRAMES for own in clear], dtype=np.bool_)
    return Tracks([as_track(own) for own in clear if len(own) >= _MIN_FRAMES], own_rows[is_enough], len(photos))


def as_track(samples: Sequence[Sample]) -> Track:
    """A track of clear faces, a frame a second; at least one."""
    n, frames = len(samples), np.arange(len(samples))
    embeddings = np.array([sample.embedding for sample in samples], dtype=np.float32)
    sightings = Sightings(
        index=frames,
        time_s=frames.astype(np.float64),
        boxes_xyxy=np.array([sample.face.box_xyxy for sample in samples], dtype=np.float32),
        prominence=np.ones(n, dtype=np.float32),  # each is what its photo is about; pooling does not look at it
        reasons=(None,) * n,
    )
    faces = tuple(TrackedFace(i, float(i), sample, None) for i, sample in enumerate(samples))
    return Track(faces, sightings, embeddings.mean(axis=0), n)


def compare_pooling(
    searches: Searches, known: Tracks, strangers: Tracks, card: ModelCard, seed: int
) -> PoolingTable | LeftOut:
    """Measure every way to pool.

    Args:
        searches: the gallery, and the strangers' photos that set the threshold.
        known: tracks of enrolled people.
        strangers: tracks of the cohort.
        card: of the backbone.
        seed: of the draws.

    Returns:
        The table, or why there is none.
    """
    if missing := _missing(searches, known, strangers):
        return LeftOut(POOLING_TITLE, missing)
    rule, gallery = card.score_rule, searches.gallery.index(card.model)
    singles = wrong_name_scores(search(searches.strangers, searches.gallery, rule), searches.strangers)
    threshold = threshold_at_fpir(singles, DEFAULT_FPIR)
    mated, non_mated = ([answers(track, gallery, rule) for track in each.tracks] for each in (known, strangers))
    rows = _rows(_missed(mated, known.own_rows, threshold), non_mated, threshold, seed)
    return PoolingTable(DEFAULT_FPIR, threshold, len(mated), len(non_mated), rows)


def answers(track: Track, gallery: Gallery, rule: ScoreRule) -> dict[str, Answer]:
    """What each way makes of a track, searched in a gallery of at least one person."""
    pooled = pool_track(track)
    frames = [face.sample.embedding for face in track.faces]
    whole, *hits = gallery.search(np.array([pooled.embedding, *frames], dtype=np.float32), _N_NEAREST)
    single = [_answer(each, rule) for each in hits]
    return {
        BEST: single[track.faces.index(pooled.best)],
        PRODUCT: _answer(whole, rule, pooled.agreement),
        "unit": _answer(whole, rule),
        "mean": _together(single, np.mean),
        "median": _together(single, np.median),
        "any": max(single, key=lambda each: each.score),
    }


def paired_difference(missed: _Flags, missed_before: _Flags, seed: int) -> Difference:
    """How much more of the same tracks `(n,)` one way misses than another.

    Each track is one person, so that tracks are drawn again. Where none ends differently, that shows no spread: then
    as far as Wilson's interval for no hit reaches.
    """
    apart = missed.astype(np.float64) - missed_before
    n, value = len(apart), float(apart.mean())
    if not apart.any():
        spread = wilson(0, n).high
        return Difference(0.0, -spread, spread)
    generator = np.random.default_rng(seed)
    drawn = [draw_people(generator, n, part) @ apart / n for part in chunks(_N_RESAMPLES, n)]
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return Difference(value, min(value, float(low)), max(value, float(high)))


def _missing(searches: Searches, known: Tracks, strangers: Tracks) -> str | None:
    """What the table cannot be made without."""
    if not searches.gallery.n_people:
        return "nobody could be enrolled"
    if not strangers.n_people:
        return "the protocol has no cohort, whose photos stand in for the frames of strangers"
    if not strangers.tracks:
        return f"nobody in the cohort has {_MIN_FRAMES} usable photos"
    return None if known.tracks else f"nobody is searched for with {_MIN_FRAMES} usable photos"


def _missed(mated: Sequence[dict[str, Answer]], own_rows: Rows, threshold: float) -> dict[str, _Flags]:
    """Per way, which tracks are not given the name of their own person."""
    people = [str(row) for row in own_rows]

    def is_missed(answer: Answer, own: str) -> bool:
        return answer.person_id != own or answer.score < threshold

    return {
        way: np.array([is_missed(each[way], own) for each, own in zip(mated, people, strict=True)]) for way in TITLES
    }


def _rows(
    missed: dict[str, _Flags], non_mated: Sequence[dict[str, Answer]], threshold: float, seed: int
) -> tuple[PoolingRow, ...]:
    people, strangers = np.arange(len(missed[BEST])), np.arange(len(non_mated))  # one track each
    return tuple(
        PoolingRow(
            way=way,
            title=title,
            is_product=way == PRODUCT,
            fpir=fpir_interval([each[way].score for each in non_mated], threshold, strangers),
            fnir=bootstrap_by_person(missed[way], people, seed=seed),
            difference=None if way == BEST else paired_difference(missed[way], missed[BEST], seed),
        )
        for way, title in TITLES.items()
    )


def _clear_faces(photos: Sequence[Analyzed]) -> list[Sample]:
    """What a tracker would call clear: only such faces are pooled, as long as there are any."""
    mains = [sample for photo in photos for sample in main_face(photo).photo.samples]
    return [sample for sample in mains if not reasons_against(sample.quality, ENROLL_LIMITS)][:_MAX_FRAMES]


def _answer(hits: PersonHits, rule: ScoreRule, agreement: float = 1.0) -> Answer:
    [first] = rank_candidates(hits, rule, 1, agreement)
    return Answer(first.person_id, first.score)


def _together(single: Sequence[Answer], summarize: Callable[[list[float]], np.floating[Any]]) -> Answer:
    """The person whom most frames name, among equals whom the surest frame names, and what all scores come to."""
    votes = Counter(each.person_id for each in single)
    first = max(single, key=lambda each: (votes[each.person_id], each.score))
    return Answer(first.person_id, float(summarize([each.score for each in single])))

"""Probes searched in a gallery, and the outcome of an image as the service decides it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.enrolment import NOBODY, EnrolledPeople, Rows, Seen
from ml.metrics import NO_SCORE
from ml.quality import SEARCH_LIMITS, reasons_against
from ml.scoring import decision_scores, person_scores
from ml.types import FloatArray, ScoreRule

_Doubles: TypeAlias = NDArray[np.float64]
_Flags: TypeAlias = NDArray[np.bool_]

_CHUNK_VALUES: Final = 20_000_000  # cosines held at once: 80 MB


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Photos by what was found in them.

    Failures to acquire are `n_no_face`, `n_unreadable`, and `n_refused`, where no face passes the gate for searching.
    """

    n_photos: int
    n_faces: int
    n_no_face: int
    n_refused: int
    n_unreadable: int


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """Photos to search, and every face in them that the service would search.

    Per face: `embeddings (F, D)`, raw `lengths (F,)`, `photo_rows (F,)`. Per photo: `people (P,)`, a number for whose
    it is, and `own_rows (P,)`, that person's row in the gallery; NOBODY for strangers and failures to enrol.
    """

    embeddings: FloatArray
    lengths: FloatArray
    photo_rows: Rows
    people: Rows
    own_rows: Rows

    @property
    def n_photos(self) -> int:
        return len(self.people)

    def only(self, photos: _Flags, own_rows: Rows) -> "Probes":
        """The flagged photos, with new `own_rows` for them."""
        faces = photos[self.photo_rows]
        new_rows = np.cumsum(photos) - 1
        return Probes(
            self.embeddings[faces],
            self.lengths[faces],
            new_rows[self.photo_rows[faces]],
            self.people[photos],
            own_rows,
        )


@dataclass(frozen=True, slots=True, eq=False)
class TopHits:
    """The rank 1 candidate of each face: `rows (F,)` in the gallery and `scores (F,)`; of an empty gallery NOBODY."""

    rows: Rows
    scores: _Doubles


@dataclass(frozen=True, slots=True, eq=False)
class ImageScores:
    """Per photo the highest score that gives one of its faces the name of its own person, and of another one.

    A photo is identified when any face gets the right name, and misidentified when only wrong names are given.
    """

    own: _Doubles
    other: _Doubles

    @property
    def is_found(self) -> _Flags:
        """Whether a face has the right person at rank 1."""
        return self.own > NO_SCORE

    def at(self, threshold: float) -> tuple[_Doubles, _Flags]:
        """Score, and whether it names the right person, of the candidate that decides at this threshold."""
        is_right = self.own >= threshold
        return np.where(is_right, self.own, self.other), is_right


Scorer: TypeAlias = Callable[[Probes, EnrolledPeople], TopHits]


def make_probes(photos: Sequence[Path], seen: Seen, people: Rows, own_rows: Rows) -> tuple[Probes, Acquisition]:
    """Collect the faces to search.

    Args:
        photos: P photos.
        seen: what is in them.
        people: `(P,)` whose they are.
        own_rows: `(P,)` that person's row in the gallery, or NOBODY.
    """
    faces = [
        (row, sample, length)
        for row, path in enumerate(photos)
        for sample, length in zip(seen[path].photo.samples, seen[path].lengths, strict=True)
        if not reasons_against(sample.quality, SEARCH_LIMITS)
    ]
    embeddings = np.array([sample.embedding for _, sample, _ in faces], dtype=np.float32)
    probes = Probes(
        embeddings=embeddings if faces else np.empty((0, 0), dtype=np.float32),
        lengths=np.array([length for _, _, length in faces], dtype=np.float32),
        photo_rows=np.array([row for row, _, _ in faces], dtype=np.int64),
        people=people,
        own_rows=own_rows,
    )
    return probes, _acquisition(photos, seen, n_searched=len({row for row, _, _ in faces}))


def search(probes: Probes, gallery: EnrolledPeople, rule: ScoreRule) -> TopHits:
    """Search every face exactly, and score it as `ml.scoring.rank_candidates` does."""
    if not gallery.n_people:
        return _nobody(probes)
    parts = [_search(chunk, gallery, rule) for chunk in _chunks(probes.embeddings, len(gallery.embeddings))]
    return _joined(parts)


def search_by_l2(probes: Probes, gallery: EnrolledPeople) -> TopHits:
    """Search for the nearest raw vector by Euclidean distance; the score is the distance, negative."""
    if not gallery.n_people:
        return _nobody(probes)
    templates = gallery.embeddings * gallery.lengths[:, None]
    raw = probes.embeddings * probes.lengths[:, None]
    parts = []
    for chunk in _chunks(raw, len(templates)):
        squared = (chunk**2).sum(1)[:, None] - 2 * chunk @ templates.T + (templates**2).sum(1)
        nearest = squared.argmin(axis=1)
        distance = np.sqrt(np.maximum(squared[np.arange(len(chunk)), nearest], 0.0))
        parts.append(TopHits(gallery.person_rows[nearest], -distance.astype(np.float64)))
    return _joined(parts)


def image_scores(hits: TopHits, probes: Probes) -> ImageScores:
    """Put the faces of each photo together; NO_SCORE where no face has the right, or a wrong, person at rank 1."""
    is_own = (hits.rows == probes.own_rows[probes.photo_rows]) & (hits.rows != NOBODY)
    own, other = (np.full(probes.n_photos, NO_SCORE) for _ in range(2))
    np.maximum.at(own, probes.photo_rows[is_own], hits.scores[is_own])
    np.maximum.at(other, probes.photo_rows[~is_own], hits.scores[~is_own])
    return ImageScores(own, other)


def _search(embeddings: FloatArray, gallery: EnrolledPeople, rule: ScoreRule) -> TopHits:
    starts = np.searchsorted(gallery.person_rows, np.arange(gallery.n_people))
    best = np.maximum.reduceat(embeddings @ gallery.embeddings.T, starts, axis=1)
    scores = person_scores(embeddings @ gallery.centroids.T, best, rule)
    faces, rows = np.arange(len(scores)), scores.argmax(axis=1)
    own = scores[faces, rows]
    scores[faces, rows] = -np.inf
    return TopHits(rows, decision_scores(own, scores.max(axis=1), rule).astype(np.float64))


def _nobody(probes: Probes) -> TopHits:
    n = len(probes.photo_rows)
    return TopHits(np.full(n, NOBODY), np.full(n, NO_SCORE))


def _chunks(vectors: FloatArray, n_templates: int) -> Iterator[FloatArray]:
    at_once = max(1, _CHUNK_VALUES // n_templates)
    for start in range(0, len(vectors), at_once):
        yield vectors[start : start + at_once]


def _joined(parts: Sequence[TopHits]) -> TopHits:
    rows = np.concatenate([np.empty(0, np.int64), *(part.rows for part in parts)])
    return TopHits(rows, np.concatenate([np.empty(0), *(part.scores for part in parts)]))


def _acquisition(photos: Sequence[Path], seen: Seen, n_searched: int) -> Acquisition:
    n_unreadable = sum(seen[path].error is not None for path in photos)
    n_empty = sum(not seen[path].photo.samples for path in photos)
    return Acquisition(
        n_photos=len(photos),
        n_faces=sum(len(seen[path].photo.samples) for path in photos),
        n_no_face=n_empty - n_unreadable,
        n_refused=len(photos) - n_empty - n_searched,
        n_unreadable=n_unreadable,
    )

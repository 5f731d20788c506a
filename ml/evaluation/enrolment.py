"""Samples of known people -> the gallery, by the service's own rules for enrolling."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.enrolling import choose_samples, fuse
from ml.evaluation.samples import Analyzed
from ml.gallery import Gallery, GallerySnapshot
from ml.quality import ENROLL_LIMITS
from ml.types import FloatArray, PairBounds, Sample

Rows: TypeAlias = NDArray[np.int64]
Seen: TypeAlias = Mapping[Path, Analyzed]

NOBODY: Final = -1
_NO_TEMPLATES: Final = np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledPeople:
    """Templates `embeddings (T, D)` of people 0..N-1, sorted by `person_rows (T,)`.

    `lengths (T,)` are those of the raw vectors they were made from, `qualities (T,)` 0..1 those of their faces,
    `centroids (N, D)` the fused templates.
    """

    person_rows: Rows
    embeddings: FloatArray
    lengths: FloatArray
    qualities: FloatArray
    centroids: FloatArray

    @property
    def n_people(self) -> int:
        return len(self.centroids)

    def only(self, rows: Rows) -> "EnrolledPeople":
        """A smaller gallery of the people in `rows`, who become 0, 1, 2 … in that order."""
        templates = [np.flatnonzero(self.person_rows == row) for row in rows]
        chosen = np.concatenate([*templates, np.empty(0, np.int64)])
        numbers = np.repeat(np.arange(len(rows)), [len(own) for own in templates])
        return EnrolledPeople(
            numbers, self.embeddings[chosen], self.lengths[chosen], self.qualities[chosen], self.centroids[rows]
        )

    def snapshot(self, model: str) -> GallerySnapshot:
        """The same as the service's gallery hands it out; people are called by their row."""
        names = tuple(str(row) for row in range(self.n_people))
        ids = np.arange(len(self.embeddings), dtype=np.int64)
        return GallerySnapshot(model, ids, self.person_rows, names, self.embeddings)

    def index(self, model: str) -> Gallery:
        """The service's gallery itself, filled with the same people."""
        gallery = Gallery(model=model, dim=self.embeddings.shape[1])
        names = [str(row) for row in self.person_rows]
        gallery.add(list(range(len(names))), names, self.embeddings, model)
        return gallery


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """Who could be enrolled.

    `rows` is the row of each person in `people`, NOBODY for a failure to enrol; `n_refused` counts by reason the
    photos that were not used.
    """

    people: EnrolledPeople
    rows: Rows
    n_refused: Mapping[str, int]

    @property
    def n_failed(self) -> int:
        """Failures to enrol."""
        return int((self.rows == NOBODY).sum())


def enrol(photos: Sequence[Sequence[Path]], seen: Seen, bounds: PairBounds, dim: int) -> Enrolment:
    """Enrol people.

    Args:
        photos: for each person the photos to enrol from.
        seen: what is in them.
        bounds: of the backbone's card.
        dim: D of its embeddings.
    """
    refused: Counter[str] = Counter()
    chosen = [_choose([seen[path] for path in own], bounds, refused) for own in photos]
    is_enrolled = np.array([bool(own) for own in chosen], dtype=np.bool_)
    rows = np.where(is_enrolled, np.cumsum(is_enrolled) - 1, NOBODY)
    return Enrolment(_people([own for own in chosen if own], dim), rows, dict(refused))


def _choose(photos: Sequence[Analyzed], bounds: PairBounds, refused: Counter[str]) -> list[tuple[Sample, float]]:
    """The samples to enrol, with the lengths of their raw vectors."""
    readable = [photo for photo in photos if photo.error is None]
    refused.update(photo.error for photo in photos if photo.error is not None)
    if not readable:
        return []
    choice = choose_samples([photo.photo for photo in readable], _NO_TEMPLATES, ENROLL_LIMITS, bounds)
    refused.update(reason.value for reason in choice.rejected.values())
    return [(sample, _length(readable[number], sample)) for number, sample in choice.kept.items()]


def _length(photo: Analyzed, sample: Sample) -> float:
    pairs = zip(photo.photo.samples, photo.lengths, strict=True)
    return next(length for candidate, length in pairs if candidate is sample)


def _people(chosen: Sequence[Sequence[tuple[Sample, float]]], dim: int) -> EnrolledPeople:
    templates = [np.array([sample.embedding for sample, _ in own], dtype=np.float32) for own in chosen]
    none = np.empty((0, dim), dtype=np.float32)
    return EnrolledPeople(
        person_rows=np.repeat(np.arange(len(chosen), dtype=np.int64), [len(own) for own in chosen]),
        embeddings=np.concatenate([*templates, none]),
        lengths=np.array([length for own in chosen for _, length in own], dtype=np.float32),
        qualities=np.array([sample.quality.score for own in chosen for sample, _ in own], dtype=np.float32),
        centroids=np.array([fuse(own) for own in templates], dtype=np.float32).reshape(len(chosen), dim),
    )

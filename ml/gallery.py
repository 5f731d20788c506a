"""Embeddings -> nearest templates and people.

FAISS, which `ml.nearest` searches with, accepts in silence what would break the promise about strangers, so every door
is guarded here: a NaN probe would come back like a stranger, a repeated id would be stored twice, and a vector that is
not of unit length would change the meaning of the score.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ml.errors import GalleryError
from ml.nearest import DEFAULT_PLAN, IndexState, Lock, NearestIndex, SearchPlan
from ml.types import FloatArray

# float32 unit vectors that went through storage and back are within a few 1e-7; bf16 networks within 1e-3 before
# they are normalised again.
_UNIT_TOLERANCE = 1e-3
# People whose templates are looked at together: some 50 MB of embeddings.
_PEOPLE_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class GallerySnapshot:
    """Everything a gallery holds, row by row, ordered by template id: a copy, safe to use in another thread.

    `template_ids (T,)` int64, `person_rows (T,)` int64 into `person_ids`, `embeddings (T, D)` float32 unit-norm.
    """

    model: str
    template_ids: NDArray[np.int64]
    person_rows: NDArray[np.int64]
    person_ids: tuple[str, ...]
    embeddings: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class GalleryContents:
    """What a gallery holds, without the embeddings themselves, ordered by template id.

    `template_ids (T,)` int64, `person_ids` T ids, `checksums (T,)` uint64 of each embedding's bytes.
    """

    template_ids: NDArray[np.int64]
    person_ids: tuple[str, ...]
    checksums: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class GalleryIndexes:
    """How the templates are searched, and how the people by their fused templates."""

    templates: IndexState
    people: IndexState


@dataclass(frozen=True, slots=True, eq=False)
class PersonHits:
    """The people nearest to one probe, best first.

    `person_ids` K ids, `centroid_scores (K,)` cosine -1..1 to the person's fused template, `best_scores (K,)`
    cosine to their nearest template, `template_ids (K,)` that nearest template. K is 0 for an empty gallery.
    """

    person_ids: tuple[str, ...]
    centroid_scores: FloatArray
    best_scores: FloatArray
    template_ids: NDArray[np.int64]

    def without(self, person_id: str) -> "PersonHits":
        """The same hits as if one person were not enrolled."""
        others = [i for i, held in enumerate(self.person_ids) if held != person_id]
        return PersonHits(
            tuple(self.person_ids[i] for i in others),
            self.centroid_scores[others],
            self.best_scores[others],
            self.template_ids[others],
        )


class Gallery:
    """The enrolled templates, and inner-product search over templates and over people.

    Each person's templates are also fused into one, their normalised mean: scoring needs both. The search is exact
    until `build_codes` was called in a large gallery; its scores are exact always. Not safe for use from several
    threads at once; its owner holds a lock.
    """

    def __init__(self, *, model: str, dim: int, plan: SearchPlan = DEFAULT_PLAN) -> None:
        """Make an empty gallery for embeddings `(dim,)` of the backbone version `model`, searched as planned."""
        self.model = model
        self.dim = dim
        self._templates = NearestIndex(dim, plan)
        self._centroids = NearestIndex(dim, plan)
        self._person_of: dict[int, int] = {}
        self._templates_of: dict[int, list[int]] = {}
        self._numbers: dict[str, int] = {}
        self._ids: list[str] = []  # person number -> id; numbers are never reused, so a stale one cannot mislead

    @property
    def n_templates(self) -> int:
        return len(self._templates)

    @property
    def n_people(self) -> int:
        return len(self._centroids)

    @property
    def indexes(self) -> GalleryIndexes:
        """How it is searched, and how much of what an exact search finds that was measured to find."""
        return GalleryIndexes(self._templates.state, self._centroids.state)

    @property
    def wants_codes(self) -> bool:
        """Whether it has outgrown what it was built for, so that `build_codes` should be called."""
        return self._templates.wants_codes or self._centroids.wants_codes

    @property
    def template_ids(self) -> list[int]:
        """Every template id held, ascending."""
        return sorted(self._person_of)

    def add(self, template_ids: Sequence[int], person_ids: Sequence[str], embeddings: FloatArray, model: str) -> None:
        """Add templates; all of them or, when one is refused, none.

        Args:
            template_ids: N ids, each new to the gallery and >= 0.
            person_ids: N ids of the people they belong to.
            embeddings: `(N, D)` float32 unit-norm.
            model: backbone version that made them, e.g. "dlib-resnet/1".

        Raises:
            GalleryError: another model or dimension, a repeated id, NaN, or a vector that is not of unit length.
        """
        self._refuse_other_model(model)
        vectors = self._checked(embeddings, len(template_ids))
        repeated = len(set(template_ids)) != len(template_ids) or any(t in self._person_of for t in template_ids)
        if repeated or len(person_ids) != len(template_ids):
            raise GalleryError("a template id was offered twice; each template is added once, with one person")
        numbers = [self._number_of(person_id) for person_id in person_ids]
        self._templates.put(template_ids, vectors)
        self._person_of.update(zip(template_ids, numbers, strict=True))
        for template_id, number in zip(template_ids, numbers, strict=True):
            self._templates_of.setdefault(number, []).append(template_id)
        self._fuse(set(numbers))

    def remove(self, template_ids: Sequence[int]) -> int:
        """Remove templates; unknown ids are passed over, so that a repeated removal does no harm.

        Returns:
            How many were there.
        """
        held = [t for t in dict.fromkeys(template_ids) if t in self._person_of]
        touched = set()
        for template_id in held:
            number = self._person_of.pop(template_id)
            self._templates_of[number].remove(template_id)
            touched.add(number)
        self._templates.remove(held)
        emptied = {number for number in touched if not self._templates_of[number]}
        self._forget(emptied)
        self._fuse(touched - emptied)
        return len(held)

    def search(self, probes: FloatArray, n_candidates: int) -> list[PersonHits]:
        """Find the people nearest to each probe.

        Args:
            probes: `(M, D)` float32 unit-norm.
            n_candidates: people wanted per probe, >= 1; nearest by fused template, joined by those of the nearest
                single templates, so up to twice as many are returned.

        Returns:
            M PersonHits.

        Raises:
            GalleryError: wrong dimension, NaN, or not of unit length.
        """
        vectors = self._checked(probes, len(probes))
        if not len(vectors) or not self.n_templates:
            return [_NO_HITS for _ in vectors]
        by_centroid = self._centroids.search(vectors, n_candidates)
        by_template = self._templates.search(vectors, 2 * n_candidates)
        return [self._hits(probe, *near) for probe, *near in zip(vectors, by_centroid, by_template, strict=True)]

    def build_codes(self, lock: Lock, is_cancelled: Callable[[], bool] = lambda: False) -> None:
        """Build aside what makes a large gallery quick to search, and use it from then on; takes seconds.

        Nothing where it is not wanted, and where too little would be found with it (`ml.nearest.SearchPlan`): then the
        search stays exact.

        Args:
            lock: the owner's, not held by the caller; it is taken for moments, so that searches and changes go on.
            is_cancelled: asked now and then; once it is true, all stays as it was.
        """
        for index in (self._templates, self._centroids):
            if index.wants_codes and not is_cancelled():
                index.build_codes(lock, is_cancelled)

    def embeddings_of(self, person_id: str) -> FloatArray:
        """Return one person's templates `(n, D)` in the order they were added; `(0, D)` for a person without any."""
        number = self._numbers.get(person_id, -1)
        return self._templates.get(self._templates_of.get(number, []))

    def snapshot(self) -> GallerySnapshot:
        """Copy everything out, ordered by template id."""
        ids, numbers, embeddings = self._columns()
        order = np.argsort(ids)
        present, rows = np.unique(numbers[order], return_inverse=True)
        people = tuple(self._ids[int(n)] for n in present)
        return GallerySnapshot(self.model, ids[order], rows.astype(np.int64), people, embeddings[order])

    def contents(self) -> GalleryContents:
        """What it holds in short: enough to prove that another store holds the same."""
        ids, numbers, embeddings = self._columns()
        order = np.argsort(ids)
        people = tuple(self._ids[int(n)] for n in numbers[order])
        return GalleryContents(ids[order], people, checksums(embeddings)[order])

    def n_misfused(self) -> int:
        """How many people's fused template is not the mean of their templates: 0, unless memory was damaged."""
        n_wrong, numbers = 0, list(self._templates_of)
        for start in range(0, len(numbers), _PEOPLE_AT_ONCE):
            some = numbers[start : start + _PEOPLE_AT_ONCE]
            off = np.abs(self._centroids.get(some) - self._means(some)).max(axis=1)
            n_wrong += int((~(off <= _UNIT_TOLERANCE)).sum())  # also counts NaN
        return n_wrong

    def _hits(self, probe: FloatArray, near_people: list[int], near_templates: list[int]) -> PersonHits:
        numbers = list(dict.fromkeys([*near_people, *(self._person_of[t] for t in near_templates)]))
        # One by one: a matrix product rounds a row differently depending on which rows are beside it.
        centroid_scores = np.vecdot(self._centroids.get(numbers), probe)
        owned = [self._templates_of[number] for number in numbers]
        ids = np.array([t for own in owned for t in own], dtype=np.int64)
        scores = np.vecdot(self._templates.get(ids.tolist()), probe)
        ends = np.cumsum([len(own) for own in owned])
        best = [
            end - len(own) + int(scores[end - len(own) : end].argmax()) for own, end in zip(owned, ends, strict=True)
        ]
        return PersonHits(tuple(self._ids[n] for n in numbers), centroid_scores, scores[best], ids[best])

    def _columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
        """Template ids, person numbers and embeddings of all rows, which may still be the index's own memory."""
        keys, rows = self._templates.all()
        numbers = np.fromiter(map(self._person_of.__getitem__, keys), dtype=np.int64, count=len(keys))
        return np.array(keys, dtype=np.int64), numbers, rows

    def _forget(self, numbers: set[int]) -> None:
        self._centroids.remove(list(numbers))
        for number in numbers:
            del self._templates_of[number]
            del self._numbers[self._ids[number]]
            self._ids[number] = ""  # erasure leaves nothing behind, not even an id

    def _number_of(self, person_id: str) -> int:
        if person_id not in self._numbers:
            self._numbers[person_id] = len(self._ids)
            self._ids.append(person_id)
        return self._numbers[person_id]

    def _fuse(self, numbers: set[int]) -> None:
        people = list(numbers)
        if people:
            self._centroids.put(people, self._means(people))

    def _means(self, numbers: Sequence[int]) -> FloatArray:
        """`(len(numbers), D)` the normalised mean of each one's templates, of which everybody has some."""
        owned = [self._templates_of[number] for number in numbers]
        starts = np.cumsum([0, *map(len, owned)])[:-1]
        sums = np.add.reduceat(self._templates.get([t for ids in owned for t in ids]), starts, axis=0)
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), dtype=np.float32)

    def _refuse_other_model(self, model: str) -> None:
        if model != self.model:
            raise GalleryError(
                f"embeddings of {model} were offered to a gallery of {self.model}: they cannot be compared"
            )

    def _checked(self, embeddings: FloatArray, n: int) -> FloatArray:
        vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
        if vectors.shape != (n, self.dim):
            raise GalleryError(f"expected embeddings of shape ({n}, {self.dim}), got {vectors.shape}")
        norms = np.linalg.norm(vectors, axis=1)
        if not np.all(np.abs(norms - 1.0) <= _UNIT_TOLERANCE):  # also false for NaN
            raise GalleryError("an embedding is not of unit length or holds NaN")
        return vectors


def checksums(embeddings: Iterable[bytes | FloatArray]) -> NDArray[np.uint64]:
    """Checksum each of N embeddings, given as rows `(D,)` float32 or as their little-endian bytes.

    Returns:
        `(N,)` uint64, equal where every bit is.
    """
    rows = (row if isinstance(row, bytes) else row.data for row in embeddings)
    return np.frombuffer(b"".join(blake2b(row, digest_size=8).digest() for row in rows), dtype="<u8")


_NO_HITS = PersonHits((), np.empty(0, np.float32), np.empty(0, np.float32), np.empty(0, np.int64))

"""Faces as a training takes them: whose, when, their embeddings, and their chips in a file that has no name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ml.alignment import align_face
from ml.backbones.card import Landmarks, ModelCard
from ml.training.types import Rows
from ml.types import Chip, Face, FloatArray, RgbImage

_CHIPS_AT_ONCE: Final = 128
_PHOTOS_COMPARED_AT_ONCE: Final = 200
# As in `ml.enrolling`: two photos with a cosine above this are the same picture.
_SAME_PICTURE: Final = 0.9995

OnProgress = Callable[[float, str], None]
"""Told which share of the gathering is done, 0..1, and what is being done; may raise to stop it."""
Embed = Callable[[Sequence[Chip]], FloatArray]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where a network wants the five landmarks on a chip of `size_px`."""

    template: Landmarks
    size_px: int

    @classmethod
    def of(cls, card: ModelCard) -> Self:
        return cls(card.landmark_template or (), card.chip_size_px)

    def cut(self, image: RgbImage, landmarks: FloatArray) -> Chip:
        """The chip `(S, S, 3)` of a face with `landmarks (5, 2)` in pixels of `image`."""
        face = Face(np.zeros(4, dtype=np.float32), landmarks, 1.0)
        return align_face(image, face, np.array(self.template, dtype=np.float32), self.size_px)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is needed of each face: embeddings by these models (word -> dimension), chips aligned in these ways.

    Chips are cut where an embedding is missing, or of all faces if `all_chips`.
    """

    dims: Mapping[str, int]
    alignments: tuple[Alignment, ...]
    all_chips: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class GatheredFaces:
    """N faces. `refs` say where each comes from, without names: `template:7`, `event:evt_…`, `photo:<sha256>`.

    `people (N,)` int64 are numbers that stay a person's from training to training; `times_s (N,)` float64 seconds since
    the epoch, NaN where unknown; `embeddings` by model word `(N, D)` float32, a row of NaN where there is none;
    `chips` `(M, S, S, 3)` uint8 of the M faces whose `chip_rows (N,)` is not -1 but the row in there.
    """

    refs: tuple[str, ...]
    people: Rows
    times_s: NDArray[np.float64]
    embeddings: Mapping[str, FloatArray]
    chips: Mapping[Alignment, NDArray[np.uint8]]
    chip_rows: Rows

    def __len__(self) -> int:
        return len(self.refs)

    @property
    def has_chip(self) -> NDArray[np.bool_]:
        """`(N,)`: of which faces there is a chip."""
        return np.asarray(self.chip_rows >= 0)

    def has_embedding(self, word: str) -> NDArray[np.bool_]:
        """`(N,)`: of which faces an embedding by this model is known."""
        return ~np.isnan(self.embeddings[word][:, 0])

    def take(self, rows: NDArray[Any]) -> "GatheredFaces":
        """Some of the faces, by row numbers or as a mask."""
        chosen = np.arange(len(self))[rows]
        return GatheredFaces(
            tuple(self.refs[row] for row in chosen),
            self.people[chosen],
            self.times_s[chosen],
            {word: found[chosen] for word, found in self.embeddings.items()},
            self.chips,
            self.chip_rows[chosen],
        )


def person_number(key: str) -> int:
    """A number >= 0 for a person that is the same in every training, whoever else is there."""
    return int.from_bytes(sha256(key.encode()).digest()[:8]) >> 1


def embeddings_of(
    faces: GatheredFaces, word: str, alignment: Alignment, embed: Callable[[], Embed], report: OnProgress
) -> FloatArray:
    """All faces' embeddings by one model: those that are known, and the others made of chips.

    Args:
        faces: N, each with an embedding of that word or a chip.
        word: the model's.
        alignment: of its chips.
        embed: loads the model; called only where an embedding is missing.
        report: told after every few chips.

    Returns:
        `(N, D)` float32 unit-norm.
    """
    found = faces.embeddings[word].copy()
    missing = np.flatnonzero(~faces.has_embedding(word))
    if len(missing):
        found[missing] = embedded(faces.take(missing), alignment, embed(), report)
    return found


def embedded(faces: GatheredFaces, alignment: Alignment, embed: Embed, report: OnProgress) -> FloatArray:
    """The same, all of chips. Empty case: `(0, D)`."""
    chips, portions = faces.chips[alignment], list(_portions(faces.chip_rows, _CHIPS_AT_ONCE))
    made = [embed([])]
    for number, rows in enumerate(portions):
        made.append(embed(list(chips[rows])))
        report((number + 1) / len(portions), "embedding faces")
    return np.concatenate(made)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One face on its way into the collection; `landmarks` in pixels of `image`, where there is one."""

    ref: str
    person_key: str
    time_s: float
    embeddings: Mapping[str, FloatArray]
    image: RgbImage | None = None
    landmarks: FloatArray | None = None


class _ChipFile:
    """Chips of one alignment, appended to a file that has no name: no kill leaves it behind."""

    def __init__(self, alignment: Alignment, folder: Path) -> None:
        self._shape = (alignment.size_px, alignment.size_px, 3)
        self._file: IO[bytes] = TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as its chips are in use
        self._n = 0

    def add(self, chip: Chip) -> int:
        self._file.write(np.ascontiguousarray(chip).tobytes())
        self._n += 1
        return self._n - 1

    def chips(self) -> NDArray[np.uint8]:
        """Mapped, not read: only what is looked at takes memory."""
        if self._n == 0:
            return np.zeros((0, *self._shape), dtype=np.uint8)
        self._file.flush()
        return np.memmap(self._file, dtype=np.uint8, mode="r", shape=(self._n, *self._shape))

    def close(self) -> None:
        """What is mapped stays."""
        self._file.close()


@dataclass(slots=True)
class Collector:
    """Faces as they come."""

    wanted: Wanted
    folder: Path
    found: list[Found] = field(default_factory=list)
    chip_rows: list[int] = field(default_factory=list)
    files: dict[Alignment, _ChipFile] = field(default_factory=dict)
    known: set[tuple[str, str]] = field(default_factory=set)

    def needs_picture(self, embeddings: Mapping[str, FloatArray]) -> bool:
        return self.wanted.all_chips or not all(word in embeddings for word in self.wanted.dims)

    def add(self, face: Found) -> None:
        """Of a picture that somebody has twice, one is taken."""
        if (face.person_key, face.ref) in self.known:
            return
        self.known.add((face.person_key, face.ref))
        self.chip_rows.append(self._cut(face) if self.needs_picture(face.embeddings) else -1)
        self.found.append(Found(face.ref, face.person_key, face.time_s, face.embeddings))

    def gathered(self) -> GatheredFaces:
        people = np.array([person_number(face.person_key) for face in self.found], dtype=np.int64)
        faces = GatheredFaces(
            tuple(face.ref for face in self.found),
            people,
            np.array([face.time_s for face in self.found], dtype=np.float64),
            {word: self._embeddings(word, dim) for word, dim in self.wanted.dims.items()},
            {alignment: self._file(alignment).chips() for alignment in self.wanted.alignments},
            np.array(self.chip_rows, dtype=np.int64),
        )
        return _without_enrolled_photos(faces)

    def close(self) -> None:
        for file in self.files.values():
            file.close()

    def _cut(self, face: Found) -> int:
        if face.image is None or face.landmarks is None:
            return -1
        rows = {
            self._file(each).add(each.cut(face.image, face.landmarks)) for each in self.wanted.alignments
        }  # one number: every file has a chip of the same faces
        return rows.pop() if rows else -1

    def _file(self, alignment: Alignment) -> _ChipFile:
        if alignment not in self.files:
            self.files[alignment] = _ChipFile(alignment, self.folder)
        return self.files[alignment]

    def _embeddings(self, word: str, dim: int) -> FloatArray:
        nothing = np.full(dim, np.nan, dtype=np.float32)
        rows = [face.embeddings.get(word, nothing) for face in self.found]
        return np.array(rows, dtype=np.float32).reshape(len(rows), dim)


def _without_enrolled_photos(faces: GatheredFaces) -> GatheredFaces:
    """Photos of the folder that somebody was enrolled with: left out, and the others beside them are that person's.

    Else the same picture would be learned from, and judged by, twice.
    """
    is_photo = np.array([ref.startswith("photo:") for ref in faces.refs], dtype=np.bool_)
    people, is_repeat = faces.people.copy(), np.zeros(len(faces), dtype=np.bool_)
    for word in faces.embeddings:
        known = faces.has_embedding(word)
        photos, others = np.flatnonzero(is_photo & known), np.flatnonzero(~is_photo & known)
        for rows in _portions(photos, _PHOTOS_COMPARED_AT_ONCE) if len(others) else ():
            cosines = faces.embeddings[word][rows] @ faces.embeddings[word][others].T
            is_same = cosines.max(axis=1) > _SAME_PICTURE
            for row, twin in zip(rows[is_same], others[cosines.argmax(axis=1)[is_same]], strict=True):
                is_repeat[row] = True
                people[faces.people == faces.people[row]] = faces.people[twin]
    kept = faces.take(~is_repeat)
    return GatheredFaces(kept.refs, people[~is_repeat], kept.times_s, kept.embeddings, kept.chips, kept.chip_rows)


def _portions(rows: Rows, n: int) -> Iterator[Rows]:
    for start in range(0, len(rows), n):
        yield rows[start : start + n]

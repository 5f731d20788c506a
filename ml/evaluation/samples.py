"""Photos -> samples, each photo looked at once: what was seen before comes from the cache."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.backbones.cards import find_card
from ml.enrolling import Photo, most_prominent
from ml.errors import ImageError
from ml.evaluation.cache import ArrayCache
from ml.evaluation.networks import Network
from ml.image import decode_image
from ml.types import Face, Pose, Quality, RgbImage, Sample

OnProgress = Callable[[int, int], None]
"""Called with the photos done and those of them that had to be looked at, because the cache did not know them."""
_Table: TypeAlias = NDArray[np.float64]

_PHOTOS_AT_ONCE: Final = 16
# A change of these files may change what is seen in a photo without a new model version.
_CODE: Final = ("alignment", "detection", "embedding", "engine", "image", "mtcnn", "pose", "quality", "yunet")


@dataclass(frozen=True, slots=True, eq=False)
class Analyzed:
    """What was seen in one photo; `lengths` of the raw vectors, one per sample (see `Network.embed`).

    `error` is the code of the ImageError where the file is no image; then there are no samples.
    """

    photo: Photo
    lengths: tuple[float, ...] = ()
    error: str | None = None


def main_face(seen: Analyzed) -> Analyzed:
    """The same photo as if only its most prominent face had been seen."""
    if len(seen.photo.samples) < 2:
        return seen
    sample = most_prominent(seen.photo)
    place = next(i for i, other in enumerate(seen.photo.samples) if other is sample)
    return Analyzed(Photo([sample], seen.photo.size_wh), (seen.lengths[place],))


class PhotoReader:
    """Looks at photos with one detector and any number of networks."""

    def __init__(self, networks: Sequence[Network], cache: ArrayCache, *, min_face_px: int) -> None:
        """Choose the networks; all of them on the same detector, which looks for faces of `min_face_px` and more."""
        self._networks = networks
        self._cache = cache
        self._detector = f"{find_card(networks[0].engine.detector).model} {min_face_px} px, code {_code_word()}"

    def read(self, paths: Sequence[Path], on_progress: OnProgress) -> dict[str, dict[Path, Analyzed]]:
        """Look at photos.

        Returns:
            Per model word, what was seen in each photo.

        Raises:
            OSError: a photo cannot be read or the cache cannot be written.
        """
        seen: dict[str, dict[Path, Analyzed]] = {network.model: {} for network in self._networks}
        n_done = n_new = 0
        for batch in _batches(paths):
            files = [_File(path, sha256(path.read_bytes()).hexdigest()) for path in batch]
            unknown = [file for file in files if not self._recall(file, seen)]
            self._look(unknown, seen)
            n_done, n_new = n_done + len(files), n_new + len(unknown)
            on_progress(n_done, n_new)
        return seen

    def _recall(self, file: "_File", seen: dict[str, dict[Path, Analyzed]]) -> bool:
        """Take what the cache knows; whether that is everything."""
        faces = self._cache.get(self._face_key(file))
        if faces is None:
            return False
        for network in self._networks:
            table = self._cache.get(self._sample_key(file, network))
            if table is not None:
                seen[network.model][file.path] = _from_tables(faces, table, network.model)
        return all(file.path in seen[network.model] for network in self._networks)

    def _look(self, files: Sequence["_File"], seen: dict[str, dict[Path, Analyzed]]) -> None:
        decoded = {file: _decode(file.path) for file in files}
        for file, image in decoded.items():
            if isinstance(image, ImageError):
                for network in self._networks:
                    seen[network.model][file.path] = Analyzed(Photo([], (0, 0)), error=image.code)
        images = {file: image for file, image in decoded.items() if not isinstance(image, ImageError)}
        faces = self._faces(images)
        for network in self._networks:
            missing = {file: image for file, image in images.items() if file.path not in seen[network.model]}
            found = network.embed(list(missing.values()), [_faces_of(faces[file]) for file in missing])
            for file, (samples, lengths) in zip(missing, found, strict=True):
                table = _sample_table(samples, lengths, network.card.dim)
                self._cache.put(self._sample_key(file, network), table)
                seen[network.model][file.path] = _from_tables(faces[file], table, network.model)

    def _faces(self, images: dict["_File", RgbImage]) -> dict["_File", _Table]:
        """The faces of each image, from the cache where another network looked at it before."""
        recalled = {file: self._cache.get(self._face_key(file)) for file in images}
        known = {file: table for file, table in recalled.items() if table is not None}
        missing = {file: image for file, image in images.items() if file not in known}
        detected = self._networks[0].engine.detect(list(missing.values())) if missing else []
        for (file, image), faces in zip(missing.items(), detected, strict=True):
            known[file] = _face_table(image, faces)
            self._cache.put(self._face_key(file), known[file])
        return known

    def _face_key(self, file: "_File") -> str:
        return f"{file.digest} faces {self._detector}"

    def _sample_key(self, file: "_File", network: Network) -> str:
        return f"{file.digest} samples {self._detector} {network.model}"


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    digest: str


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in range(0, len(paths), _PHOTOS_AT_ONCE):
        yield paths[start : start + _PHOTOS_AT_ONCE]


def _decode(path: Path) -> RgbImage | ImageError:
    try:
        return decode_image(path.read_bytes())
    except ImageError as error:
        return error


def _code_word() -> str:
    code = sha256()
    for name in _CODE:
        code.update((Path(__file__).parents[1] / f"{name}.py").read_bytes())
    return code.hexdigest()[:16]


def _face_table(image: RgbImage, faces: Sequence[Face]) -> _Table:
    """Row 0 begins with the image's width and height; then box, landmarks and detection score of each face."""
    table = np.zeros((1 + len(faces), 15))
    table[0, :2] = image.shape[1], image.shape[0]
    for row, face in zip(table[1:], faces, strict=True):
        row[:4], row[4:14], row[14] = face.box_xyxy, face.landmarks.ravel(), face.detection_score
    return table


def _faces_of(table: _Table) -> list[Face]:
    rows = table[1:]
    boxes, landmarks = (np.asarray(part, dtype=np.float32) for part in (rows[:, :4], rows[:, 4:14]))
    return [Face(boxes[i], landmarks[i].reshape(5, 2), float(row[14])) for i, row in enumerate(rows)]


def _sample_table(samples: Sequence[Sample], lengths: Sequence[float], dim: int) -> _Table:
    """Quality, raw length and embedding of each face."""
    table = np.zeros((len(samples), 8 + dim))
    for row, sample, length in zip(table, samples, lengths, strict=True):
        quality, pose = sample.quality, sample.quality.pose
        row[:3] = pose.yaw_deg, pose.pitch_deg, pose.roll_deg
        row[3:7] = quality.score, quality.size_px, quality.sharpness, quality.brightness
        row[7], row[8:] = length, sample.embedding
    return table


def _from_tables(faces: _Table, samples: _Table, model: str) -> Analyzed:
    found = [_sample(face, row, model) for face, row in zip(_faces_of(faces), samples, strict=True)]
    size_wh = (int(faces[0, 0]), int(faces[0, 1]))
    return Analyzed(Photo(found, size_wh), tuple(float(length) for length in samples[:, 7]))


def _sample(face: Face, row: _Table, model: str) -> Sample:
    yaw, pitch, roll, score, size_px, sharpness, brightness = (float(v) for v in row[:7])
    quality = Quality(score, Pose(yaw, pitch, roll), size_px, sharpness, brightness, face.detection_score)
    return Sample(face, quality, np.asarray(row[8:], dtype=np.float32), model)

"""What is cut from a picture of a face, for somebody to look at later, or for another network to embed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from ml.types import FloatArray, RgbImage, Sample

# Of the box's longer side: a whole head with some of its surroundings, as people recognise each other, and enough for a
# face to be found again when it is enrolled.
_SIDE: Final = 1.6
_MAX_SIDE_PX: Final = 512
_JPEG_QUALITY: Final = 92
# Of each recognised capture, to be told from another person's at a glance: 12 to 20 kB with its seal, where 512 px
# and quality 92 make it 40 to 100 kB.
_SMALL_SIDE_PX: Final = 256
_SMALL_QUALITY: Final = 80


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """A face cut out, as JPEG, and its five landmarks `[[x, y], ...]` in pixels of that."""

    jpeg: bytes
    landmarks: list[list[float]]


def cut_faces(image: RgbImage, samples: Sequence[Sample]) -> list[RgbImage]:
    """A square around each face, inside the image, at most 512 px wide."""
    return [_shrunk(_square(image, sample)[0], _MAX_SIDE_PX) for sample in samples]


def cut_face(image: RgbImage, sample: Sample) -> FaceCrop:
    """The same of one face, with its landmarks."""
    square, left_top = _square(image, sample)
    crop = _shrunk(square, _MAX_SIDE_PX)
    ratio = np.array(crop.shape[1::-1], dtype=np.float32) / np.array(square.shape[1::-1], dtype=np.float32)
    half = np.float32(0.5)  # pixel centres lie at whole numbers
    landmarks = (sample.face.landmarks - left_top + half) * ratio - half
    return FaceCrop(as_jpeg(crop), [[round(float(x), 2), round(float(y), 2)] for x, y in landmarks])


def as_jpeg(crop: RgbImage) -> bytes:
    """The crop as a file."""
    return _encoded(crop, _JPEG_QUALITY)


def as_small_jpeg(crop: RgbImage) -> bytes:
    """The crop as a small file: at most 256 px wide."""
    return _encoded(_shrunk(crop, _SMALL_SIDE_PX), _SMALL_QUALITY)


def _encoded(crop: RgbImage, quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)


def _square(image: RgbImage, sample: Sample) -> tuple[RgbImage, FloatArray]:
    """A view of the image, and its corner `(2,)` at the left and top, px."""
    x1, y1, x2, y2 = (float(v) for v in sample.face.box_xyxy)
    half = max(1.0, _SIDE * max(x2 - x1, y2 - y1) / 2)
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    height, width = image.shape[:2]
    left, right = _within(middle_x - half, middle_x + half, width)
    top, bottom = _within(middle_y - half, middle_y + half, height)
    return image[top:bottom, left:right], np.array([left, top], dtype=np.float32)


def _shrunk(crop: RgbImage, max_side_px: int) -> RgbImage:
    ratio = max_side_px / max(crop.shape[:2])
    if ratio >= 1:
        return crop.copy()  # a view would keep the whole picture in memory
    size_wh = max(1, round(crop.shape[1] * ratio)), max(1, round(crop.shape[0] * ratio))
    return np.asarray(cv2.resize(crop, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _within(start: float, end: float, size: int) -> tuple[int, int]:
    first = min(max(0, round(start)), size - 1)
    return first, min(max(first + 1, round(end)), size)

"""What is cut from a picture of a face that nobody knows, for somebody to look at later."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from ml.types import RgbImage, Sample

# Of the box's longer side: a whole head with some of its surroundings, as people recognise each other, and enough for a
# face to be found again when it is enrolled.
_SIDE: Final = 1.6
_MAX_SIDE_PX: Final = 512
_JPEG_QUALITY: Final = 92


def cut_faces(image: RgbImage, samples: Sequence[Sample]) -> list[RgbImage]:
    """A square around each face, inside the image, at most 512 px wide."""
    return [_cut(image, sample) for sample in samples]


def as_jpeg(crop: RgbImage) -> bytes:
    """The crop as a file."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), options)
    return bytes(data)


def _cut(image: RgbImage, sample: Sample) -> RgbImage:
    x1, y1, x2, y2 = (float(v) for v in sample.face.box_xyxy)
    half = max(1.0, _SIDE * max(x2 - x1, y2 - y1) / 2)
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    height, width = image.shape[:2]
    left, right = _within(middle_x - half, middle_x + half, width)
    top, bottom = _within(middle_y - half, middle_y + half, height)
    crop = image[top:bottom, left:right]
    ratio = _MAX_SIDE_PX / max(crop.shape[:2])
    if ratio >= 1:
        return crop.copy()  # a view would keep the whole picture in memory
    size_wh = max(1, round(crop.shape[1] * ratio)), max(1, round(crop.shape[0] * ratio))
    return np.asarray(cv2.resize(crop, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _within(start: float, end: float, size: int) -> tuple[int, int]:
    first = min(max(0, round(start)), size - 1)
    return first, min(max(first + 1, round(end)), size)

"""What is sent of a frame: one visitor's face with room around it, and nobody else's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import cv2
import numpy as np

from ml.types import FloatArray, RgbImage

# Three times the face: hair, shoulders and what a detector needs to be sure.
_MARGIN: Final = 3.0
# Faces beyond this gain nothing from more pixels (chips are 150 px), and an upload over a poor line does from fewer.
_MOST_SIDE_PX: Final = 1280
_JPEG_QUALITY: Final = 92
# What is covered of another face reaches a little beyond its box, so that no detector finds it again.
_COVER: Final = 1.2


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """`image` cut from a frame that was taken at `captured_at`; `face_xyxy` px in it."""

    captured_at: datetime
    image: RgbImage
    face_xyxy: tuple[float, float, float, float]


def cut_out(
    frame: RgbImage, captured_at: datetime, face_xyxy: FloatArray, others_xyxy: Sequence[FloatArray]
) -> Picture:
    """The square around a face, within the frame, in a copy; the faces of others in it are covered.

    Somebody else's face would be recorded with this picture and once more with their own.
    """
    x1, y1, x2, y2 = _square(frame, face_xyxy)
    image = frame[y1:y2, x1:x2].copy()
    origin = np.array([x1, y1, x1, y1], dtype=np.float32)
    own = face_xyxy - origin
    for other in others_xyxy:
        _cover(image, other - origin, own)
    image, ratio = _fitted(image)
    left, top, right, bottom = (float(value) * ratio for value in own)
    return Picture(captured_at, image, (left, top, right, bottom))


def to_jpeg(image: RgbImage) -> bytes:
    """The picture as it is sent."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(data)


def _square(frame: RgbImage, face_xyxy: FloatArray) -> tuple[int, int, int, int]:
    height, width = frame.shape[:2]
    left, top, right, bottom = (float(value) for value in face_xyxy)
    half = _MARGIN * max(right - left, bottom - top) / 2
    cx, cy = min(max((left + right) / 2, 0.0), width - 1.0), min(max((top + bottom) / 2, 0.0), height - 1.0)
    x1, x2 = max(0, int(cx - half)), min(width, int(np.ceil(cx + half)) + 1)
    y1, y2 = max(0, int(cy - half)), min(height, int(np.ceil(cy + half)) + 1)
    return x1, y1, x2, y2


def _cover(image: RgbImage, other: FloatArray, own: FloatArray) -> None:
    """Fill another face with the picture's mean colour, but leave the visitor's own face whole."""
    height, width = image.shape[:2]
    centre, half = (other[:2] + other[2:]) / 2, (other[2:] - other[:2]) * _COVER / 2
    (x1, y1), (x2, y2) = np.floor(centre - half).astype(int), np.ceil(centre + half).astype(int)
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = True
    left, top, right, bottom = (int(value) for value in np.round(own))
    mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = False
    image[mask] = image.mean(axis=(0, 1)).astype(np.uint8)


def _fitted(image: RgbImage) -> tuple[RgbImage, float]:
    ratio = min(1.0, _MOST_SIDE_PX / max(image.shape[:2]))
    if ratio == 1.0:
        return image, ratio
    return np.asarray(cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA), dtype=np.uint8), ratio

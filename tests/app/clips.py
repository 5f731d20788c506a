"""Clips for tests of the service: the two people that packages carry, filmed as their heads move a little."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ml.types import RgbImage
from tests.ml.faces import astronaut, grace_hopper
from tests.ml.videos import make_clip

SIZE_WH = (360, 360)


def eileen(path: Path, *, n: int = 24) -> Path:
    """Eileen Collins, ten frames a second; the suffix of `path` names the container."""
    return make_clip(path, frames=moving_eileen(n))


def moving_eileen(n: int) -> list[RgbImage]:
    """The frames of such a clip."""
    return _moving(_eileen(), n)


def grace(path: Path, *, n: int = 24) -> Path:
    """Grace Hopper, likewise."""
    return make_clip(path, frames=_moving(_grace(), n))


def both(path: Path, *, n: int = 24) -> Path:
    """Side by side all the time."""
    pairs = zip(_moving(_eileen(), n), _moving(_grace(), n), strict=True)
    return make_clip(path, frames=[np.hstack(pair) for pair in pairs])


def one_after_the_other(path: Path, *, n: int = 24) -> Path:
    """A cut from one to the other in the middle."""
    return make_clip(path, frames=[*_moving(_eileen(), n // 2), *_moving(_grace(), n // 2)])


def nobody(path: Path, *, n: int = 12) -> Path:
    return make_clip(path, frames=n)


FILMS: dict[str, Callable[..., Path]] = {"E": eileen, "G": grace}


def _eileen() -> RgbImage:
    return astronaut()[0:300, 90:390]


def _grace() -> RgbImage:
    return grace_hopper()[30:430, 60:460]


def _moving(photo: RgbImage, n: int) -> list[RgbImage]:
    """Leaning, coming nearer and seen a little from the side: every frame is another picture of the same face."""
    picture = cv2.resize(photo, SIZE_WH, interpolation=cv2.INTER_AREA)
    return [_moved(picture, number / n) for number in range(n)]


def _moved(picture: RgbImage, share: float) -> RgbImage:
    width, height = SIZE_WH
    swing = np.sin(2 * np.pi * share)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    squeeze = 0.12 * height * abs(swing)
    left, right = (squeeze, 0.0) if swing < 0 else (0.0, squeeze)
    seen = corners + np.array([[0, left], [0, right], [0, -right], [0, -left]], dtype=np.float32)
    turned = cv2.getPerspectiveTransform(corners, seen)
    leaning = cv2.getRotationMatrix2D((width / 2, height / 2), 6 * np.sin(4 * np.pi * share), 0.9 + 0.1 * share)
    matrix = np.vstack([leaning, [0, 0, 1]]) @ turned
    return np.asarray(cv2.warpPerspective(picture, matrix, SIZE_WH, borderValue=(90, 90, 90)), dtype=np.uint8)

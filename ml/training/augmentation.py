"""A chip as another camera, on another day, might have seen it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.types import Chip


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often each thing happens, 0..1, and how far it goes; the rest of the time the chip stays as it is.

    Shifts and zoom are shares of the side, about what landmarks miss by; `gain` and `gamma` are the widest factors
    either way, lamp against daylight; `blur_sigma_px` is for a side of 150 px; `jpeg_quality` the worst; `smallest`
    the side, as a share, down to which a chip is made smaller before it is made large again: a face far away.
    """

    mirror: float = 0.5
    move: float = 0.5
    light: float = 0.5
    blur: float = 0.2
    jpeg: float = 0.3
    downscale: float = 0.3
    shift: float = 0.04
    zoom: float = 0.08
    gain: float = 1.4
    gamma: float = 1.4
    blur_sigma_px: float = 2.0
    jpeg_quality: int = 35
    smallest: float = 0.35


DEFAULT = Augmentation()


def augment(chip: Chip, generator: np.random.Generator, chances: Augmentation = DEFAULT) -> Chip:
    """Change a chip at random, the same way for the same state of the generator.

    Args:
        chip: `(S, S, 3)` uint8 RGB; is not written to.
        generator: what happens is drawn from it, and nothing else.
        chances: how often, how far.

    Returns:
        `(S, S, 3)` uint8 RGB, an array of its own.
    """
    # One draw for each, whether it happens or not: a chance that is changed leaves the other draws as they were.
    happens = generator.random(6) < [
        chances.mirror,
        chances.move,
        chances.light,
        chances.blur,
        chances.downscale,
        chances.jpeg,
    ]
    amounts = generator.uniform(-1, 1, size=8)
    changed = chip[:, ::-1] if happens[0] else chip
    if happens[1]:
        changed = _moved(changed, amounts[0] * chances.shift, amounts[1] * chances.shift, amounts[2] * chances.zoom)
    if happens[2]:
        changed = _lit(changed, chances.gain ** amounts[3], chances.gamma ** amounts[4])
    if happens[3]:
        changed = _blurred(changed, abs(amounts[5]) * chances.blur_sigma_px * len(chip) / 150)
    if happens[4]:
        changed = _far_away(changed, 1 - abs(amounts[6]) * (1 - chances.smallest))
    if happens[5]:
        changed = _compressed(changed, round(95 - abs(amounts[7]) * (95 - chances.jpeg_quality)))
    return np.array(changed, dtype=np.uint8)


def augment_batch(
    chips: NDArray[np.uint8], generator: np.random.Generator, chances: Augmentation = DEFAULT
) -> NDArray[np.uint8]:
    """`augment` of each chip in turn: `(n, S, S, 3)` uint8 RGB both ways. Empty case: `(0, S, S, 3)`."""
    changed = np.empty_like(chips)
    for row, chip in enumerate(chips):
        changed[row] = augment(chip, generator, chances)
    return changed


def _moved(chip: Chip, right: float, down: float, zoom: float) -> Chip:
    """Shifted by shares of the side and zoomed about the middle; what comes in at the edges mirrors the inside."""
    side, scale = len(chip), 1 + zoom
    middle = (side - 1) / 2
    matrix = np.array(
        [[scale, 0, middle * (1 - scale) + right * side], [0, scale, middle * (1 - scale) + down * side]],
        dtype=np.float64,
    )
    moved = cv2.warpAffine(
        np.ascontiguousarray(chip), matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, dtype=np.uint8)


def _lit(chip: Chip, gain: float, gamma: float) -> Chip:
    levels = np.arange(256) / 255
    table = np.clip(np.rint(255 * gain * levels**gamma), 0, 255).astype(np.uint8)
    return np.asarray(table[chip], dtype=np.uint8)


def _blurred(chip: Chip, sigma_px: float) -> Chip:
    if sigma_px < 0.1:  # a Gaussian that narrow is one pixel
        return chip
    return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(chip), (0, 0), sigma_px), dtype=np.uint8)


def _far_away(chip: Chip, share: float) -> Chip:
    side = len(chip)
    small = max(1, round(side * share))
    reduced = cv2.resize(np.ascontiguousarray(chip), (small, small), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _compressed(chip: Chip, quality: int) -> Chip:
    # The codec takes BGR; colours are halved in size there, so the order matters.
    is_written, data = cv2.imencode(".jpg", chip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = cv2.imdecode(data, cv2.IMREAD_COLOR) if is_written else None
    return chip if read is None else np.asarray(read[..., ::-1], dtype=np.uint8)

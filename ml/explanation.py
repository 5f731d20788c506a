"""Which parts of a face make its score: cover one after the other, and see how much of the likeness goes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.alignment import similarity_transform
from ml.types import Chip, FloatArray, RgbImage

N_ACROSS: Final = 7
# Of a patch, in cells of the grid: neighbours overlap, so that no part of the face is left between two of them.
_PATCH_RADIUS: Final = 1.1
# Of the chip's side: of the face below, the light and the colour of the skin are left, and nothing of its features.
_BLUR: Final = 1 / 6
# Cosines: the map of a face whose every part matters less than this is not stretched to look as if one did.
_LEAST_FULL: Final = 0.004
# Below this share of the strongest part nothing is drawn: it would only be noise in colours.
_LEAST_SHOWN: Final = 0.08
_MOST_OPAQUE: Final = 0.75
# What cv2's inferno shows of the weakest and of the strongest part: its dark end could not be told from the picture.
_INFERNO: Final = 0.35, 0.92
_AGAINST_RGB: Final = 40, 120, 255


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """What covering each part of a chip costs.

    `heat (n, n)` float32, from the top left, row by row: by how much the cosine with the target falls when that part is
    covered, -2..2; above 0 the part spoke for the match, below 0 against it. `base` is the cosine of the whole chip.
    """

    heat: FloatArray
    base: float

    @property
    def n_across(self) -> int:
        """Parts from left to right, and from top to bottom."""
        return len(self.heat)


def occlusion_map(
    chip: Chip, embed: Callable[[Sequence[Chip]], FloatArray], target: FloatArray, *, n_across: int = N_ACROSS
) -> HeatMap:
    """Measure how much each part of a face adds to its likeness with a template.

    A blurred copy of the chip is laid over each part of a grid, with a soft edge: a hard one would be a feature itself.

    Args:
        chip: `(S, S, 3)` uint8 RGB.
        embed: chips to unit-norm embeddings `(N, D)`; called once, with the chip itself and its `n_across ** 2` covered
            copies.
        target: `(D,)` unit-norm embedding of the template, by the same model.
        n_across: parts from left to right and from top to bottom, >= 1.

    Returns:
        The map; of one part only, what covering nearly the whole face costs.

    Raises:
        ModelError: whatever `embed` raises.

    Source: after Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, section 4.2, with a
    soft patch instead of their grey square.
    """
    scores = embed([chip, *covered_chips(chip, n_across)]) @ target
    base = float(scores[0])
    return HeatMap((base - scores[1:]).reshape(n_across, n_across).astype(np.float32), base)


def covered_chips(chip: Chip, n_across: int = N_ACROSS) -> list[Chip]:
    """Copies of a chip, each with another part blurred away.

    Args:
        chip: `(S, S, 3)` uint8 RGB.
        n_across: parts from left to right and from top to bottom, >= 1.

    Returns:
        `n_across ** 2` chips like the given one, from the part at the top left, row by row.
    """
    side = chip.shape[0]
    sharp, blurred = chip.astype(np.float32), cv2.GaussianBlur(chip, (0, 0), _BLUR * side).astype(np.float32)
    masks = _masks(side, n_across)
    return [np.rint(sharp + mask[:, :, None] * (blurred - sharp)).astype(np.uint8) for mask in masks]


def grid_to_chip(chip_size_px: int, n_across: int) -> NDArray[np.float64]:
    """Where the parts of a map lie: `(2, 3)` float64 matrix from their numbers (x, y) to their centres in chip px."""
    cell_px = chip_size_px / n_across
    offset_px = (cell_px - 1) / 2
    return np.array([[cell_px, 0, offset_px], [0, cell_px, offset_px]], dtype=np.float64)


def grid_to_image(landmarks: FloatArray, template: FloatArray, chip_size_px: int, n_across: int) -> NDArray[np.float64]:
    """Where the parts of a map lie in the picture that the chip was cut out of.

    Args:
        landmarks: `(5, 2)` px of the picture.
        template: `(5, 2)` landmark positions in chip px, as the chip was aligned to.
        chip_size_px: side S of the chip.
        n_across: of the map.

    Returns:
        `(2, 3)` float64 matrix from the parts' numbers (x, y) to their centres in px of the picture.
    """
    chip_to_image = similarity_transform(template, landmarks)
    grid = grid_to_chip(chip_size_px, n_across)
    linear = chip_to_image[:, :2] @ grid[:, :2]
    return np.column_stack([linear, chip_to_image[:, :2] @ grid[:, 2] + chip_to_image[:, 2]])


def heat_overlay(image: RgbImage, heat_map: HeatMap, grid_to_image: NDArray[np.float64]) -> RgbImage:
    """Draw a map over a face, for people.

    The picture turns grey, so that skin is not taken for heat. What spoke for the match glows from purple to yellow by
    its strength, what spoke against it is blue, and what did neither is left as it is.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        heat_map: of a chip that was cut out of it, or of the image itself where that is the chip.
        grid_to_image: `(2, 3)` where the parts of the map lie in it; see `grid_to_image` and `grid_to_chip`.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    strength = _spread(heat_map, grid_to_image, image.shape[:2])
    shown = np.clip((np.abs(strength) - _LEAST_SHOWN) / (1 - _LEAST_SHOWN), 0, 1)
    opacity = (_MOST_OPAQUE * np.sqrt(shown))[:, :, None]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    return np.rint(grey + opacity * (_colours(strength) - grey)).astype(np.uint8)


def _masks(side_px: int, n_across: int) -> list[FloatArray]:
    """How much of each pixel is covered, `(S, S)` 0..1: all of it at the centre of a part, nothing two parts away."""
    centres = grid_to_chip(side_px, n_across)[0] @ np.array(
        [np.arange(n_across), np.zeros(n_across), np.ones(n_across)]
    )
    radius_px = _PATCH_RADIUS * side_px / n_across
    squares = ((np.arange(side_px) - centres[:, None]) / radius_px) ** 2
    return [
        np.exp(-((squares[y][:, None] + squares[x]) ** 2)).astype(np.float32) for y, x in np.ndindex(n_across, n_across)
    ]


def _spread(heat_map: HeatMap, grid_to_image: NDArray[np.float64], shape_hw: tuple[int, ...]) -> FloatArray:
    """The map in the image's frame, -1..1, 1 the strongest part; 0 outside the face."""
    full = max(_LEAST_FULL, float(np.abs(heat_map.heat).max()))
    height, width = shape_hw[:2]
    spread = cv2.warpAffine(heat_map.heat / np.float32(full), grid_to_image, (width, height), flags=cv2.INTER_CUBIC)
    return np.clip(np.asarray(spread, dtype=np.float32), -1, 1)


def _colours(strength: FloatArray) -> FloatArray:
    """`(H, W, 3)` RGB 0..255 of strengths -1..1."""
    least, most = _INFERNO
    level = np.rint(255 * (least + (most - least) * np.clip(strength, 0, 1))).astype(np.uint8)
    glow = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB).astype(np.float32)
    return np.where(strength[:, :, None] < 0, np.array(_AGAINST_RGB, dtype=np.float32), glow).astype(np.float32)

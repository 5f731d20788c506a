"""The shrunk copies of an image that MTCNN's first network slides over, laid out side by side on few canvases."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Final, TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

WINDOW_PX: Final = 12  # what one position of the first network sees; the smallest face fills it
STRIDE_PX: Final = 2  # between neighbouring positions
# Bounds memory: some 0.4 GB inside the first network.
PIXELS_PER_CANVAS: Final = 4_000_000
# Sides are rounded up to a thirty-second of the power of two below: few different sizes, because each costs a runtime
# that compiles some time and memory, and 1 to 2 % more pixels a side.
_SIZES_PER_OCTAVE: Final = 32
_KEPT_LAYOUTS: Final = 16  # cameras send one size, or a few
# What is made of a canvas takes some 40 bytes a pixel: 4 canvases of this size, enough for 4K, take 0.3 GB.
_KEPT_CANVASES: Final = 4
_KEPT_PIXELS: Final = 2_000_000

SizeHw = tuple[int, int]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Level:
    """One shrunk copy: `scale` to the image, its size, and its first row and column on the canvas, even numbers."""

    scale: float
    size_hw: SizeHw
    at_yx: SizeHw

    @property
    def n_positions_hw(self) -> SizeHw:
        """How many positions of the window fit, one every other pixel; the last may hang over by one."""
        height, width = ((side - 2 + 1) // STRIDE_PX - 4 for side in self.size_hw)
        return height, width


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Levels side by side; no two share a pixel.

    `level_at (h, w)` int16 says for each position of the window on the canvas which level it lies in, -1 for none.
    """

    size_hw: SizeHw
    levels: tuple[Level, ...]
    level_at: NDArray[np.int16]


def remembered(make: Callable[[Canvas, *Ts], T]) -> Callable[[Canvas, *Ts], T]:
    """Decorates what makes something of a canvas and hashable values: that of the latest canvases is kept.

    Canvases of more than 2 million pixels take too much memory for that.
    """
    latest = lru_cache(maxsize=_KEPT_CANVASES)(make)

    @wraps(make)
    def get(canvas: Canvas, /, *args: *Ts) -> T:
        if canvas.size_hw[0] * canvas.size_hw[1] > _KEPT_PIXELS:
            return make(canvas, *args)
        return latest(canvas, *args)

    return get


def pyramid_scales(size_hw: SizeHw, min_face_px: int, factor: float) -> list[float]:
    """Scales at which the window fits faces of `min_face_px` and up; none for an image smaller than that."""
    scales = []
    scale = WINDOW_PX / min_face_px
    shorter = min(size_hw) * scale
    while shorter >= WINDOW_PX:
        scales.append(scale)
        scale *= factor
        shorter *= factor
    return scales


@lru_cache(maxsize=_KEPT_LAYOUTS)
def lay_out(size_hw: SizeHw, min_face_px: int, factor: float) -> tuple[Canvas, ...]:
    """Lay out the pyramid of an image of this size.

    Args:
        size_hw: of the image, px.
        min_face_px: smallest face that shall be found, px, at least 12.
        factor: ratio between neighbouring levels, between 0 and 1.

    Returns:
        Canvases of at most 4 million pixels, but for one that holds a single larger level; none for a small image.
    """
    scales = pyramid_scales(size_hw, min_face_px, factor)
    sizes = [(int(size_hw[0] * scale + 1), int(size_hw[1] * scale + 1)) for scale in scales]
    levels = iter(zip(scales, sizes, strict=True))
    return tuple(
        _canvas([Level(scale, size, at) for at, (scale, size) in zip(places, levels, strict=False)])
        for places in _places(sizes)
    )


def _places(sizes: Sequence[SizeHw]) -> Iterator[list[SizeHw]]:
    """For each canvas in turn, where on it the next levels lie."""
    shelf = _Shelf()
    for size in sizes:
        if not shelf.has_room(size):
            yield shelf.places
            shelf = _Shelf()
        shelf.put(size)
    if shelf.places:
        yield shelf.places


class _Shelf:
    """Levels that come in order of size: each in a gap that others left, or else at the right end."""

    def __init__(self) -> None:
        self.places: list[SizeHw] = []
        self._gaps: list[tuple[SizeHw, SizeHw]] = []  # first row and column, and size; no two overlap
        self._height = self._width = 0

    def has_room(self, size: SizeHw) -> bool:
        height, width = _even(size)
        if not self.places or self._gap_for(height, width) is not None:
            return True
        return self._height * (self._width + width) <= PIXELS_PER_CANVAS

    def put(self, size: SizeHw) -> None:
        height, width = _even(size)
        gap = self._gap_for(height, width)
        if gap is None:
            self._height = max(self._height, height)
            gap = (0, self._width), (self._height, width)
            self._width += width
        else:
            self._gaps.remove(gap)
        (y, x), (room_height, room_width) = gap
        self.places.append((y, x))
        self._gaps.append(((y + height, x), (room_height - height, room_width)))
        self._gaps.append(((y, x + width), (height, room_width - width)))

    def _gap_for(self, height: int, width: int) -> tuple[SizeHw, SizeHw] | None:
        """The lowest of those that are big enough."""
        fitting = (gap for gap in self._gaps if gap[1][0] >= height and gap[1][1] >= width)
        return min(fitting, key=lambda gap: gap[1][0], default=None)


def _canvas(levels: Sequence[Level]) -> Canvas:
    ends = [(at[0] + size[0], at[1] + size[1]) for at, size in ((level.at_yx, level.size_hw) for level in levels)]
    size_hw = _rounded_up(max(end[0] for end in ends)), _rounded_up(max(end[1] for end in ends))
    level_at = np.full([(side - 2 + 1) // STRIDE_PX - 4 for side in size_hw], -1, dtype=np.int16)
    for index, level in enumerate(levels):
        y, x = (at // STRIDE_PX for at in level.at_yx)
        height, width = level.n_positions_hw
        level_at[y : y + height, x : x + width] = index
    return Canvas(size_hw, tuple(levels), level_at)


def _even(size: SizeHw) -> SizeHw:
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def _rounded_up(side: int) -> int:
    step = max(2, (1 << side.bit_length() - 1) // _SIZES_PER_OCTAVE)
    return -(-side // step) * step

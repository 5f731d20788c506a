"""A cheap look at each frame: has anything moved? Most frames of most cameras show an empty door."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.types import RgbImage

# Looked at so small, a frame costs a fraction of a millisecond, and sensor noise is averaged away.
_SIDE_PX: Final = 160
# Grey levels that a pixel must differ by: above what compression and a sensor at night do to a small picture.
_STEP: Final = 12
# A face 40 px wide in a frame 1920 px wide covers 0.05 % of it, and whoever it belongs to is ten times as large.
_MOVED_SHARE: Final = 0.003
# Whoever stands still to look into the camera still is there: faces are looked for so long after the last movement.
_OPEN_S: Final = 3.0
# What stays becomes the background within seconds, at any frame rate.
_FORGET_S: Final = 4.0


class MotionGate:
    """Open while something moves, and a few seconds longer."""

    def __init__(self) -> None:
        self._background: NDArray[np.float32] | None = None
        self._last_s = 0.0
        self._open_until_s = float("-inf")

    def is_open(self, time_s: float, image: RgbImage) -> bool:
        """Take the next frame, `time_s` seconds on a clock that only goes forward; whether to look for faces in it."""
        small = _small_grey(image)
        if self._background is None or self._background.shape != small.shape:
            self._background = small  # the first frame: somebody may be standing there already
            moved = True
        else:
            moved = _has_moved(self._background, small)
            keep = np.float32(np.exp(-max(time_s - self._last_s, 0.0) / _FORGET_S))
            self._background = self._background * keep + small * (1 - keep)
        self._last_s = time_s
        if moved:
            self._open_until_s = time_s + _OPEN_S
        return time_s <= self._open_until_s


def _has_moved(background: NDArray[np.float32], small: NDArray[np.float32]) -> bool:
    change = small - background
    change -= np.median(change)  # a lamp, a cloud, the camera's own exposure
    return bool(np.mean(np.abs(change) > _STEP) >= _MOVED_SHARE)


def _small_grey(image: RgbImage) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    ratio = min(1.0, _SIDE_PX / max(height, width))
    size_wh = max(1, round(width * ratio)), max(1, round(height * ratio))
    # Colours after shrinking: a hundred times fewer pixels to convert.
    small = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.float32)

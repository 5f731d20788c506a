"""What a camera films as somebody turns the head: a face of a package's photo, its nose pushed to each side in turn."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from ml.types import RgbImage
from tests.ml.faces import grace_hopper

SIZE_WH: Final = (640, 480)
# How far the nose is pushed, in pixels, for each direction in the order in which the page asks for them.
PUSHES_XY: Final = {"frontal": (0, 0), "left": (-55, 0), "right": (40, 0), "up": (0, -32), "down": (0, 32)}
_NOSE_XY: Final = (248, 209)
_REACH_PX: Final = 45.0
# Chromium plays such a file at 30 frames a second, over and over; a busy machine looks at one picture in a second.
_FRAMES_EACH: Final = 120


def turned(direction: str) -> RgbImage:
    """Grace Hopper, `(480, 640, 3)`, looking that way."""
    photo = grace_hopper()[30:460, 20:500]
    rows, columns = np.mgrid[0 : photo.shape[0], 0 : photo.shape[1]].astype(np.float32)
    distance = (columns - _NOSE_XY[0]) ** 2 + (rows - _NOSE_XY[1]) ** 2
    share = np.exp(-distance / (2 * _REACH_PX**2))
    right, down = PUSHES_XY[direction]
    pushed = cv2.remap(photo, columns - right * share, rows - down * share, cv2.INTER_LINEAR)
    page = np.full((SIZE_WH[1], SIZE_WH[0], 3), 128, dtype=np.uint8)
    page[25 : 25 + pushed.shape[0], 80 : 80 + pushed.shape[1]] = pushed
    return page


def write_motion_jpeg(path: Path) -> Path:
    """A file for Chromium's `--use-file-for-fake-video-capture`: JPEGs, one after the other."""
    with path.open("wb") as file:
        for direction in PUSHES_XY:
            picture = cv2.cvtColor(turned(direction), cv2.COLOR_RGB2BGR)
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
            for _ in range(_FRAMES_EACH):
                file.write(jpeg.tobytes())
    return path

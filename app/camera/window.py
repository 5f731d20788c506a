"""The optional window: what the camera sees, with a box around each face."""

from collections.abc import Sequence
from threading import Event
from typing import Final

import cv2

from app.camera.finder import Found

_TITLE: Final = "rollcall camera (q ends)"
_GREEN, _ORANGE = (0, 200, 0), (255, 160, 0)


class WindowError(ValueError):
    """There can be no window; the message says why."""


class Window:
    """Shows frames; the key q ends the client."""

    def __init__(self, stop: Event) -> None:
        """Open nothing yet.

        Raises:
            WindowError: this OpenCV was built without windows.
        """
        if _has_no_windows():
            raise WindowError(
                "--show needs windows, which this OpenCV was built without: `pip uninstall opencv-python-headless` and "
                "`pip install opencv-python`, on a machine with a screen"
            )
        self._stop = stop

    def show(self, image: "cv2.typing.MatLike", found: Sequence[Found]) -> None:
        """The next frame; green: a good picture."""
        canvas = image.copy()
        for each in found:
            x1, y1, x2, y2 = (round(float(value)) for value in each.face.box_xyxy)
            cv2.rectangle(canvas, (x1, y1), (x2, y2), _GREEN if each.is_good else _ORANGE, 2)
        cv2.imshow(_TITLE, cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(1) & 0xFF == ord("q"):
            self._stop.set()


def _has_no_windows() -> bool:
    lines = (line.split() for line in cv2.getBuildInformation().splitlines())
    return ["GUI:", "NONE"] in lines

"""A capture: one picture of one visitor, with all that delivering it later takes; and the bytes it is kept as."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.camera.clock import Stamp
from app.camera.policy import USUAL_PX, WORTH_SENDING_PX

# Two detections of one face differ by about this much in size.
_SHARE_OF_FACE: Final = 0.8


class CaptureBrokenError(Exception):
    """What was read is no capture."""


@dataclass(frozen=True, slots=True)
class Capture:
    """`key` is its Idempotency-Key; `captured_at` the frame's time by the clock read as `stamp`, or of the film.

    `face_xyxy` px in the picture `jpeg`: where the visitor's face is.
    """

    key: str
    captured_at: datetime
    stamp: Stamp
    direction: str | None
    face_xyxy: tuple[float, float, float, float]
    jpeg: bytes

    @property
    def small_face_px(self) -> int | None:
        """How small a face the service must look for; None where the visitor's is as large as it expects faces to be.

        A service that looks for smaller ones than there are takes longer and finds faces in wallpaper.
        """
        x1, y1, x2, y2 = self.face_xyxy
        smallest = int(_SHARE_OF_FACE * min(x2 - x1, y2 - y1))
        return max(WORTH_SENDING_PX, smallest) if smallest < USUAL_PX else None

    def to_bytes(self) -> bytes:
        """A line of JSON, then the picture."""
        head = {
            "key": self.key,
            "captured_at": self.captured_at.isoformat(),
            "wall": self.stamp.wall.isoformat(),
            "up_s": self.stamp.up_s,
            "boot_id": self.stamp.boot_id,
            "direction": self.direction,
            "face_xyxy": list(self.face_xyxy),
        }
        return json.dumps(head).encode() + b"\n" + self.jpeg

    @classmethod
    def from_bytes(cls, content: bytes) -> "Capture":
        """What `to_bytes` wrote; CaptureBrokenError for anything else."""
        head, _, jpeg = content.partition(b"\n")
        try:
            return _built(json.loads(head), jpeg)
        except (ValueError, KeyError, TypeError) as error:
            raise CaptureBrokenError(f"not a capture of this release ({type(error).__name__})") from error


def _built(head: dict[str, Any], jpeg: bytes) -> Capture:
    x1, y1, x2, y2 = (float(value) for value in head["face_xyxy"])
    return Capture(
        key=str(head["key"]),
        captured_at=_aware(head["captured_at"]),
        stamp=Stamp(_aware(head["wall"]), float(head["up_s"]), str(head["boot_id"])),
        direction=head["direction"],
        face_xyxy=(x1, y1, x2, y2),
        jpeg=jpeg,
    )


def _aware(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    if read.utcoffset() is None:
        raise ValueError("a time without its offset")
    return read


def device_time(capture: Capture, now: Stamp) -> datetime | None:
    """What to tell the service as the device's time while delivering at `now`; None: leave it to the heartbeats."""
    return capture.stamp.carried_on(now)

"""How small a face may be: as the service's policy for this camera says, or else as its picture suggests."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from app.settings import Settings

# What the service looks for unless a camera's policy says otherwise.
USUAL_PX: Final = int(Settings.model_fields["min_face_px"].default)
# A small picture shows small faces: of one that is 270 px high, a face that counts has 19 px, from 571 px on 40.
_SHARE_OF_HEIGHT: Final = 0.07
# Measured on shrunk photos: down to here small faces cost misses, below also false alarms.
WORTH_SENDING_PX: Final = 18

_FILE: Final = "policy.json"
_LEAST_PX: Final = 12  # what the detector can see
_LARGEST_PX: Final = 10_000


def smallest_face_px(frame_height: int) -> int:
    """Shorter side of the smallest face that is sent where nobody says otherwise, px, in frames this many px high."""
    return min(USUAL_PX, max(WORTH_SENDING_PX, round(_SHARE_OF_HEIGHT * frame_height)))


class PolicyMemory:
    """The last policy heard of, in the spool's folder for a start at which the service is away. Nothing secret."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self.min_face_px = self._recalled()

    def hear(self, heartbeat: Mapping[str, Any]) -> None:
        """Take the policy out of the answer to a heartbeat."""
        camera = heartbeat.get("camera")
        policy = camera.get("policy") if isinstance(camera, Mapping) else None
        if not isinstance(policy, Mapping):
            return
        heard = _checked(policy.get("min_face_px"))
        if heard != self.min_face_px:
            self.min_face_px = heard
            with suppress(OSError):  # a full disk: then it is only forgotten with the process
                self._remember()

    def _remember(self) -> None:
        aside = self._path.with_suffix(".json.new")
        aside.write_text(json.dumps({"min_face_px": self.min_face_px}))
        aside.rename(self._path)

    def _recalled(self) -> int | None:
        try:
            return _checked(json.loads(self._path.read_text())["min_face_px"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _checked(value: object) -> int | None:
    """None where the policy leaves it open; what makes no sense counts as that."""
    is_usable = isinstance(value, int) and not isinstance(value, bool) and _LEAST_PX <= value <= _LARGEST_PX
    return int(str(value)) if is_usable else None

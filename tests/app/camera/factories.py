"""Captures and stamps for tests of the camera client."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np

from app.camera.captures import Capture
from app.camera.clock import Stamp, read_clocks
from app.camera.pictures import Picture
from app.camera.visits import View
from ml.types import FloatArray, Pose, Quality

MORNING = datetime(2026, 3, 2, 8, 59, 12, tzinfo=UTC)


def make_stamp(*, wall: datetime = MORNING, up_s: float = 1000.0, boot_id: str = "boot") -> Stamp:
    return Stamp(wall, up_s, boot_id)


def make_capture(
    *,
    captured_at: datetime = MORNING,
    stamp: Stamp | None = None,
    direction: str | None = "in",
    jpeg: bytes = b"\xff\xd8\xff jpeg",
    key: str | None = None,
) -> Capture:
    return Capture(key or str(uuid4()), captured_at, stamp or read_clocks(), direction, (10.0, 12.0, 50.0, 62.0), jpeg)


def make_view(*, time_s: float, worth: float = 0.5, is_good: bool = True) -> View:
    picture = Picture(MORNING + timedelta(seconds=time_s), np.zeros((8, 8, 3), np.uint8), (2.0, 2.0, 6.0, 6.0))
    return View(time_s, make_stamp(), picture, worth, is_good)


def make_box(*, x: float, y: float = 200.0, width: float = 60.0) -> FloatArray:
    """A face with its middle at `x, y`."""
    half_wh = np.array([width / 2, width * 0.6])
    return np.array([x, y, x, y], dtype=np.float32) + np.concatenate([-half_wh, half_wh]).astype(np.float32)


def make_quality(
    *, yaw_deg: float = 0.0, size_px: float = 100.0, sharpness: float = 0.03, detection_score: float = 0.99
) -> Quality:
    return Quality(0.0, Pose(yaw_deg, 0.0, 0.0), size_px, sharpness, 120.0, detection_score)

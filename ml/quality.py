"""Chip + landmarks -> quality: how usable a face is, and in which words it is refused."""

from dataclasses import dataclass

import cv2
import numpy as np

from ml.pose import estimate_pose
from ml.types import Chip, Face, Pose, Quality, Reason

# Sharpness is measured at one size, so that it means the same for every backbone.
_MEASURED_SIDE_PX = 112
# The middle of a chip holds skin, eyes and mouth of every backbone's template; its rim holds hair and background.
_FACE_FROM, _FACE_TO = 0.2, 0.8


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Where a measured value becomes a reason; one instance for enrolling, a milder one for searching.

    `min_face_px` px of the box's shorter side; `min_sharpness` as `measure_sharpness`; brightness 0..255;
    angles in degrees; `min_detection_score` 0..1; `min_score` 0..1 of the quality as a whole.
    """

    min_face_px: float
    min_sharpness: float
    min_brightness: float
    max_brightness: float
    max_yaw_deg: float
    max_pitch_deg: float
    min_detection_score: float
    min_score: float = 0.0


# Chosen on the development photos so that about 1 in 200 ordinary press photos is refused for enrolling and 1 in
# 1000 for searching; a refused probe counts as a miss, so the search gate only stops what cannot be recognised: two of
# three blurred faces below that sharpness are missed, and no template shows a head turned further.
ENROLL_LIMITS = QualityLimits(
    min_face_px=40,
    min_sharpness=0.0040,
    min_brightness=35,
    max_brightness=230,
    max_yaw_deg=60,
    max_pitch_deg=45,
    min_detection_score=0.90,
)
SEARCH_LIMITS = QualityLimits(
    min_face_px=36,
    min_sharpness=0.0040,
    min_brightness=20,
    max_brightness=245,
    max_yaw_deg=60,
    max_pitch_deg=60,
    min_detection_score=0.80,
)


def measure_quality(chip: Chip, face: Face) -> Quality:
    """Measure how usable one face is.

    Args:
        chip: `(S, S, 3)` uint8 RGB, aligned.
        face: the detection that the chip was cut from, in pixels of its image.

    Returns:
        Quality; the weakest of its parts decides the score.
    """
    grey = _grey_face(chip)
    pose = estimate_pose(face.landmarks)
    sharpness, brightness = measure_sharpness(grey), float(grey.mean())
    return Quality(
        score=_score(face, pose, sharpness, brightness),
        pose=pose,
        size_px=face.size_px,
        sharpness=sharpness,
        brightness=brightness,
        detection_score=face.detection_score,
    )


def reasons_against(quality: Quality, limits: QualityLimits) -> tuple[Reason, ...]:
    """Name everything that stands against using a face, in the order size, light, blur, pose, detection, whole."""
    pose = quality.pose
    turned = abs(pose.yaw_deg) > limits.max_yaw_deg or abs(pose.pitch_deg) > limits.max_pitch_deg
    checks = (
        (quality.size_px < limits.min_face_px, Reason.FACE_TOO_SMALL),
        (quality.brightness < limits.min_brightness, Reason.TOO_DARK),
        (quality.brightness > limits.max_brightness, Reason.TOO_BRIGHT),
        (quality.sharpness < limits.min_sharpness, Reason.BLURRED),
        (turned, Reason.EXTREME_POSE),
        (quality.detection_score < limits.min_detection_score, Reason.LOW_DETECTION_SCORE),
        (quality.score < limits.min_score, Reason.LOW_QUALITY),
    )
    return tuple(reason for failed, reason in checks if failed)


def measure_sharpness(grey: np.ndarray) -> float:
    """Fine detail relative to contrast: variance of the Laplacian over variance of the picture.

    Args:
        grey: `(H, W)` uint8 face region.

    Returns:
        0 for a flat or fully blurred picture, about 0.01-0.2 for press photos; not sensitive to exposure.

    Source: variance of the Laplacian as a focus measure, Pech-Pacheco et al., 2000; divided by the contrast here,
    so that a pale face is not called blurred.
    """
    contrast = float(grey.var())
    if contrast < 1.0:
        return 0.0
    smooth = cv2.GaussianBlur(grey, (3, 3), 0)  # sensor noise in the dark would pass for detail
    return float(cv2.Laplacian(smooth, cv2.CV_32F).var()) / contrast


def _grey_face(chip: Chip) -> np.ndarray:
    side = chip.shape[0]
    middle = chip[int(side * _FACE_FROM) : int(side * _FACE_TO), int(side * _FACE_FROM) : int(side * _FACE_TO)]
    grey = cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY)
    measured = round(_MEASURED_SIDE_PX * (_FACE_TO - _FACE_FROM))
    return cv2.resize(grey, (measured, measured), interpolation=cv2.INTER_AREA)


def _score(face: Face, pose: Pose, sharpness: float, brightness: float) -> float:
    """The weakest part decides: a sharp profile is no better than a blurred frontal face."""
    parts = (
        _ramp(face.size_px, 20, 100),
        _ramp(brightness, 10, 80),
        _ramp(255 - brightness, 5, 60),
        _ramp(sharpness, 0.0, 0.02),
        _ramp(90 - abs(pose.yaw_deg), 0, 75),
        _ramp(90 - abs(pose.pitch_deg), 0, 65),
        _ramp(face.detection_score, 0.6, 0.99),
    )
    return round(min(parts), 3)


def _ramp(value: float, worst: float, good: float) -> float:
    return min(max((value - worst) / (good - worst), 0.0), 1.0)

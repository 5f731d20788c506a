import cv2
import numpy as np
import pytest
from skimage import data

from ml.alignment import align_face
from ml.backbones.cards import find_card
from ml.quality import ENROLL_LIMITS, SEARCH_LIMITS, measure_quality, measure_sharpness, reasons_against
from ml.types import Face, Reason
from tests.ml.factories import make_face, make_quality
from tests.ml.test_alignment import LANDMARKS

TEMPLATE = find_card("dlib-resnet").template_array


def test_a_good_photo_has_no_reason_against_it() -> None:
    face = Face(np.array([180, 60, 270, 170], np.float32), LANDMARKS, 0.999)
    quality = measure_quality(align_face(data.astronaut(), face, TEMPLATE, 150), face)
    assert reasons_against(quality, ENROLL_LIMITS) == ()
    assert quality.score > 0.6
    assert abs(quality.pose.yaw_deg) < 25


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size_px": 39}, Reason.FACE_TOO_SMALL),
        ({"brightness": 30}, Reason.TOO_DARK),
        ({"brightness": 240}, Reason.TOO_BRIGHT),
        ({"sharpness": 0.003}, Reason.BLURRED),
        ({"yaw_deg": -61}, Reason.EXTREME_POSE),
        ({"pitch_deg": 46}, Reason.EXTREME_POSE),
        ({"detection_score": 0.8}, Reason.LOW_DETECTION_SCORE),
    ],
)
def test_each_limit_has_its_reason(change: dict[str, float], reason: Reason) -> None:
    assert reasons_against(make_quality(**change), ENROLL_LIMITS) == (reason,)


def test_searching_is_milder_than_enrolling() -> None:
    poor = make_quality(size_px=38, brightness=30, pitch_deg=50, detection_score=0.85)
    assert reasons_against(poor, SEARCH_LIMITS) == ()
    assert len(reasons_against(poor, ENROLL_LIMITS)) == 4


def test_blur_lowers_sharpness_and_exposure_does_not() -> None:
    grey = cv2.cvtColor(data.astronaut()[60:170, 170:280], cv2.COLOR_RGB2GRAY)
    sharp = measure_sharpness(grey)
    assert measure_sharpness(cv2.GaussianBlur(grey, (0, 0), 3)) < 0.2 * sharp
    assert measure_sharpness((grey * 0.5).astype(np.uint8)) == pytest.approx(sharp, rel=0.25)


def test_a_flat_picture_has_no_sharpness() -> None:
    assert measure_sharpness(np.full((60, 60), 128, np.uint8)) == 0


def test_the_score_falls_with_the_weakest_part() -> None:
    chip = align_face(data.astronaut(), Face(np.zeros(4, np.float32), LANDMARKS, 1.0), TEMPLATE, 150)
    small, large = make_face(box_xyxy=(0, 0, 30, 36)), make_face(box_xyxy=(0, 0, 120, 144))
    assert measure_quality(chip, small).score < measure_quality(chip, large).score
    assert measure_quality((chip * 0.1).astype(np.uint8), large).score < measure_quality(chip, large).score

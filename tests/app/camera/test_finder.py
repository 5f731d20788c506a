"""Faces of a frame, and how much a picture of each is worth."""

import cv2
import numpy as np
import pytest

from app.camera.finder import FaceFinder, worth_of
from tests.app.camera.factories import make_quality
from tests.ml.faces import astronaut, enlarged


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(40)


def test_a_face_is_found_in_pixels_of_the_whole_frame_whatever_its_size(finder: FaceFinder) -> None:
    once, thrice = finder.find(astronaut()), finder.find(enlarged(astronaut(), 3))
    assert len(once) == len(thrice) == 1
    np.testing.assert_allclose(thrice[0].face.box_xyxy, 3 * once[0].face.box_xyxy, atol=25)
    np.testing.assert_allclose(thrice[0].face.landmarks, 3 * once[0].face.landmarks, atol=25)
    assert once[0].is_large and once[0].is_good


def test_a_face_below_the_limit_is_followed_but_not_sent(finder: FaceFinder) -> None:
    small = cv2.resize(astronaut(), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    found = finder.find(np.asarray(small, dtype=np.uint8))
    assert [(each.is_large, each.is_good) for each in found] == [(False, False)]


def test_a_blurred_picture_of_the_same_face_is_worth_less(finder: FaceFinder) -> None:
    sharp, blurred = finder.find(astronaut())[0], finder.find(cv2.GaussianBlur(astronaut(), (0, 0), 5))[0]
    assert blurred.worth < 0.5 * sharp.worth


def test_an_empty_picture_has_no_faces(finder: FaceFinder) -> None:
    assert finder.find(np.zeros((480, 640, 3), np.uint8)) == []
    assert finder.find(np.zeros((5, 5, 3), np.uint8)) == []


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"size_px": 80}, {"size_px": 40}),
        ({"yaw_deg": 5}, {"yaw_deg": -50}),
        ({"sharpness": 0.02}, {"sharpness": 0.005}),
        ({"detection_score": 0.99}, {"detection_score": 0.7}),
    ],
)
def test_large_frontal_sharp_and_sure_is_better(better: dict[str, float], worse: dict[str, float]) -> None:
    assert worth_of(make_quality(**better)) > worth_of(make_quality(**worse))
    assert 0 <= worth_of(make_quality(**worse)) <= 1

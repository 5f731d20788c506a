import numpy as np
import pytest

from ml.backbones.cards import DLIB_TEMPLATE
from ml.pose import MEAN_FACE_XYZ, estimate_pose
from ml.types import FloatArray


def make_landmarks(*, yaw_deg: float, pitch_deg: float, roll_deg: float) -> FloatArray:
    """The mean face turned and seen from far away; x right, y down, z towards the camera."""
    y, p, r = np.radians([yaw_deg, pitch_deg, roll_deg])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    lean = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return ((MEAN_FACE_XYZ @ (lean @ turn @ nod).T)[:, :2] * 60 + 200).astype(np.float32)


@pytest.mark.parametrize("pose", [(0, 0, 0), (30, 0, 0), (0, 20, 0), (0, 0, 15), (-40, 10, 5), (20, -25, -10)])
def test_a_turned_mean_face_is_read_back(pose: tuple[float, float, float]) -> None:
    yaw, pitch, roll = pose
    found = estimate_pose(make_landmarks(yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll))
    assert (found.yaw_deg, found.pitch_deg, found.roll_deg) == pytest.approx(pose, abs=0.2)


def test_a_nose_to_the_right_of_the_image_is_positive_yaw_and_a_raised_one_positive_pitch() -> None:
    frontal = np.array(DLIB_TEMPLATE, np.float32)
    right, up = frontal.copy(), frontal.copy()
    right[2, 0] += 10
    up[2, 1] -= 10
    assert estimate_pose(right).yaw_deg > 10
    assert estimate_pose(up).pitch_deg > 10


def test_the_average_photo_is_frontal() -> None:
    pose = estimate_pose(np.array(DLIB_TEMPLATE, np.float32))
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx((0, 0, 0), abs=1)


def test_landmarks_that_all_coincide_are_no_error() -> None:
    estimate_pose(np.zeros((5, 2), np.float32))

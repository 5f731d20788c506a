import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.backbones.cards import DLIB_TEMPLATE
from ml.pose import FRONTAL_WITHIN_DEG, MEAN_FACE_XYZ, POSES, angle_between, estimate_pose, main_pose, poses_shown
from ml.quality import ENROLL_LIMITS
from ml.types import FloatArray, Pose


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


@pytest.mark.parametrize(
    ("yaw_deg", "pitch_deg", "shown"),
    [
        (0, 0, ("frontal",)),
        (14.9, -14.9, ("frontal",)),
        (-15, 0, ("left",)),
        (15, 0, ("right",)),
        (0, 15, ("up",)),
        (0, -15, ("down",)),
        (-30, 20, ("left", "up")),
        (20, -30, ("right", "down")),
    ],
)
def test_poses_are_named_by_where_the_nose_points_in_the_picture(
    yaw_deg: float, pitch_deg: float, shown: tuple[str, ...]
) -> None:
    assert poses_shown(Pose(yaw_deg, pitch_deg, 0.0)) == shown


def test_of_two_poses_the_one_that_the_head_is_turned_further_to_is_the_main_one() -> None:
    assert main_pose(Pose(-30, 20, 0)) == "left"
    assert main_pose(Pose(-20, 30, 0)) == "up"
    assert main_pose(Pose(16, 2, 0)) == "right"


@given(yaw_deg=st.floats(-90, 90), pitch_deg=st.floats(-90, 90), roll_deg=st.floats(-180, 180))
def test_every_pose_has_a_name_and_mirroring_swaps_left_and_right_alone(
    yaw_deg: float, pitch_deg: float, roll_deg: float
) -> None:
    pose, mirrored = Pose(yaw_deg, pitch_deg, roll_deg), Pose(-yaw_deg, pitch_deg, -roll_deg)
    swapped = {"left": "right", "right": "left"}
    assert main_pose(pose) in poses_shown(pose)
    assert set(poses_shown(pose)) <= set(POSES)
    assert {swapped.get(name, name) for name in poses_shown(pose)} == set(poses_shown(mirrored))


def test_every_pose_can_be_had_within_what_enrolling_accepts() -> None:
    assert min(ENROLL_LIMITS.max_yaw_deg, ENROLL_LIMITS.max_pitch_deg) > FRONTAL_WITHIN_DEG


def test_the_angle_between_two_poses_counts_turning_and_nodding_but_not_leaning() -> None:
    assert angle_between(Pose(10, 0, 0), Pose(-20, 40, 90)) == pytest.approx(50)
    assert angle_between(Pose(5, 5, 0), Pose(5, 5, 30)) == 0

"""Landmarks -> head pose: which way the face is turned, from five points."""

import math

import numpy as np

from ml.types import FloatArray, Pose

POSES = ("frontal", "left", "right", "up", "down")
"""The poses that enrolling wants, as the REST contract names them. Left and right are those of the picture: whose left
that is depends on whether the camera mirrors, which nothing in a picture tells."""
# Turned less than this, a face counts as frontal. Within what the quality gate accepts, so that every pose can be had.
FRONTAL_WITHIN_DEG = 15.0

# A mean face in units of the distance between the eyes; x right, y down, z towards the camera, in landmark order.
# x and y are the mean MTCNN landmarks of 2 485 near-frontal photos, so that the average face of a photo archive is
# "0, 0, 0"; z is anatomy (the nose tip stands about 0.4 eye distances before the eyes, the mouth slightly).
MEAN_FACE_XYZ = np.array(
    [
        [-0.500, -0.487, 0.00],
        [0.500, -0.487, 0.00],
        [0.000, 0.098, 0.42],
        [-0.442, 0.606, 0.08],
        [0.442, 0.606, 0.08],
    ]
)

# Landmarks times this are the camera that shows the mean face closest to them, in least squares.
_FIT = np.linalg.pinv(MEAN_FACE_XYZ - MEAN_FACE_XYZ.mean(axis=0))


def estimate_pose(landmarks: FloatArray) -> Pose:
    """Estimate the head's rotation by fitting a mean face seen from far away.

    Args:
        landmarks: `(5, 2)` px, order as in `ml.types.Face`.

    Returns:
        Degrees; yaw > 0 when the nose points to the image's right, pitch > 0 when it points up, roll > 0 when the
        head leans clockwise as seen in the image. Good to about 10 degrees, less beyond 45.

    Source: scaled orthography (weak perspective): an affine camera fitted by least squares, its two rows made
    orthonormal to give the rotation.
    """
    points = landmarks.astype(np.float64) - landmarks.mean(axis=0, dtype=np.float64)
    camera = (_FIT @ points).T
    u, _, vt = np.linalg.svd(camera, full_matrices=False)
    right, down = u @ vt
    (a, b, c), (d, e, f) = right.tolist(), down.tolist()
    forward = b * f - c * e, c * d - a * f, a * e - b * d
    yaw = math.asin(min(max(-forward[0], -1.0), 1.0))
    angles = yaw, math.atan2(forward[1], forward[2]), math.atan2(d, a)
    return Pose(*(round(math.degrees(angle), 1) for angle in angles))


def poses_shown(pose: Pose) -> tuple[str, ...]:
    """Name the `POSES` that a face counts for: "frontal" alone, or one or two of the others."""
    turned = {
        "left": pose.yaw_deg <= -FRONTAL_WITHIN_DEG,
        "right": pose.yaw_deg >= FRONTAL_WITHIN_DEG,
        "up": pose.pitch_deg >= FRONTAL_WITHIN_DEG,
        "down": pose.pitch_deg <= -FRONTAL_WITHIN_DEG,
    }
    return tuple(name for name, is_shown in turned.items() if is_shown) or ("frontal",)


def main_pose(pose: Pose) -> str:
    """Name the one of `POSES` that a face shows most: of two, the one it is turned further to."""
    shown = poses_shown(pose)
    if len(shown) == 1:
        return shown[0]
    return shown[0] if abs(pose.yaw_deg) >= abs(pose.pitch_deg) else shown[1]


def angle_between(a: Pose, b: Pose) -> float:
    """How far the head turned from one pose to the other, degrees of yaw and pitch; leaning does not count."""
    return float(np.hypot(a.yaw_deg - b.yaw_deg, a.pitch_deg - b.pitch_deg))

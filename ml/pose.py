"""Landmarks -> head pose: which way the face is turned, from five points."""

import numpy as np

from ml.types import FloatArray, Pose

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
    model = MEAN_FACE_XYZ - MEAN_FACE_XYZ.mean(axis=0)
    points = landmarks.astype(np.float64) - landmarks.mean(axis=0, dtype=np.float64)
    camera = np.linalg.lstsq(model, points, rcond=None)[0].T
    u, _, vt = np.linalg.svd(camera, full_matrices=False)
    right, down = u @ vt
    forward = np.cross(right, down)
    yaw = np.arcsin(np.clip(-forward[0], -1.0, 1.0))
    pitch = np.arctan2(forward[1], forward[2])
    roll = np.arctan2(down[0], right[0])
    return Pose(*(round(float(np.degrees(angle)), 1) for angle in (yaw, pitch, roll)))

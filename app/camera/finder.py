"""A frame to the faces in it, and how good a picture of each it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from ml.detection import load_detector
from ml.plan import EnginePlan
from ml.pose import estimate_pose
from ml.quality import SEARCH_LIMITS, measure_sharpness, reasons_against
from ml.types import Face, FloatArray, Quality, RgbImage

# MTCNN finds faces of this size as surely as larger ones, and frames are shrunk as far as that leaves them so large.
_LOOK_PX: Final = 24
# Smaller faces than may be sent are followed too, so that whoever comes nearer is one visitor all the way.
_SHARE_FOLLOWED: Final = 0.75
# Sharpness is measured at the size that ml.quality measures at, so that the limits mean the same.
_MEASURED_PX: Final = 67
# Good enough to wait for nothing better: what enrolment photos look like.
_TURNED_DEG: Final = 35.0
_GOOD_SHARPNESS: Final = 0.02
_GOOD_SIZE_PX: Final = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A face in pixels of the whole frame; `worth` 0..1 compares pictures of one visitor.

    `is_large` enough to be sent; `is_good`: sharp, well lit and facing the camera as well.
    """

    face: Face
    worth: float
    is_large: bool
    is_good: bool


class FaceFinder:
    """Finds faces of `min_face_px` and somewhat smaller, in one thread."""

    def __init__(self, min_face_px: int) -> None:
        """Load the detector, which takes seconds.

        Args:
            min_face_px: shorter side of the smallest face that is sent.
        """
        import torch  # here, because it takes seconds to import

        torch.set_num_threads(1)  # of the whole process: a camera's small computer has other things to do
        self.min_face_px = min_face_px
        self._limits = replace(
            SEARCH_LIMITS, min_face_px=min_face_px, max_yaw_deg=_TURNED_DEG, max_pitch_deg=_TURNED_DEG
        )
        smallest = max(12.0, _SHARE_FOLLOWED * min_face_px)
        self._shrink = min(1.0, _LOOK_PX / smallest)
        plan = EnginePlan("torch", "float32", 1)
        self._detector = load_detector("mtcnn", min_face_px=max(12, round(smallest * self._shrink)), plan=plan)

    def find(self, image: RgbImage) -> list[Found]:
        """The faces of a frame."""
        small = _shrunk(image, self._shrink)
        ratio = np.array([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]], dtype=np.float32)
        return [self._judged(image, _in_full(face, ratio)) for face in self._detector.detect([small])[0]]

    def _judged(self, image: RgbImage, face: Face) -> Found:
        grey = grey_face(image, face.box_xyxy)
        pose = estimate_pose(face.landmarks)
        quality = Quality(
            score=0.0,
            pose=pose,
            size_px=face.size_px,
            sharpness=measure_sharpness(grey),
            brightness=float(grey.mean()),
            detection_score=face.detection_score,
        )
        return Found(
            face=face,
            worth=worth_of(quality),
            is_large=face.size_px >= self.min_face_px,
            is_good=not reasons_against(quality, self._limits),
        )


def worth_of(quality: Quality) -> float:
    """0..1: sharp times frontal times large times surely a face, each of which spoils a picture by itself."""
    pose = quality.pose
    frontal = np.cos(np.radians(min(abs(pose.yaw_deg), 89.0))) * np.cos(np.radians(min(abs(pose.pitch_deg), 89.0)))
    sharp = min(quality.sharpness / _GOOD_SHARPNESS, 1.0)
    large = min(quality.size_px / _GOOD_SIZE_PX, 1.0)
    return float(frontal * sharp * large * quality.detection_score)


def grey_face(image: RgbImage, box_xyxy: FloatArray) -> np.ndarray:
    """The middle of a face, `(67, 67)` uint8 grey; black where the box lies outside of the frame."""
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    side, cx, cy = 0.8 * max(x2 - x1, y2 - y1, 1.0), (x1 + x2) / 2, (y1 + y2) / 2
    size = max(1, round(side))
    patch = cv2.getRectSubPix(image, (size, size), (cx, cy))
    way = cv2.INTER_AREA if size > _MEASURED_PX else cv2.INTER_LINEAR
    return np.asarray(
        cv2.cvtColor(cv2.resize(patch, (_MEASURED_PX, _MEASURED_PX), interpolation=way), cv2.COLOR_RGB2GRAY)
    )


def boxes_of(found: Sequence[Found]) -> list[FloatArray]:
    """The boxes `(4,)` of faces."""
    return [each.face.box_xyxy for each in found]


def _shrunk(image: RgbImage, ratio: float) -> RgbImage:
    if ratio == 1.0:
        return image
    size_wh = max(1, round(image.shape[1] * ratio)), max(1, round(image.shape[0] * ratio))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _in_full(face: Face, ratio: FloatArray) -> Face:
    half = np.float32(0.5)  # pixel centres lie at whole numbers
    corners = (face.box_xyxy.reshape(2, 2) + half) * ratio - half
    return Face(corners.ravel(), (face.landmarks + half) * ratio - half, face.detection_score)

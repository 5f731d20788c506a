"""YuNet: a detector several times faster than MTCNN, from a file of 0.2 MB that has to be fetched."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.backbones.cards import find_card
from ml.backbones.weights import require_weights
from ml.detection import biggest_first, check_images
from ml.errors import ModelError
from ml.types import Face, FloatArray, RgbImage

# YuNet loses faces above some 500 px (of 40 LFW photos enlarged to make them 480 px high it found all, at 600 px 93 %,
# at 960 px a third), so a big picture is searched twice: fine for small faces, coarse for big ones.
_FINE_SIDE_PX: Final = 1920  # bounds time; faces of 20 px in it are still found
_COARSE_SIDE_PX: Final = 480  # a face that fills the whole picture is still found
_BIG_FACE_PX: Final = 320  # in the fine copy: from here on the coarse copy is believed as well
_BIGGEST_FINE_PX: Final = 400  # and from here on it alone
_MAX_OVERLAP: Final = 0.3  # IoU between two faces; the default of cv2.FaceDetectorYN
_MAX_FACES: Final = 5000  # candidates before suppression; the same default


class YunetDetector:
    """YuNet on OpenCV's own runtime, which runs on the CPU and one image at a time.

    An image is shrunk to at most 1920 px first: a face smaller than 20 px of that may be missed. Safe to share between
    threads, which then take turns.

    Source: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023; network from OpenCV's model zoo (MIT).
    """

    name = "yunet"

    def __init__(self, model_file: Path, min_face_px: int = 40, score_threshold: float = 0.7) -> None:
        """Load the network.

        Args:
            model_file: `face_detection_yunet_2023mar.onnx`.
            min_face_px: smaller faces are dropped; px of the box's longer side.
            score_threshold: faces with a lower score are dropped, 0..1.

        Raises:
            ModelError: the file is absent, or OpenCV cannot read it.
        """
        if not model_file.is_file():
            raise ModelError(f"{model_file} is not there: run `rollcall models pull yunet`")
        self._min_face_px = min_face_px
        self._lock = threading.Lock()  # the input size is a state of the network
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(model_file), "", (_COARSE_SIDE_PX, _COARSE_SIDE_PX), score_threshold, _MAX_OVERLAP, _MAX_FACES
            )
        except cv2.error as error:
            raise ModelError(f"{model_file} is not a YuNet: run `rollcall models pull yunet` again") from error

    def detect(self, images: Sequence[RgbImage]) -> list[list[Face]]:
        """Find the faces in each image; see `ml.detection.Detector.detect`."""
        check_images(images)
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: RgbImage) -> list[Face]:
        if min(image.shape[:2]) < self._min_face_px:
            return []
        faces = [_to_face(row) for row in self._search(image)]
        return biggest_first([face for face in faces if _longer_side_px(face) >= self._min_face_px])

    def _search(self, image: RgbImage) -> FloatArray:
        """Rows of YuNet in pixels of the image: x, y, width, height, five points, score."""
        fine = self._search_at(image, _FINE_SIDE_PX)
        longer_side_px = max(image.shape[:2])
        grow = max(1.0, longer_side_px / _FINE_SIDE_PX)
        if longer_side_px <= _COARSE_SIDE_PX or image.shape[0] <= _BIG_FACE_PX * grow:
            return fine
        coarse = self._search_at(image, _COARSE_SIDE_PX)
        of_fine, of_coarse = fine[:, 3] <= _BIGGEST_FINE_PX * grow, coarse[:, 3] >= _BIG_FACE_PX * grow
        return without_overlaps(np.concatenate([fine[of_fine], coarse[of_coarse]]))

    def _search_at(self, image: RgbImage, max_side_px: int) -> FloatArray:
        height, width = image.shape[:2]
        shrink = min(1.0, max_side_px / max(height, width))
        size_wh = max(1, round(width * shrink)), max(1, round(height * shrink))
        bgr = cv2.cvtColor(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        with self._lock:
            self._net.setInputSize(size_wh)
            _, rows = self._net.detect(bgr)
        if rows is None:
            return np.empty((0, 15), dtype=np.float32)
        grow = np.array([width / size_wh[0], height / size_wh[1]] * 7 + [1], dtype=np.float32)
        return np.asarray(rows * grow, dtype=np.float32)


def load_yunet(models_dir: Path | None, *, device: str = "cpu", min_face_px: int = 40) -> YunetDetector:
    """Load YuNet from the folder of fetched files.

    Args:
        models_dir: folder of fetched model files.
        device: `cpu`; OpenCV's wheels have no other.
        min_face_px: smaller faces are dropped; px of the box's longer side.

    Raises:
        ModelError: file absent or not the published one, or a device other than `cpu`.
    """
    if device != "cpu":
        raise ModelError(f"yunet runs on the cpu only, not on {device!r}: choose the detector mtcnn, or the device cpu")
    return YunetDetector(require_weights(find_card("yunet"), models_dir), min_face_px)


def without_overlaps(rows: FloatArray) -> FloatArray:
    """The rows of YuNet `(N, 15)` that overlap no row with a higher score."""
    kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), 0.0, _MAX_OVERLAP)
    return rows[np.asarray(kept, dtype=np.intp)]


def _to_face(row: NDArray[np.float32]) -> Face:
    # "Right eye" and so on are the person's own: in the picture they lie on the left, so the order is ours already.
    return Face(np.concatenate([row[:2], row[:2] + row[2:4]]), row[4:14].reshape(5, 2), float(row[14]))


def _longer_side_px(face: Face) -> float:
    return float(np.max(face.box_xyxy[2:] - face.box_xyxy[:2]))

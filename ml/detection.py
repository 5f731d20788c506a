"""An image to the faces in it: what a detector is, and how to get one by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from ml.errors import ModelError
from ml.plan import PLAIN, EnginePlan
from ml.types import Face, RgbImage

DETECTORS: Final = ("mtcnn", "yunet")


class Detector(Protocol):
    """Finds faces; its results do not depend on which images are offered together, beyond float rounding."""

    @property
    def name(self) -> str:
        """The word that `load_detector` takes."""

    def detect(self, images: Sequence[RgbImage]) -> list[list[Face]]:
        """Find the faces in each image.

        Args:
            images: `(H, W, 3)` uint8 RGB each, of any mix of sizes.

        Returns:
            For each image its faces, biggest box first, in pixels of that image; boxes may reach beyond its edges. An
            empty list for an image without a face or smaller than the smallest face; `[]` for no images.

        Raises:
            ValueError: something is not an image.
        """


def load_detector(
    name: str,
    *,
    models_dir: Path | None = None,
    device: str = "cpu",
    min_face_px: int = 40,
    plan: EnginePlan = PLAIN,
) -> Detector:
    """Load a detector by name.

    Args:
        name: `mtcnn` or `yunet`.
        models_dir: folder of fetched model files; `mtcnn` needs none.
        device: `cpu`, `cuda` or `cuda:N`; `yunet` runs on the CPU only.
        min_face_px: smallest face that is looked for, longer side in px; `mtcnn` may report a smaller one.
        plan: how the networks of `mtcnn` are run.

    Raises:
        ModelError: unknown name, file absent or not the expected one, or no such device.
    """
    match name:
        case "mtcnn":
            from ml.mtcnn import MtcnnDetector  # here, because torch takes seconds to import

            return MtcnnDetector(device, min_face_px, plan=plan)
        case "yunet":
            from ml.yunet import load_yunet

            return load_yunet(models_dir, device=device, min_face_px=min_face_px)
        case _:
            raise ModelError(f"there is no detector called {name!r}: choose one of {', '.join(DETECTORS)}")


def biggest_first(faces: Sequence[Face]) -> list[Face]:
    """Sort faces by the area of their boxes; equal ones keep their order."""
    return sorted(faces, key=lambda face: -float(np.prod(face.box_xyxy[2:] - face.box_xyxy[:2])))


def check_images(images: Sequence[RgbImage]) -> None:
    """Refuse what is not an `(H, W, 3)` uint8 image with at least one pixel, with a `ValueError` that says which."""
    for index, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"image {index} is {image.dtype} {image.shape}: give (H, W, 3) uint8 RGB")

"""Real chips from the two photos that ship inside wheels."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from ml.alignment import align_face
from ml.backbones.cards import find_card
from ml.types import Face

# MTCNN's landmarks in the two photos, written down so that these tests need no detector.
ASTRONAUT_LANDMARKS = [[205.0, 101.7], [246.8, 103.7], [224.7, 129.0], [201.7, 139.2], [245.3, 141.9]]
HOPPER_LANDMARKS = [[221.7, 192.2], [309.8, 186.1], [269.4, 239.2], [232.7, 279.6], [306.6, 275.9]]


def make_chip(image: NDArray[np.uint8], landmarks: list[list[float]], *, backbone: str) -> NDArray[np.uint8]:
    card = find_card(backbone)
    face = Face(np.zeros(4, np.float32), np.array(landmarks, np.float32), 1.0)
    return align_face(image, face, card.template_array, card.chip_size_px)


@pytest.fixture(scope="session")
def photos() -> list[tuple[NDArray[np.uint8], list[list[float]]]]:
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(hopper) as image:
        return [
            (skimage.data.astronaut(), ASTRONAUT_LANDMARKS),
            (np.asarray(image.convert("RGB")), HOPPER_LANDMARKS),
        ]


@pytest.fixture(scope="session")
def dlib_chips(photos: list[tuple[NDArray[np.uint8], list[list[float]]]]) -> NDArray[np.uint8]:
    """Astronaut, Grace Hopper, and an unaligned crop of the astronaut: `(3, 150, 150, 3)`."""
    aligned = [make_chip(image, landmarks, backbone="dlib-resnet") for image, landmarks in photos]
    return np.stack([*aligned, photos[0][0][45:195, 150:300]])

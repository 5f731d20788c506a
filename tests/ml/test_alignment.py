import numpy as np
import pytest
from skimage import data

from ml.alignment import align_face, similarity_transform
from ml.backbones.cards import find_card
from ml.types import Face, FloatArray

TEMPLATE = find_card("dlib-resnet").template_array
LANDMARKS = np.array([[205.0, 101.7], [246.8, 103.7], [224.7, 129.0], [201.7, 139.2], [245.3, 141.9]], np.float32)


def make_face(landmarks: FloatArray) -> Face:
    return Face(np.zeros(4, np.float32), landmarks.astype(np.float32), 1.0)


def test_a_similarity_is_recovered_exactly() -> None:
    angle = np.radians(20)
    linear = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (TEMPLATE @ linear.T + [12, -5]).astype(np.float32)
    found = similarity_transform(TEMPLATE, moved)
    np.testing.assert_allclose(found, np.column_stack([linear, [12, -5]]), atol=1e-4)


def test_a_similarity_never_mirrors() -> None:
    mirrored = TEMPLATE * np.array([-1, 1], np.float32)
    found = similarity_transform(TEMPLATE, mirrored)
    assert np.linalg.det(found[:, :2]) >= 0


def test_landmarks_on_the_template_leave_the_picture_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    np.testing.assert_array_equal(align_face(image, make_face(TEMPLATE), TEMPLATE, 150), image)


def test_turning_the_picture_does_not_change_the_chip() -> None:
    image = data.astronaut()
    turned = np.ascontiguousarray(np.rot90(image))  # counter-clockwise: (x, y) -> (y, width - 1 - x)
    landmarks = np.column_stack([LANDMARKS[:, 1], image.shape[1] - 1 - LANDMARKS[:, 0]])
    upright = align_face(image, make_face(LANDMARKS), TEMPLATE, 150).astype(int)
    again = align_face(turned, make_face(landmarks), TEMPLATE, 150).astype(int)
    assert np.abs(upright - again).mean() < 1


def test_a_face_over_the_edge_is_padded_with_black() -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    chip = align_face(image, make_face(TEMPLATE - 75), TEMPLATE, 150)
    assert chip[0, 0].tolist() == [0, 0, 0]
    assert chip[149, 149].tolist() == [255, 255, 255]


@pytest.mark.parametrize("scale", [3, 8])
def test_a_large_face_is_low_passed_before_it_is_shrunk(scale: int) -> None:
    # Stripes of one pixel are grey from afar; sampling without a low pass would keep black and white pixels.
    image = np.zeros((150 * scale, 150 * scale, 3), np.uint8)
    image[:, ::2] = 255
    chip = align_face(image, make_face(TEMPLATE * scale), TEMPLATE, 150)
    assert 100 < chip[20:130, 20:130].mean() < 155
    assert chip[20:130, 20:130].std() < 20


def test_a_large_face_looks_like_the_same_face_in_a_small_picture() -> None:
    small = data.astronaut()
    large = np.asarray(np.kron(small, np.ones((6, 6, 1))), np.uint8)
    chip = align_face(small, make_face(LANDMARKS), TEMPLATE, 150).astype(int)
    again = align_face(large, make_face(LANDMARKS * 6 + 2.5), TEMPLATE, 150).astype(int)
    assert np.abs(chip - again).mean() < 6


def test_a_chip_far_outside_the_image_is_black_and_no_error() -> None:
    image = np.full((300, 300, 3), 255, np.uint8)
    chip = align_face(image, make_face(TEMPLATE * 4 + 5000), TEMPLATE, 150)
    assert chip.max() == 0

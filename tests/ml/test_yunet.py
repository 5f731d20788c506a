"""YuNet, with its real file where this machine has it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ml.detection import Detector, load_detector
from ml.errors import ModelError
from ml.types import Face
from ml.yunet import YunetDetector, without_overlaps
from tests.ml.faces import (
    astronaut,
    data_file,
    dev_photos,
    enlarged,
    grace_hopper,
    iou,
    package_photos,
    three_sizes_of_one_face,
    video_frames,
)

FILE_NAME = "face_detection_yunet_2023mar.onnx"


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `rollcall models pull yunet` leaves it."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(data_file("models/yunet_s_640_640.onnx"), folder / FILE_NAME)  # byte for byte the published file
    return folder


@pytest.fixture(scope="module")
def yunet(models_dir: Path) -> Detector:
    return load_detector("yunet", models_dir=models_dir)


def assert_identical(found: list[Face], expected: list[Face]) -> None:
    assert len(found) == len(expected)
    for face, other in zip(found, expected, strict=True):
        assert np.array_equal(face.box_xyxy, other.box_xyxy)
        assert np.array_equal(face.landmarks, other.landmarks)
        assert face.detection_score == other.detection_score


def test_it_finds_the_faces_that_mtcnn_finds_with_landmarks_in_the_same_order(yunet: Detector) -> None:
    mtcnn = load_detector("mtcnn")
    for [face], [other] in zip(yunet.detect(package_photos()), mtcnn.detect(package_photos()), strict=True):
        assert iou(face.box_xyxy, other.box_xyxy) > 0.7
        # A swap of left and right would be off by the distance between the eyes, 40 px and more.
        assert np.abs(face.landmarks - other.landmarks).max() < 15
        assert face.box_xyxy.dtype == face.landmarks.dtype == np.float32
        assert (face.box_xyxy.shape, face.landmarks.shape) == ((4,), (5, 2))
        assert 0.7 <= face.detection_score <= 1


def test_landmarks_go_from_image_left_to_image_right(yunet: Detector) -> None:
    [[face]] = yunet.detect([grace_hopper()])
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_every_development_photo_has_a_face_in_its_middle(yunet: Detector) -> None:
    for faces in yunet.detect(dev_photos(60)):
        assert any((face.box_xyxy[:2] < 125).all() and (face.box_xyxy[2:] > 125).all() for face in faces)


def test_a_street_scene_has_several_faces_biggest_first(yunet: Detector) -> None:
    [faces] = yunet.detect(video_frames("street-1080p.mp4", every=1, n=1))
    areas = [float(np.prod(face.box_xyxy[2:] - face.box_xyxy[:2])) for face in faces]
    assert len(faces) >= 6
    assert areas == sorted(areas, reverse=True)


def test_many_faces_come_biggest_first(yunet: Detector) -> None:
    [faces] = yunet.detect([three_sizes_of_one_face()])
    assert [round(face.size_px / faces[2].size_px) for face in faces] == [4, 2, 1]


@pytest.mark.parametrize("times", [0.5, 1.5, 3.0, 4.0, 6.0, 10.0])
def test_a_face_of_any_size_is_found_once_where_it_is(yunet: Detector, times: float) -> None:
    """Alone, the network loses faces of 600 px and more: this head is 113 px high before it is enlarged."""
    close_up = astronaut()[:300, 80:380]
    [[face]] = yunet.detect([close_up])
    [[found]] = yunet.detect([enlarged(close_up, times)])
    assert iou(found.box_xyxy / np.float32(times), face.box_xyxy) > 0.75
    assert np.abs(found.landmarks / times - face.landmarks).max() < 10


def test_no_images_give_no_lists(yunet: Detector) -> None:
    assert yunet.detect([]) == []


@pytest.mark.parametrize("size_hw", [(1, 1), (39, 500), (500, 39), (200, 200), (1000, 700), (41, 9000)])
def test_an_image_without_a_face_gives_an_empty_list(yunet: Detector, size_hw: tuple[int, int]) -> None:
    assert yunet.detect([np.full((*size_hw, 3), 120, np.uint8)]) == [[]]


def test_faces_smaller_than_the_smallest_face_are_dropped(models_dir: Path) -> None:
    detector = load_detector("yunet", models_dir=models_dir, min_face_px=150)
    [faces] = detector.detect([three_sizes_of_one_face()])
    assert len(faces) == 2
    assert detector.detect([astronaut()]) == [[]]


def test_faces_below_the_score_threshold_are_dropped(models_dir: Path) -> None:
    assert YunetDetector(models_dir / FILE_NAME, score_threshold=0.99).detect(package_photos()) == [[], []]


def test_red_and_blue_are_not_interchangeable(yunet: Detector) -> None:
    [[rgb], [bgr]] = yunet.detect([astronaut(), astronaut()[:, :, ::-1]])
    assert np.abs(rgb.landmarks - bgr.landmarks).max() > 0.5
    assert rgb.detection_score > bgr.detection_score


def test_a_batch_gives_what_each_image_gives_alone(yunet: Detector) -> None:
    images = [grace_hopper(), np.zeros((30, 30, 3), np.uint8), enlarged(astronaut(), 4), three_sizes_of_one_face()]
    for faces, image in zip(yunet.detect(images), images, strict=True):
        assert_identical(faces, yunet.detect([image])[0])


def test_threads_can_share_a_detector(yunet: Detector) -> None:
    images = [*package_photos(), three_sizes_of_one_face(), enlarged(grace_hopper(), 0.7)] * 6
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: yunet.detect([image])[0], images))
    for faces, expected in zip(found, yunet.detect(images), strict=True):
        assert_identical(faces, expected)


def test_what_is_no_rgb_image_is_refused(yunet: Detector) -> None:
    with pytest.raises(ValueError, match="image 0 is"):
        yunet.detect([np.zeros((100, 100), np.uint8)])


def test_an_absent_file_is_refused_with_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="rollcall models pull yunet.*--from-file"):
        load_detector("yunet", models_dir=tmp_path)
    with pytest.raises(ModelError, match="rollcall models pull yunet"):
        load_detector("yunet")
    with pytest.raises(ModelError, match="rollcall models pull yunet"):
        YunetDetector(tmp_path / FILE_NAME)


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"something else")
    with pytest.raises(ModelError, match="sha256"):
        load_detector("yunet", models_dir=tmp_path)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"something else")
    with pytest.raises(ModelError, match="not a YuNet"):
        YunetDetector(tmp_path / "other.onnx")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "tpu"])
def test_a_device_other_than_the_cpu_is_refused_and_never_replaced(models_dir: Path, device: str) -> None:
    with pytest.raises(ModelError, match="cpu"):
        load_detector("yunet", models_dir=models_dir, device=device)


def test_of_overlapping_rows_the_better_stays() -> None:
    rows = np.zeros((3, 15), np.float32)
    rows[:, :4] = [[0, 0, 100, 100], [10, 0, 100, 100], [300, 0, 50, 50]]
    rows[:, 14] = [0.8, 0.9, 0.7]
    assert without_overlaps(rows)[:, 14].tolist() == pytest.approx([0.9, 0.7])
    assert without_overlaps(rows[:0]).shape == (0, 15)

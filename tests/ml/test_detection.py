"""MTCNN: the faces of facenet_pytorch's own implementation, whatever the images are batched with."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from torchvision.ops import nms

from ml.detection import Detector, biggest_first, load_detector
from ml.errors import ModelError
from ml.mtcnn import Candidates, MtcnnDetector, suppress, suppress_covered
from ml.pyramid import pyramid_scales
from ml.types import Face, FloatArray, RgbImage
from tests.ml.faces import (
    astronaut,
    dev_photos,
    enlarged,
    face_of_astronaut,
    grace_hopper,
    iou,
    package_photos,
    three_sizes_of_one_face,
    video_frames,
)


@pytest.fixture(scope="module")
def mtcnn() -> Detector:
    return load_detector("mtcnn")


def make_face(*, side: float, score: float = 1.0) -> Face:
    return Face(np.array([0, 0, side, side], np.float32), np.zeros((5, 2), np.float32), score)


def reference_faces(detector: MTCNN, image: RgbImage) -> list[tuple[FloatArray, FloatArray, float]]:
    boxes, scores, landmarks = detector.detect(image, landmarks=True)
    if boxes is None:
        return []
    columns = (np.array(column.tolist(), np.float32) for column in (boxes, landmarks, scores))
    return list(zip(*columns, strict=True))


def assert_agreement(ours: Sequence[Sequence[Face]], images: Sequence[RgbImage], min_face_px: int = 40) -> None:
    """The faces that facenet_pytorch finds one image at a time.

    Equal but for float rounding. That may pick the other of two boxes whose scores agree in all digits: 1 face of 1182.
    """
    detector = MTCNN(min_face_size=min_face_px, keep_all=True)
    overlaps = []
    for faces, image in zip(ours, images, strict=True):
        expected = reference_faces(detector, image)
        assert len(faces) == len(expected)
        for face in faces:
            box, landmarks, score = max(expected, key=lambda found: iou(found[0], face.box_xyxy))
            overlaps.append(iou(box, face.box_xyxy))
            assert np.abs(landmarks - face.landmarks).max() < 2
            assert face.detection_score == pytest.approx(score, abs=1e-3)
    assert min(overlaps) >= 0.9
    assert np.median(overlaps) > 0.999


def assert_same_faces(found: Sequence[Face], expected: Sequence[Face]) -> None:
    assert len(found) == len(expected)
    for face, other in zip(found, expected, strict=True):
        assert face.box_xyxy == pytest.approx(other.box_xyxy, abs=1e-2)
        assert face.landmarks == pytest.approx(other.landmarks, abs=1e-2)
        assert face.detection_score == pytest.approx(other.detection_score, abs=1e-4)


def test_photos_that_packages_carry_give_the_faces_of_facenet_pytorch(mtcnn: Detector) -> None:
    found = mtcnn.detect(package_photos())
    assert [len(faces) for faces in found] == [1, 1]
    assert_agreement(found, package_photos())


def test_several_faces_in_a_picture_give_the_faces_of_facenet_pytorch(mtcnn: Detector) -> None:
    assert_agreement(mtcnn.detect([three_sizes_of_one_face()]), [three_sizes_of_one_face()])


@pytest.mark.parametrize("min_face_px", [12, 20, 75])
def test_another_smallest_face_gives_the_faces_of_facenet_pytorch(min_face_px: int) -> None:
    photos = [image[::2, ::2] for image in package_photos()]
    assert_agreement(MtcnnDetector(min_face_px=min_face_px).detect(photos), photos, min_face_px)


def test_development_photos_give_the_faces_of_facenet_pytorch(mtcnn: Detector) -> None:
    photos = dev_photos(60)
    assert_agreement(mtcnn.detect(photos), photos)


def test_video_frames_give_the_faces_of_facenet_pytorch(mtcnn: Detector) -> None:
    frames = video_frames("street-1080p.mp4", every=30, n=3)
    found = mtcnn.detect(frames)
    assert max(len(faces) for faces in found) >= 5
    assert_agreement(found, frames)


def test_a_face_lies_where_the_face_is_with_landmarks_from_image_left_to_right(mtcnn: Detector) -> None:
    [[face]] = mtcnn.detect([grace_hopper()])
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert (face.landmarks > face.box_xyxy[:2]).all()
    assert (face.landmarks < face.box_xyxy[2:]).all()
    assert face.box_xyxy.dtype == face.landmarks.dtype == np.float32
    assert (face.box_xyxy.shape, face.landmarks.shape) == ((4,), (5, 2))
    assert 0.99 < face.detection_score <= 1


def test_no_images_give_no_lists(mtcnn: Detector) -> None:
    assert mtcnn.detect([]) == []


def test_an_image_without_a_face_gives_an_empty_list(mtcnn: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    assert mtcnn.detect([np.zeros((200, 200, 3), np.uint8), noise]) == [[], []]


@pytest.mark.parametrize("size_hw", [(1, 1), (39, 500), (500, 39), (1, 5000)])
def test_an_image_smaller_than_the_smallest_face_gives_an_empty_list(mtcnn: Detector, size_hw: tuple[int, int]) -> None:
    assert mtcnn.detect([np.full((*size_hw, 3), 200, np.uint8)]) == [[]]


def test_an_image_just_as_big_as_the_smallest_face_is_searched(mtcnn: Detector) -> None:
    assert mtcnn.detect([np.full((40, 40, 3), 200, np.uint8)]) == [[]]


def test_many_faces_come_biggest_first(mtcnn: Detector) -> None:
    [faces] = mtcnn.detect([three_sizes_of_one_face()])
    assert len(faces) == 3
    assert [round(face.size_px / faces[2].size_px) for face in faces] == [4, 2, 1]
    assert faces[0].box_xyxy[0] > 480
    assert faces[1].box_xyxy[2] < 300


def test_a_crowd_of_hundreds_is_found_whole(mtcnn: Detector) -> None:
    crowd = np.tile(face_of_astronaut(), (8, 8, 1))
    [faces] = mtcnn.detect([crowd])
    assert len(faces) == 64


def test_a_smallest_face_much_bigger_than_the_face_finds_none() -> None:
    assert load_detector("mtcnn", min_face_px=400).detect([astronaut()]) == [[]]


def test_red_and_blue_are_not_interchangeable(mtcnn: Detector) -> None:
    [[rgb], [bgr]] = mtcnn.detect([astronaut(), astronaut()[:, :, ::-1]])
    assert np.abs(rgb.landmarks - bgr.landmarks).max() > 0.1
    assert_agreement([[rgb]], [astronaut()])


def test_a_batch_gives_what_each_image_gives_alone(mtcnn: Detector) -> None:
    images = [
        grace_hopper(),
        np.zeros((300, 200, 3), np.uint8),
        astronaut(),
        astronaut()[:, ::-1],
        np.full((5, 5, 3), 9, np.uint8),
        three_sizes_of_one_face(),
        face_of_astronaut(),
        enlarged(grace_hopper(), 2.5),
    ]
    for faces, image in zip(mtcnn.detect(images), images, strict=True):
        assert_same_faces(faces, mtcnn.detect([image])[0])


def test_a_batch_of_development_photos_gives_what_each_gives_alone(mtcnn: Detector) -> None:
    photos = dev_photos(40)
    for faces, photo in zip(mtcnn.detect(photos), photos, strict=True):
        assert_same_faces(faces, mtcnn.detect([photo])[0])


def test_a_batch_too_big_for_one_pass_of_the_first_network_is_split() -> None:
    detector = MtcnnDetector(min_face_px=12)
    images = [np.ascontiguousarray(np.roll(astronaut()[:300, 80:380], 3 * i, axis=1)) for i in range(46)]
    assert len(images) * 301**2 > 4_000_000
    found = detector.detect(images)
    for index in (0, 30, 45):
        assert_same_faces(found[index], detector.detect([images[index]])[0])


def test_a_batch_too_big_for_the_working_memory_is_split(mtcnn: Detector) -> None:
    big = enlarged(astronaut(), 6)
    assert 2 * big.shape[0] * big.shape[1] > 4096**2
    alone = mtcnn.detect([big])[0]
    for faces in mtcnn.detect([big, big]):
        assert_same_faces(faces, alone)


@pytest.mark.parametrize("times", [2.0, 9.0, 12.0])
def test_a_face_in_a_very_big_picture_keeps_its_place(mtcnn: Detector, times: float) -> None:
    """Above 4096 px the picture is shrunk on the way."""
    [[face]] = mtcnn.detect([astronaut()])
    faces = mtcnn.detect([enlarged(astronaut(), times)])[0]
    assert iou(faces[0].box_xyxy, face.box_xyxy * np.float32(times)) > 0.85
    assert np.abs(faces[0].landmarks / times - face.landmarks).max() < 4


def test_a_panorama_whose_working_copy_is_lower_than_a_face_gives_an_empty_list(mtcnn: Detector) -> None:
    assert mtcnn.detect([np.full((50, 20_000, 3), 99, np.uint8)]) == [[]]


def test_the_same_images_give_the_same_numbers_again(mtcnn: Detector) -> None:
    first, again = mtcnn.detect(package_photos()), mtcnn.detect(package_photos())
    for [face], [other] in zip(first, again, strict=True):
        assert np.array_equal(face.box_xyxy, other.box_xyxy)
        assert np.array_equal(face.landmarks, other.landmarks)


def test_the_layout_in_memory_does_not_matter(mtcnn: Detector) -> None:
    image = astronaut()
    layouts = [np.asfortranarray(image), np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1], image.copy()[:]]
    layouts[2].flags.writeable = False
    for faces in mtcnn.detect(layouts):
        assert_same_faces(faces, mtcnn.detect([image])[0])


def test_threads_can_share_a_detector(mtcnn: Detector) -> None:
    images = package_photos() * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: mtcnn.detect([image])[0], images))
    for faces, expected in zip(found, mtcnn.detect(images), strict=True):
        assert_same_faces(faces, expected)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((100, 100), np.uint8),
        np.zeros((100, 100, 4), np.uint8),
        np.zeros((100, 100, 3), np.float32),
        np.zeros((0, 100, 3), np.uint8),
    ],
    ids=["grey", "four channels", "float", "no pixel"],
)
def test_what_is_no_rgb_image_is_refused(mtcnn: Detector, image: RgbImage) -> None:
    with pytest.raises(ValueError, match=r"image 1 is .* give \(H, W, 3\) uint8 RGB"):
        mtcnn.detect([astronaut(), image])


def test_an_unknown_detector_is_refused_with_the_choices() -> None:
    with pytest.raises(ModelError, match="mtcnn, yunet"):
        load_detector("retinaface")


@pytest.mark.parametrize("device", ["cuda:99", "mps", "tpu"])
def test_a_device_that_is_not_there_is_refused_and_never_replaced(device: str) -> None:
    with pytest.raises(ModelError, match="cpu"):
        load_detector("mtcnn", device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_finds_the_faces_that_the_cpu_finds(mtcnn: Detector) -> None:
    images = [*package_photos(), three_sizes_of_one_face()]
    on_gpu = load_detector("mtcnn", device="cuda").detect(images)
    for faces, expected in zip(on_gpu, mtcnn.detect(images), strict=True):
        assert len(faces) == len(expected)
        for face, other in zip(faces, expected, strict=True):  # the GPU may multiply in TF32
            assert iou(face.box_xyxy, other.box_xyxy) > 0.95
            assert np.abs(face.landmarks - other.landmarks).max() < 2


@pytest.mark.parametrize(("min_face_px", "factor"), [(11, 0.709), (40, 1.0), (40, 0.0)])
def test_settings_out_of_range_are_refused(min_face_px: int, factor: float) -> None:
    with pytest.raises(ValueError, match="at least 12 and factor between"):
        MtcnnDetector(min_face_px=min_face_px, factor=factor)


def test_the_pyramid_ends_where_the_window_no_longer_fits() -> None:
    assert pyramid_scales((39, 1000), 40, 0.5) == []
    assert pyramid_scales((40, 1000), 40, 0.5) == [0.3]
    assert pyramid_scales((1000, 160), 40, 0.5) == pytest.approx([0.3, 0.15, 0.075])


def test_a_box_within_a_better_box_goes_however_small_it_is() -> None:
    boxes = np.array([[0, 0, 99, 99], [10, 10, 29, 29], [60, 0, 159, 99]], np.float32)
    scores = np.array([0.9, 0.8, 0.95], np.float32)
    same, other = np.array([0, 0, 0]), np.array([0, 1, 0])
    assert suppress_covered(boxes, scores, same, 0.7) == [2, 0]
    assert suppress_covered(boxes, scores, other, 0.7) == [2, 0, 1]


def test_of_equally_good_boxes_the_later_stays() -> None:
    boxes = np.array([[0, 0, 9, 9]] * 2, np.float32)
    assert suppress_covered(boxes, np.ones(2, np.float32), np.zeros(2, np.int64), 0.7) == [1]


def test_no_boxes_suppress_nothing() -> None:
    assert suppress_covered(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64), 0.7) == []


def test_equally_big_faces_keep_their_order() -> None:
    faces = [make_face(side=5, score=0.1), make_face(side=9), make_face(side=5, score=0.2)]
    assert [face.detection_score for face in biggest_first(faces)] == [1.0, 0.1, 0.2]
    assert biggest_first([]) == []


def test_each_image_keeps_its_first_candidates_in_their_order() -> None:
    owners = torch.tensor([1, 0, 1, 1, 0, 2])
    scores = torch.arange(6.0)
    boxes = torch.zeros((6, 4))
    kept = Candidates(boxes, scores, boxes, owners).first(2)
    assert kept.scores.tolist() == [0, 1, 2, 4, 5]
    assert kept.owners.tolist() == [1, 0, 1, 0, 2]


@pytest.mark.parametrize("n", [0, 1, 2000, 3000])
def test_boxes_are_suppressed_by_those_of_their_own_image_and_level_only(n: int) -> None:
    """Few are swept at once, many group by group."""
    generator = torch.Generator().manual_seed(0)
    corners = 60 * torch.rand((n, 2), generator=generator) - 30
    boxes = torch.cat([corners, corners + 8 + 8 * torch.rand((n, 2), generator=generator)], dim=1)
    owners, levels = (torch.randint(0, 5, (n,), generator=generator) for _ in range(2))
    scores = torch.randperm(n, generator=generator) / max(1, n)
    found = suppress(Candidates(boxes, scores, boxes, owners), 0.3, levels)
    groups = [((owners == owner) & (levels == level)).nonzero()[:, 0] for owner in range(5) for level in range(5)]
    alone = [group[nms(boxes[group].double(), scores[group].double(), 0.3)] for group in groups]
    expected = torch.cat(alone)
    assert found.tolist() == expected[scores[expected].argsort(descending=True)].tolist()


def test_a_picture_made_of_thousands_of_faces_gives_the_surest_thousand_at_most(mtcnn: Detector) -> None:
    tile = np.ascontiguousarray(astronaut()[20:180:3, 140:300:3])
    faces = mtcnn.detect([np.tile(tile, (45, 45, 1))])[0]
    assert 500 < len(faces) <= 1000

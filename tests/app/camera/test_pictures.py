"""What is sent of a frame."""

import numpy as np

from app.camera.pictures import cut_out, to_jpeg
from ml.image import decode_image
from ml.types import RgbImage
from tests.app.camera.factories import MORNING, make_box


def make_frame(*, height: int = 600, width: int = 800) -> RgbImage:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_it_is_three_times_as_large_as_the_face_with_the_face_in_its_middle() -> None:
    frame, face = make_frame(), make_box(x=400, y=300, width=60)
    picture = cut_out(frame, MORNING, face, [])
    assert picture.image.shape[0] in range(216, 219) and picture.image.shape[1] in range(216, 219)
    x1, y1, x2, y2 = (round(value) for value in picture.face_xyxy)
    np.testing.assert_array_equal(picture.image[y1:y2, x1:x2], frame[264:336, 370:430])


def test_at_the_edge_it_is_what_there_is() -> None:
    frame = make_frame()
    picture = cut_out(frame, MORNING, make_box(x=5, y=5, width=60), [])
    np.testing.assert_array_equal(picture.image, frame[: picture.image.shape[0], : picture.image.shape[1]])
    assert picture.face_xyxy[0] < 0 and min(picture.image.shape[:2]) > 60


def test_a_box_outside_of_the_frame_gives_a_picture_all_the_same() -> None:
    assert cut_out(make_frame(), MORNING, make_box(x=-500, y=-500), []).image.size > 0
    assert cut_out(make_frame(), MORNING, make_box(x=5000, y=5000), []).image.size > 0


def test_the_faces_of_others_are_covered_but_not_where_they_overlap_the_visitors() -> None:
    frame, face, other = make_frame(), make_box(x=400, y=300, width=60), make_box(x=440, y=300, width=60)
    picture = cut_out(frame, MORNING, face, [other])
    x1, y1, x2, y2 = (round(value) for value in picture.face_xyxy)
    np.testing.assert_array_equal(picture.image[y1:y2, x1:x2], frame[264:336, 370:430])
    beside = picture.image[y1:y2, x2 + 1 : x2 + 38]
    assert beside.reshape(-1, 3).std(axis=0).max() == 0


def test_the_frame_itself_stays_as_it_is() -> None:
    frame = make_frame()
    before = frame.copy()
    cut_out(frame, MORNING, make_box(x=400, y=300), [make_box(x=420, y=300)])
    np.testing.assert_array_equal(frame, before)


def test_a_face_that_fills_a_large_frame_is_sent_smaller() -> None:
    picture = cut_out(make_frame(height=2000, width=2000), MORNING, make_box(x=1000, y=1000, width=640), [])
    assert max(picture.image.shape) == 1280
    x1, _, x2, _ = picture.face_xyxy
    assert x2 - x1 == np.float32(640 * 1280 / 2000)


def test_the_upload_is_a_jpeg_in_the_right_colours() -> None:
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 250
    assert decode_image(to_jpeg(red)).mean(axis=(0, 1))[0] > 240

"""What the application gets of an image with more faces than anybody is shown."""

import numpy as np

from app.inference.port import MAX_FACES, Inference
from ml.types import RgbImage
from tests.ml.faces import enlarged, face_of_astronaut, three_sizes_of_one_face


def mosaic(*, rows: int, columns: int) -> RgbImage:
    """One head again and again."""
    return np.tile(enlarged(face_of_astronaut(), 0.5), (rows, columns, 1))


def test_only_the_biggest_faces_are_embedded_and_as_if_there_were_no_others(inference: Inference) -> None:
    image = three_sizes_of_one_face()
    (everything,) = inference.analyze([image]).samples
    (biggest,) = inference.analyze([image], max_faces=2).samples
    assert (len(everything), len(biggest)) == (3, 2)
    for capped, full in zip(biggest, everything, strict=False):
        assert np.array_equal(capped.face.box_xyxy, full.face.box_xyxy)
        assert capped.quality == full.quality
        np.testing.assert_allclose(capped.embedding, full.embedding, atol=1e-5)
    heights = [sample.face.box_xyxy[3] - sample.face.box_xyxy[1] for sample in everything]
    assert heights == sorted(heights, reverse=True)


def test_every_image_has_its_own_share(inference: Inference) -> None:
    images = [three_sizes_of_one_face(), np.zeros((100, 100, 3), np.uint8), three_sizes_of_one_face()]
    assert [len(samples) for samples in inference.analyze(images, max_faces=1).samples] == [1, 0, 1]


def test_a_mosaic_of_faces_is_embedded_up_to_a_bound(inference: Inference) -> None:
    analysis = inference.analyze([mosaic(rows=10, columns=12)])
    assert [len(samples) for samples in analysis.samples] == [MAX_FACES]

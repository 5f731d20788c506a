import os
from collections.abc import Iterator
from pathlib import Path

import dlib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ml.backbones import Backbone, load_backbone
from ml.backbones.cards import find_card
from ml.backbones.dlib_resnet import load_dlib_resnet
from ml.backbones.weights import weights_path
from ml.errors import ModelError
from ml.plan import EnginePlan

DATA = Path(os.environ.get("ROLLCALL_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
Chips = NDArray[np.uint8]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Two threads collapse when another process holds a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("dlib-resnet")


@pytest.fixture(scope="module")
def reference() -> dlib.face_recognition_model_v1:
    return dlib.face_recognition_model_v1(str(weights_path(find_card("dlib-resnet"), None)))


def dlib_embeddings(reference: dlib.face_recognition_model_v1, chips: Chips) -> NDArray[np.float64]:
    return np.array([np.array(reference.compute_face_descriptor(np.ascontiguousarray(chip))) for chip in chips])


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_embeddings_equal_those_of_dlib(
    backbone: Backbone, reference: dlib.face_recognition_model_v1, dlib_chips: Chips
) -> None:
    assert np.abs(backbone.embed_batch(dlib_chips) - dlib_embeddings(reference, dlib_chips)).max() < 1e-5


def test_embeddings_equal_those_of_dlib_on_chips_without_a_face(
    backbone: Backbone, reference: dlib.face_recognition_model_v1
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1, 150, 150, 3), dtype=np.uint8)
    chips = np.concatenate([noise, np.zeros_like(noise), np.full_like(noise, 255)])
    assert np.abs(backbone.embed_batch(chips) - dlib_embeddings(reference, chips)).max() < 1e-5


@pytest.mark.skipif(not (DATA / "faces").is_dir(), reason=f"no test data at {DATA}: set ROLLCALL_TEST_DATA")
def test_embeddings_equal_those_of_dlib_on_faces_of_the_test_data(
    backbone: Backbone, reference: dlib.face_recognition_model_v1
) -> None:
    files = sorted((DATA / "faces" / "images").glob("*/*.jpg"))[::400]
    chips = np.stack([np.asarray(Image.open(file).convert("RGB"))[50:200, 50:200] for file in files])
    assert len(chips) > 8
    assert np.abs(backbone.embed_batch(chips) - dlib_embeddings(reference, chips)).max() < 1e-5


def test_the_canonical_embedding_is_the_one_that_dlib_gave(backbone: Backbone, dlib_chips: Chips) -> None:
    """dlib-bin 20.0.1, `skimage.data.astronaut()[45:195, 150:300]`: a lossless picture and no resampling."""
    expected = [-0.08622, 0.075317, 0.027994, 0.045138, -0.157105, 0.027851, -0.005697, -0.129983]
    np.testing.assert_allclose(backbone.embed_batch(dlib_chips[2:])[0, :8], expected, atol=1e-5)


def test_a_batch_gives_the_same_as_single_chips(backbone: Backbone, dlib_chips: Chips) -> None:
    single = np.concatenate([backbone.embed_batch(chip[None]) for chip in dlib_chips])
    np.testing.assert_allclose(backbone.embed_batch(dlib_chips), single, atol=2e-6)


def test_red_and_blue_swapped_gives_another_embedding(backbone: Backbone, dlib_chips: Chips) -> None:
    rgb, bgr = backbone.embed_batch(dlib_chips), backbone.embed_batch(dlib_chips[..., ::-1])
    assert (np.abs(rgb - bgr).max(axis=1) > 0.01).all()  # a thousand times what dlib and the port differ by


def test_two_crops_of_one_person_are_more_alike_than_two_people(backbone: Backbone, dlib_chips: Chips) -> None:
    astronaut, hopper, astronaut_again = backbone.embed_batch(dlib_chips)[:, None]
    assert cosine(astronaut, astronaut_again) > cosine(astronaut, hopper) + 0.05


def test_no_chips_give_no_embeddings_of_the_right_width(backbone: Backbone) -> None:
    embeddings = backbone.embed_batch(np.zeros((0, 150, 150, 3), np.uint8))
    assert embeddings.shape == (0, 128)
    assert embeddings.dtype == np.float32


def test_read_only_and_strided_chips_are_taken_as_they_are(backbone: Backbone, dlib_chips: Chips) -> None:
    mirrored = dlib_chips[:, :, ::-1]
    mirrored.flags.writeable = False
    np.testing.assert_array_equal(backbone.embed_batch(mirrored), backbone.embed_batch(mirrored.copy()))


def test_bfloat16_keeps_the_direction(backbone: Backbone, dlib_chips: Chips) -> None:
    fast = load_dlib_resnet(find_card("dlib-resnet"), plan=EnginePlan("torch", "bfloat16", 1))
    embeddings = fast.embed_batch(dlib_chips)
    assert embeddings.dtype == np.float32
    assert (cosine(backbone.embed_batch(dlib_chips), embeddings) > 0.9995).all()


def test_the_backbone_says_what_it_is_and_where_it_runs(backbone: Backbone) -> None:
    assert (backbone.card.model, backbone.device) == ("dlib-resnet/1", "cpu")


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "mps", "graphics card"])
def test_a_device_that_is_not_there_is_refused_and_never_replaced(device: str) -> None:
    with pytest.raises(ModelError, match="choose"):
        load_backbone("dlib-resnet", device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_asking_for_a_gpu_on_a_machine_without_one_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="nvidia-smi"):
        load_backbone("dlib-resnet", device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_a_gpu_gives_the_same_embeddings(backbone: Backbone, dlib_chips: Chips) -> None:
    on_gpu = load_backbone("dlib-resnet", device="cuda").embed_batch(dlib_chips)
    assert (cosine(backbone.embed_batch(dlib_chips), on_gpu) > 0.9999).all()

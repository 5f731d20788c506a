import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from ml.backbones import Backbone, load_backbone
from ml.backbones.card import ModelCard
from ml.backbones.cards import find_card
from ml.embedding import Embedder, unit
from ml.errors import ModelError


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("dlib-resnet")


@pytest.fixture(scope="module")
def chips() -> list[NDArray[np.uint8]]:
    """Five overlapping crops of the astronaut's face, 150 x 150."""
    photo = skimage.data.astronaut()
    return [photo[45:195, x : x + 150] for x in range(130, 180, 10)]


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return (a * b).sum(1)


def test_embeddings_have_unit_length_and_the_direction_of_the_network(
    backbone: Backbone, chips: list[NDArray[np.uint8]]
) -> None:
    embeddings, raw = Embedder(backbone, mirrored=False).embed(chips), backbone.embed_batch(np.stack(chips))
    assert embeddings.shape == (5, 128) and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embeddings, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_any_batch_size_gives_the_same_in_the_same_order(
    backbone: Backbone, chips: list[NDArray[np.uint8]], mirrored: bool
) -> None:
    one_by_one = Embedder(backbone, batch_size=1, mirrored=mirrored).embed(chips)
    for batch_size in (2, 5, 32):
        batched = Embedder(backbone, batch_size=batch_size, mirrored=mirrored).embed(chips)
        np.testing.assert_allclose(batched, one_by_one, atol=2e-6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_no_chips_give_no_embeddings_of_the_right_width(backbone: Backbone, mirrored: bool) -> None:
    embeddings = Embedder(backbone, mirrored=mirrored).embed([])
    assert embeddings.shape == (0, 128) and embeddings.dtype == np.float32


def test_one_chip_gives_one_embedding(backbone: Backbone, chips: list[NDArray[np.uint8]]) -> None:
    assert Embedder(backbone).embed(chips[:1]).shape == (1, 128)


def test_a_mirrored_embedder_sees_no_difference_between_a_chip_and_its_mirror_image(
    backbone: Backbone, chips: list[NDArray[np.uint8]]
) -> None:
    mirror_images = [chip[:, ::-1] for chip in chips]
    plain, mirrored = Embedder(backbone, mirrored=False), Embedder(backbone, mirrored=True)
    np.testing.assert_allclose(mirrored.embed(chips), mirrored.embed(mirror_images), atol=2e-6)
    assert (cosine(plain.embed(chips), plain.embed(mirror_images)) < 0.999).all()


def test_a_mirrored_embedding_is_the_middle_between_the_two(backbone: Backbone, chips: list[NDArray[np.uint8]]) -> None:
    plain = Embedder(backbone, mirrored=False)
    middle = unit(plain.embed(chips) + plain.embed([chip[:, ::-1] for chip in chips]))
    np.testing.assert_allclose(Embedder(backbone, mirrored=True).embed(chips), middle, atol=2e-6)


@pytest.mark.parametrize(
    "chip",
    [
        np.zeros((112, 112, 3), np.uint8),
        np.zeros((150, 150), np.uint8),
        np.zeros((150, 150, 4), np.uint8),
        np.zeros((150, 150, 3), np.float32),
    ],
)
def test_a_chip_of_another_shape_or_type_is_refused(
    backbone: Backbone, chips: list[NDArray[np.uint8]], chip: NDArray[np.uint8]
) -> None:
    with pytest.raises(ModelError, match="align the face"):
        Embedder(backbone).embed([chips[0], chip])


def test_a_batch_size_below_one_is_refused(backbone: Backbone) -> None:
    with pytest.raises(ModelError, match="batch_size"):
        Embedder(backbone, batch_size=0)


def test_the_embedder_names_its_model_card_and_device(backbone: Backbone) -> None:
    embedder = Embedder(backbone)
    assert (embedder.card, embedder.model, embedder.device) == (backbone.card, "dlib-resnet/1", "cpu")


def test_plain_embeddings_carry_another_model_name_than_mirrored_ones(backbone: Backbone) -> None:
    assert Embedder(backbone, mirrored=False).model == "dlib-resnet/1-plain"


class BrokenBackbone:
    """A network whose weights went bad: the same numbers whatever it is shown."""

    card: ModelCard = find_card("dlib-resnet")
    device: str = "cpu"

    def __init__(self, value: float) -> None:
        self._value = value

    def embed_batch(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(chips), 128), self._value, dtype=np.float32)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_network_that_returns_no_direction_is_never_given_one(value: float, chips: list[NDArray[np.uint8]]) -> None:
    with pytest.raises(ModelError, match="damaged"):
        Embedder(BrokenBackbone(value)).embed(chips)


def test_unit_scales_every_vector_and_keeps_its_direction() -> None:
    vectors = unit(np.array([[3, 4], [0, -2]], dtype=np.float32))
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, -1]], atol=1e-7)
    assert vectors.dtype == np.float32


def test_unit_works_on_one_vector_on_none_and_on_large_ones() -> None:
    np.testing.assert_allclose(unit(np.array([0, 5], dtype=np.float32)), [0, 1])
    assert unit(np.zeros((0, 7), dtype=np.float32)).shape == (0, 7)
    np.testing.assert_allclose(unit(np.array([3e30, 4e30], dtype=np.float32)), [0.6, 0.8], atol=1e-6)

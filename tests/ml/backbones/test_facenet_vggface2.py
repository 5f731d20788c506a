"""The published weights are not at hand: these tests make weights of the same shape, classification head included."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from numpy.typing import NDArray

from ml.backbones import Backbone, load_backbone
from ml.backbones.cards import find_card
from ml.backbones.weights import pull_weights
from ml.errors import ModelError
from tests.ml.backbones.conftest import make_chip

FILENAME = "20180402-114759-vggface2.pt"
Chips = NDArray[np.uint8]


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(3)
    return InceptionResnetV1(classify=True, num_classes=11).eval()


@pytest.fixture(scope="module")
def models_dir(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models")
    torch.save(network.state_dict(), folder / FILENAME)
    return folder


@pytest.fixture(scope="module")
def backbone(models_dir: Path) -> Backbone:
    return load_backbone("facenet-vggface2", models_dir=models_dir)


@pytest.fixture(scope="module")
def chips(photos: list[tuple[NDArray[np.uint8], list[list[float]]]]) -> Chips:
    return np.stack([make_chip(image, landmarks, backbone="facenet-vggface2") for image, landmarks in photos])


def test_embeddings_equal_those_of_facenet_pytorch_on_standardised_pixels(
    backbone: Backbone, network: Any, chips: Chips
) -> None:
    standardised = (torch.tensor(chips).permute(0, 3, 1, 2).float() - 127.5) / 128
    network.classify = False
    with torch.inference_mode():
        expected = network(standardised).numpy()
    embeddings = backbone.embed_batch(chips)
    assert embeddings.shape == (2, 512) and embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)


def test_a_batch_gives_the_same_as_single_chips(backbone: Backbone, chips: Chips) -> None:
    single = np.concatenate([backbone.embed_batch(chip[None]) for chip in chips])
    np.testing.assert_allclose(backbone.embed_batch(chips), single, atol=1e-5)


def test_red_and_blue_swapped_gives_another_embedding(backbone: Backbone, chips: Chips) -> None:
    assert np.abs(backbone.embed_batch(chips) - backbone.embed_batch(chips[..., ::-1])).max() > 1e-3


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / FILENAME)
    with pytest.raises(ModelError, match="another network"):
        load_backbone("facenet-vggface2", models_dir=tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>log in first</html>", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_holds_no_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILENAME).write_bytes(content)
    with pytest.raises(ModelError, match="not a file of torch weights"):
        load_backbone("facenet-vggface2", models_dir=tmp_path)


class Hostile:
    """Runs code while it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def test_a_hostile_file_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"weight": Hostile(tmp_path / "mark")}, tmp_path / FILENAME)
    with pytest.raises(ModelError, match="not a file of torch weights"):
        load_backbone("facenet-vggface2", models_dir=tmp_path)
    assert not (tmp_path / "mark").exists()


def test_a_file_that_changed_since_it_was_pulled_is_refused(models_dir: Path, tmp_path: Path) -> None:
    card = find_card("facenet-vggface2")
    pulled = pull_weights(card, tmp_path, from_file=models_dir / FILENAME)
    assert load_backbone("facenet-vggface2", models_dir=tmp_path).card is card
    with pulled.path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match="sha256"):
        load_backbone("facenet-vggface2", models_dir=tmp_path)

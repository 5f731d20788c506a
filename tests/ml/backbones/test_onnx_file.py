"""A network small enough to work out by hand: mean colour of the chip, times a 3 x 4 matrix."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ml.backbones import load_backbone
from ml.backbones.card import ModelCard, Normalisation
from ml.backbones.cards import ARCFACE_TEMPLATE, find_card
from ml.backbones.onnx_file import load_onnx_card
from ml.backbones.weights import sha256_of
from ml.errors import ModelError

WEIGHTS = np.array([[1.0, 2.0, 3.0, 4.0], [0.5, -1.0, 0.0, 1.0], [-2.0, 0.0, 1.0, 0.25]], dtype=np.float32)
NCHW, NHWC, OPEN = ["N", 3, 112, 112], ["N", 112, 112, 3], ["N", 3, "height", "width"]
ONE, TWO, EIGHT = [1, 3, 112, 112], [2, 112, 112, 3], [8, 3, 112, 112]
Shape = list[int | str]


def make_network(
    folder: Path, *, shape: Shape = NCHW, dtype: int = TensorProto.FLOAT, keeps_map: bool = False, name: str = "net"
) -> Path:
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    constants = [numpy_helper.from_array(WEIGHTS, "weights"), numpy_helper.from_array(np.array(axes, np.int64), "axes")]
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["embedding"]),
    ]
    output = helper.make_tensor_value_info("floats" if keeps_map else "embedding", TensorProto.FLOAT, None)
    pixels = helper.make_tensor_value_info("pixels", dtype, shape)
    graph = helper.make_graph(nodes[:1] if keeps_map else nodes, "tiny", [pixels], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def make_card(path: Path, *, dim: int = 4) -> ModelCard:
    """SFace's card, as if `path` were its file."""
    card = find_card("sface")
    assert card.weights is not None
    weights = replace(card.weights, filename=path.name, n_bytes=None, sha256=sha256_of(path))
    return replace(card, dim=dim, weights=weights)


@pytest.fixture(scope="module")
def chips() -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (5, 112, 112, 3), dtype=np.uint8) // np.array([1, 2, 4], np.uint8)


def expected(chips: NDArray[np.uint8], *, mean: float = 127.5, scale: float = 1 / 127.5) -> NDArray[np.float64]:
    return ((chips.mean(axis=(1, 2)) - mean) * scale) @ WEIGHTS


@pytest.mark.parametrize("shape", [NCHW, NHWC, OPEN, ONE, TWO, EIGHT])
def test_any_layout_and_batch_size_gives_the_numbers_worked_out_by_hand(
    shape: Shape, tmp_path: Path, chips: NDArray[np.uint8]
) -> None:
    backbone = load_backbone(f"onnx:{make_network(tmp_path, shape=shape)}")
    embeddings = backbone.embed_batch(chips)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected(chips), atol=1e-4)  # float32 sum of 12544 pixels


def test_a_batch_gives_the_same_as_single_chips(tmp_path: Path, chips: NDArray[np.uint8]) -> None:
    backbone = load_backbone(f"onnx:{make_network(tmp_path)}")
    single = np.concatenate([backbone.embed_batch(chip[None]) for chip in chips])
    np.testing.assert_allclose(backbone.embed_batch(chips), single, atol=1e-6)
    assert backbone.embed_batch(chips[:0]).shape == (0, 4)


def test_red_and_blue_swapped_gives_another_embedding(tmp_path: Path, chips: NDArray[np.uint8]) -> None:
    backbone = load_backbone(f"onnx:{make_network(tmp_path)}")
    assert np.abs(backbone.embed_batch(chips) - backbone.embed_batch(chips[..., ::-1])).max() > 0.1


def test_the_card_is_made_from_the_file(tmp_path: Path) -> None:
    path = make_network(tmp_path, name="my-arcface")
    card = load_backbone(f"onnx:{path}").card
    assert card.model == f"onnx-my-arcface/{sha256_of(path)[:8]}"
    assert (card.kind, card.chip_size_px, card.dim, card.landmark_template) == ("backbone", 112, 4, ARCFACE_TEMPLATE)


def test_two_files_of_one_name_are_two_models(tmp_path: Path) -> None:
    first = load_backbone(f"onnx:{make_network(tmp_path, shape=NCHW)}").card.model
    assert load_backbone(f"onnx:{make_network(tmp_path, shape=NHWC)}").card.model != first


def test_sface_takes_raw_pixels_from_the_models_folder(tmp_path: Path, chips: NDArray[np.uint8]) -> None:
    backbone = load_onnx_card(make_card(make_network(tmp_path, shape=[1, 3, 112, 112])), tmp_path)
    np.testing.assert_allclose(backbone.embed_batch(chips), expected(chips, mean=0, scale=1), rtol=1e-5)


def test_colour_and_normalisation_are_taken_from_the_card(tmp_path: Path, chips: NDArray[np.uint8]) -> None:
    normalisation = Normalisation(mean=(10, 20, 30), scale=0.5)
    card = replace(make_card(make_network(tmp_path)), colour="BGR", normalisation=normalisation)
    by_hand = (chips.mean(axis=(1, 2))[:, ::-1] - [10, 20, 30]) * 0.5 @ WEIGHTS
    np.testing.assert_allclose(load_onnx_card(card, tmp_path).embed_batch(chips), by_hand, rtol=1e-5)


def test_sface_without_its_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="rollcall models pull sface"):
        load_backbone("sface", models_dir=tmp_path)


def test_a_file_that_returns_another_number_of_values_than_its_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="should return 128 numbers"):
        load_onnx_card(make_card(make_network(tmp_path), dim=128), tmp_path)


@pytest.mark.parametrize("shape", [["N", 1, 112, 112], ["N", 3, 224, 224], ["N", 160, 160, 3], ["N", 3]])
def test_a_network_for_other_pictures_is_refused(shape: Shape, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="choose a network with one float input"):
        load_backbone(f"onnx:{make_network(tmp_path, shape=shape, keeps_map=True)}")


def test_a_network_that_wants_whole_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="uint8"):
        load_backbone(f"onnx:{make_network(tmp_path, dtype=TensorProto.UINT8)}")


def test_a_network_that_returns_a_map_instead_of_a_vector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a face backbone"):
        load_backbone(f"onnx:{make_network(tmp_path, keeps_map=True)}")


@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_a_file_that_is_no_network_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="net.onnx"):
        load_backbone(f"onnx:{path}")


@pytest.mark.parametrize("file", ["", "absent.onnx"])
def test_a_file_that_is_not_there_is_refused(file: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        load_backbone(f"onnx:{tmp_path / file}")


@pytest.mark.parametrize("device", ["tpu", "cpu:1", "cuda:x", "cuda:"])
def test_a_device_that_does_not_exist_is_refused(device: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="choose cpu, cuda or cuda:N"):
        load_backbone(f"onnx:{make_network(tmp_path)}", device=device)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="the GPU build is here")
def test_asking_for_a_gpu_without_the_gpu_build_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        load_backbone(f"onnx:{make_network(tmp_path)}", device="cuda")


def test_without_the_extra_the_way_to_install_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what Python itself does to forbid an import
    with pytest.raises(ModelError, match=r"pip install rollcall\[onnx\]"):
        load_backbone(f"onnx:{make_network(tmp_path)}")

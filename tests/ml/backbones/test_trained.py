import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from ml.backbones.cards import DLIB_SCORING, find_card
from ml.backbones.small_cnn import SMALL_CNN, SmallCnn
from ml.backbones.trained import load_embedder, projected, published_network, put_tensors, tensors_of, trained_card
from ml.backbones.trained_file import TrainedWeights, from_bytes, to_bytes
from ml.embedding import ProjectedEmbedder, unit
from ml.errors import ModelError
from ml.plan import EnginePlan
from ml.types import Chip, FloatArray

ONE_THREAD = EnginePlan("torch", "float32", 1)
DLIB = find_card("dlib-resnet")


class KnownEmbedder:
    """Gives the embeddings it was given, in place of dlib's network."""

    card = DLIB
    device = "cpu"

    def __init__(self, embeddings: FloatArray, model: str = "dlib-resnet/1") -> None:
        self._embeddings = embeddings
        self.model = model

    def embed(self, chips: Sequence[Chip]) -> FloatArray:
        return self._embeddings[: len(chips)]


def make_projection(*, dim: int = 24, seed: int = 0, base_word: str = "dlib-resnet/1") -> TrainedWeights:
    generator = np.random.default_rng(seed)
    weight = generator.normal(size=(dim, 128)).astype(np.float32)
    tensors = {"weight": weight, "bias": generator.normal(size=dim).astype(np.float32)}
    card = trained_card("projection", DLIB, tensors, DLIB_SCORING)
    return TrainedWeights("projection", "dlib-resnet", base_word, card, tensors)


def make_small_cnn(*, seed: int = 0) -> TrainedWeights:
    torch.manual_seed(seed)
    tensors = tensors_of(SmallCnn())
    return TrainedWeights("scratch", "", "", trained_card("scratch", SMALL_CNN, tensors, DLIB_SCORING), tensors)


def make_chips(*, n: int, side_px: int, seed: int = 1) -> list[Chip]:
    return list(np.random.default_rng(seed).integers(0, 256, (n, side_px, side_px, 3), dtype=np.uint8))


@pytest.mark.parametrize("weights", [make_projection(), make_small_cnn()], ids=["projection", "scratch"])
def test_a_file_brings_everything_back(weights: TrainedWeights) -> None:
    again = from_bytes(to_bytes(weights))
    assert (again.kind, again.backbone, again.base_word) == (weights.kind, weights.backbone, weights.base_word)
    assert again.card == weights.card
    assert again.tensors.keys() == weights.tensors.keys()
    for name, tensor in weights.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], tensor)


def test_the_same_weights_give_the_same_bytes_in_any_order() -> None:
    weights = make_projection()
    backwards = replace(weights, tensors=dict(reversed(weights.tensors.items())))
    assert to_bytes(weights) == to_bytes(backwards)


def test_a_flipped_bit_is_found_wherever_it_is() -> None:
    data = to_bytes(make_projection(dim=2))
    for place in np.random.default_rng(0).integers(0, len(data), 200):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(place % 8)
        with pytest.raises(ModelError, match="damaged"):
            from_bytes(bytes(damaged))


@pytest.mark.parametrize("n_kept", [0, 4, 8, 100, -1])
def test_a_file_that_was_cut_off_is_refused(n_kept: int) -> None:
    with pytest.raises(ModelError, match="damaged"):
        from_bytes(to_bytes(make_projection(dim=2))[:n_kept])


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x95" + bytes(50),  # how a pickle begins
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 9) + b"[[[[[[[[[",
        struct.pack("<Q", 2) + b"{}",
        save({"weight": np.ones((2, 2), np.float32)}),
        save({"weight": np.ones((2, 2), np.float32)}, metadata={"facts": "{}", "sha256": "0"}),
    ],
)
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="none of ours"):
        from_bytes(data)


def test_numbers_that_are_none_are_refused() -> None:
    weights = make_projection(dim=2)
    broken = {**weights.tensors, "bias": np.array([1, np.nan], np.float32)}
    with pytest.raises(ModelError, match="damaged"):
        from_bytes(to_bytes(replace(weights, tensors=broken)))


def test_a_file_holds_no_code_and_says_in_plain_text_what_it_is() -> None:
    data = to_bytes(make_projection())
    (n_bytes,) = struct.unpack("<Q", data[:8])
    (entry,) = json.loads(data[8 : 8 + n_bytes])["__metadata__"].values()
    facts = json.loads(json.loads(entry)["facts"])
    assert (facts["kind"], facts["card"]["name"]) == ("projection", "dlib-resnet+projection")


def test_other_weights_have_another_word() -> None:
    one, same, other = make_projection(seed=0), make_projection(seed=0), make_projection(seed=1)
    assert one.card.model == same.card.model
    assert one.card.model != other.card.model
    assert one.card.model.startswith("dlib-resnet+projection/") and len(one.card.version) == 8
    assert make_small_cnn().card.model.startswith("small-cnn/")


def test_the_card_of_a_projection_is_its_backbones_with_its_own_width_and_scores() -> None:
    scoring = replace(DLIB_SCORING, look_alike_margin=0.3)
    card = trained_card("projection", DLIB, make_projection(dim=24).tensors, scoring)
    assert (card.dim, card.chip_size_px, card.landmark_template) == (24, 150, DLIB.landmark_template)
    assert (card.licence, card.weights, card.look_alike_margin) == (DLIB.licence, None, 0.3)


def test_a_projection_is_applied_to_the_embeddings_of_the_published_network() -> None:
    weights, chips = make_projection(), make_chips(n=2, side_px=150)
    base = load_embedder(None, "dlib-resnet", plan=ONE_THREAD)
    embedder = load_embedder(from_bytes(to_bytes(weights)), "not looked at", plan=ONE_THREAD)
    embeddings = embedder.embed(chips)
    expected = unit(base.embed(chips) @ weights.tensors["weight"].T + weights.tensors["bias"])
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)
    assert embeddings.shape == (2, 24) and embeddings.dtype == np.float32
    assert (embedder.model, embedder.device, embedder.card) == (weights.card.model, "cpu", weights.card)


def test_stored_embeddings_are_projected_as_chips_are() -> None:
    stored = unit(np.random.default_rng(5).normal(size=(3, 128)).astype(np.float32))
    embedder = projected(KnownEmbedder(stored), make_projection())
    np.testing.assert_array_equal(embedder.project(stored), embedder.embed(make_chips(n=3, side_px=150)))
    np.testing.assert_allclose(np.linalg.norm(embedder.project(stored), axis=1), 1, atol=1e-6)
    assert embedder.project(stored[:0]).shape == (0, 24)


def test_a_projection_of_plain_embeddings_is_plain_and_refuses_mirrored_ones() -> None:
    plain = KnownEmbedder(np.zeros((0, 128), np.float32), "dlib-resnet/1-plain")
    weights = make_projection(base_word="dlib-resnet/1-plain")
    assert projected(plain, weights).model == f"{weights.card.model}-plain"
    with pytest.raises(ModelError, match="ROLLCALL_MIRRORED_EMBEDDING"):
        projected(KnownEmbedder(np.zeros((0, 128), np.float32)), weights)


@pytest.mark.parametrize(
    ("weight", "bias"),
    [
        (np.ones((24, 64), np.float32), np.ones(24, np.float32)),
        (np.ones((24, 128), np.float32), np.ones(23, np.float32)),
        (np.full((24, 128), np.inf, np.float32), np.ones(24, np.float32)),
    ],
)
def test_tensors_that_are_no_projection_are_refused(weight: FloatArray, bias: FloatArray) -> None:
    with pytest.raises(ModelError, match="no projection"):
        ProjectedEmbedder(KnownEmbedder(weight), make_projection().card, weight, bias)


def test_a_projection_without_its_tensors_is_refused() -> None:
    weights = replace(make_projection(), tensors={"weight": np.ones((24, 128), np.float32)})
    with pytest.raises(ModelError, match="damaged"):
        projected(KnownEmbedder(np.zeros((0, 128), np.float32)), weights)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_small_network_embeds_after_a_file_as_before(mirrored: bool) -> None:
    weights, chips = make_small_cnn(), make_chips(n=2, side_px=112)
    torch.manual_seed(0)
    network = SmallCnn().eval()
    with torch.inference_mode():
        plain = unit(network(torch.tensor(np.stack(chips))).numpy())
        turned = unit(network(torch.tensor(np.stack(chips)[:, :, ::-1].copy())).numpy())
    embedder = load_embedder(from_bytes(to_bytes(weights)), "", plan=ONE_THREAD, mirrored=mirrored)
    np.testing.assert_allclose(embedder.embed(chips), unit(plain + turned) if mirrored else plain, atol=1e-5)
    assert embedder.model == weights.card.model + ("" if mirrored else "-plain")


def test_the_published_weights_as_a_fine_tuned_network_give_the_published_embeddings() -> None:
    tensors = tensors_of(published_network("dlib-resnet"))
    card = trained_card("finetune", DLIB, tensors, DLIB_SCORING)
    weights = TrainedWeights("finetune", "dlib-resnet", "dlib-resnet/1", card, tensors)
    chips = make_chips(n=1, side_px=150)
    embedder = load_embedder(from_bytes(to_bytes(weights)), "", plan=ONE_THREAD)
    expected = load_embedder(None, "dlib-resnet", plan=ONE_THREAD).embed(chips)
    np.testing.assert_allclose(embedder.embed(chips), expected, atol=1e-6)
    assert embedder.model.startswith("dlib-resnet+finetune/")


def test_lower_precision_keeps_the_direction() -> None:
    weights, chips = make_small_cnn(), make_chips(n=2, side_px=112)
    fast = load_embedder(weights, "", plan=EnginePlan("torch", "bfloat16", 1)).embed(chips)
    assert (np.sum(fast * load_embedder(weights, "", plan=ONE_THREAD).embed(chips), axis=1) > 0.99).all()


def test_tensors_of_another_network_are_refused() -> None:
    network, tensors = SmallCnn(), make_small_cnn().tensors
    without = {name: value for name, value in tensors.items() if name != "dense.weight"}
    for wrong in (without, {**tensors, "more": np.ones(1, np.float32)}, {**tensors, "dense.weight": np.ones((2, 2))}):
        with pytest.raises(ModelError, match="another network"):
            put_tensors(network, wrong)


def test_a_network_outside_torch_cannot_be_trained_further(tmp_path: Path) -> None:
    for name in ("sface", "onnx:mine.onnx"):
        with pytest.raises(ModelError, match="projection can"):
            published_network(name, tmp_path)

"""Networks as they are run: the same numbers by every runtime, in float32, whatever they are batched with."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import Tensor, nn

from ml.backbones import load_backbone
from ml.detection import load_detector
from ml.errors import ModelError
from ml.mtcnn_networks import Finisher, Proposer, Refiner
from ml.networks import filled_up, make_ready
from ml.plan import EnginePlan
from tests.ml.faces import iou, package_photos, three_sizes_of_one_face

CPU = torch.device("cpu")
OPENVINO = EnginePlan("openvino", "float32", 1)
TORCH = EnginePlan("torch", "float32", 1)


def grey_levels(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).float()


def as_trained(crops: Tensor) -> Tensor:
    return ((crops - 127.5) * 0.0078125).permute(0, 3, 1, 2)


def columns(score: Tensor, *others: Tensor) -> Tensor:
    """What the original's heads say, in the order of the folded one's: the face's share of the softmax, then others."""
    return torch.cat([score[:, 1:], *others], dim=1)


@pytest.mark.parametrize("plan", [TORCH, OPENVINO], ids=str)
def test_the_folded_first_network_says_what_facenet_pytorchs_says(plan: EnginePlan) -> None:
    canvas, edges = grey_levels(2, 40, 56, 3), torch.zeros(1, 1, 38, 54)
    run = make_ready(Proposer(), [canvas, edges], [[-1, -1, -1, 3], [1, 1, -1, -1]], CPU, plan)
    with torch.inference_mode():
        shifts, scores = PNet()(as_trained(canvas))
    found = run(canvas, edges)
    assert torch.allclose(torch.cat([found[:, :1].sigmoid(), found[:, 1:]], 1), columns(scores, shifts), atol=1e-5)


@pytest.mark.parametrize("plan", [TORCH, OPENVINO], ids=str)
@pytest.mark.parametrize(("folded", "original", "side"), [(Refiner, RNet, 24), (Finisher, ONet, 48)])
def test_the_other_folded_networks_say_what_facenet_pytorchs_say(
    plan: EnginePlan, folded: type[nn.Module], original: type[nn.Module], side: int
) -> None:
    crops = grey_levels(7, side, side, 3)
    run = make_ready(folded(), [crops[:2]], [[-1, side, side, 3]], CPU, plan)
    with torch.inference_mode():
        *others, scores = original()(as_trained(crops))
    found = run(crops)
    assert torch.allclose(torch.cat([found[:, :1].sigmoid(), found[:, 1:]], 1), columns(scores, *others), atol=1e-5)


def test_openvino_makes_the_embeddings_that_torch_makes_in_batches_of_any_size() -> None:
    chips = np.random.default_rng(0).integers(0, 256, (9, 150, 150, 3), dtype=np.uint8)
    expected = load_backbone("dlib-resnet", plan=TORCH).embed_batch(chips)
    backbone = load_backbone("dlib-resnet", plan=OPENVINO)
    assert np.abs(backbone.embed_batch(chips) - expected).max() < 1e-5
    for n in (1, 2, 5):
        assert np.abs(backbone.embed_batch(chips[:n]) - expected[:n]).max() < 1e-5


def test_openvino_finds_the_faces_that_torch_finds() -> None:
    photos = [*package_photos(), three_sizes_of_one_face()]
    expected = load_detector("mtcnn", plan=TORCH).detect(photos)
    for faces, others in zip(load_detector("mtcnn", plan=OPENVINO).detect(photos), expected, strict=True):
        assert len(faces) == len(others) > 0
        for face, other in zip(faces, others, strict=True):
            assert iou(face.box_xyxy, other.box_xyxy) > 0.999
            assert np.abs(face.landmarks - other.landmarks).max() < 0.05


def test_detection_stays_in_float32_whatever_the_plan_says(monkeypatch: pytest.MonkeyPatch) -> None:
    hints: list[str] = []

    class Core(openvino.Core):
        def compile_model(self, model: object, device: str, settings: dict[str, object]) -> object:
            hints.append(str(settings["INFERENCE_PRECISION_HINT"]))
            return super().compile_model(model, device, settings)

    monkeypatch.setattr(openvino, "Core", Core)
    plan = EnginePlan("openvino", "bfloat16", 1)
    load_detector("mtcnn", plan=plan)
    load_backbone("dlib-resnet", plan=plan)
    assert hints == ["f32", "f32", "f32", "bf16"]


@pytest.mark.parametrize("n", range(1, 65))
def test_a_batch_is_filled_up_by_a_quarter_at_most(n: int) -> None:
    rows = torch.arange(3.0 * n).view(n, 3)
    filled = filled_up(rows)
    assert torch.equal(filled[:n], rows)
    assert not filled[n:].any()
    assert len(filled) <= 1.25 * n


def test_openvino_on_a_gpu_is_refused_and_not_run_elsewhere() -> None:
    with pytest.raises(ModelError, match="choose torch"):
        make_ready(Refiner(), [grey_levels(2, 24, 24, 3)], [[-1, 24, 24, 3]], torch.device("cuda"), OPENVINO)


def test_float16_on_a_cpu_is_refused_and_not_run_otherwise() -> None:
    for runtime in ("torch", "openvino"):
        with pytest.raises(ModelError, match="float32 or bfloat16"):
            load_backbone("dlib-resnet", plan=EnginePlan(runtime, "float16", 1))  # type: ignore[arg-type]


def test_without_openvino_its_plan_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.networks.has_openvino", lambda: False)
    with pytest.raises(ModelError, match=r"pip install 'rollcall\[openvino\]'"):
        load_backbone("dlib-resnet", plan=OPENVINO)


def test_nothing_is_reported_to_openvinos_maker(tmp_path: Path) -> None:
    """Left alone, it makes a client id in the home folder when it is imported, and reports every conversion."""
    program = (
        "import sys; from ml.backbones import load_backbone; from ml.plan import EnginePlan;"
        "load_backbone('dlib-resnet', plan=EnginePlan('openvino', 'float32', 1));"
        "assert 'openvino' in sys.modules and sys.modules['openvino_telemetry'] is None"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("CI", None)  # there it keeps quiet anyway
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=environment, check=True, timeout=100)
    assert not list(tmp_path.rglob("*telemetry*")) + list(tmp_path.rglob("*openvino*"))

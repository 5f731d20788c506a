"""Fine-tuning of dlib's network on drawn faces: few and small, and the real network."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ml.backbones.card import ModelCard
from ml.backbones.cards import DLIB_SCORING, find_card
from ml.backbones.trained import load_embedder, published_network, tensors_of, trained_card
from ml.backbones.trained_file import TrainedWeights, from_bytes, to_bytes
from ml.errors import TrainingError
from ml.plan import EnginePlan
from ml.training.finetune import Finetune
from ml.training.types import (
    Checkpoints,
    NoCheckpoints,
    Report,
    Split,
    Trained,
    TrainingCurves,
    TrainingFaces,
    TrainingSettings,
)
from tests.ml.training.drawn import InMemory, StopError, drawn_chips, stop_after

DLIB = find_card("dlib-resnet")
SETTINGS = TrainingSettings(seed=3, n_epochs=2, learning_rate=1e-5, n_threads=1)
N_PEOPLE = 7
SPLIT = Split(train=np.arange(0, 8), validation=np.arange(8, 14), test=np.arange(14, 14))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def faces() -> TrainingFaces:
    people = np.repeat(np.arange(N_PEOPLE), 2)
    chips = drawn_chips(people=people, side_px=150)
    return TrainingFaces(
        people, np.arange(len(people), dtype=np.float64), np.zeros((len(people), 128), np.float32), chips
    )


def train(
    *, checkpoints: Checkpoints | None = None, report: Report = lambda *_: None, settings: TrainingSettings = SETTINGS
) -> Trained:
    strategy = Finetune(mirrored=False)
    return strategy.train(faces(), SPLIT, DLIB, settings, checkpoints or NoCheckpoints(), report)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train()


@pytest.fixture(scope="module")
def published() -> dict[str, NDArray[np.float32]]:
    return tensors_of(published_network("dlib-resnet"))


def equal(one: Trained, other: Trained) -> bool:
    same_names = one.tensors.keys() == other.tensors.keys()
    return same_names and all(np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_the_tensors_are_the_network_without_the_head(
    trained: Trained, published: dict[str, NDArray[np.float32]]
) -> None:
    assert {name: tensor.shape for name, tensor in trained.tensors.items()} == {
        name: tensor.shape for name, tensor in published.items()
    }


def test_what_is_below_the_last_blocks_stays_as_published(
    trained: Trained, published: dict[str, NDArray[np.float32]]
) -> None:
    below = [name for name in published if name.startswith("lower.")]
    assert len(below) > 20
    assert all(np.array_equal(trained.tensors[name], published[name]) for name in below)


def test_the_curves_have_one_entry_for_each_epoch_of_both_phases(trained: Trained) -> None:
    curves = trained.curves
    assert len(curves.loss) == len(curves.validation_fnir) == len(curves.learning_rate) == 4
    assert curves.loss[-1] < curves.loss[0]
    assert curves.learning_rate[2] == 1e-5


def test_the_same_seed_gives_the_same_tensors_also_after_a_stop_in_each_phase(trained: Trained) -> None:
    for n_epochs in (1, 3):
        checkpoints = InMemory()
        with pytest.raises(StopError):
            train(checkpoints=checkpoints, report=stop_after(n_epochs))
        resumed = train(checkpoints=checkpoints)
        assert equal(resumed, trained)
        assert resumed.curves == trained.curves


def test_the_trained_network_embeds_after_a_file_as_the_training_left_it(trained: Trained) -> None:
    card = trained_card("finetune", DLIB, trained.tensors, DLIB_SCORING)
    weights = TrainedWeights("finetune", "dlib-resnet", "dlib-resnet/1-plain", card, trained.tensors)
    plan = EnginePlan("torch", "float32", 1)
    embedder = load_embedder(from_bytes(to_bytes(weights)), "", plan=plan, mirrored=False)
    network = published_network("dlib-resnet").eval()
    network.load_state_dict({name: torch.tensor(value) for name, value in trained.tensors.items()})
    chips = faces().chips
    assert chips is not None
    with torch.inference_mode():
        raw = network(torch.from_numpy(chips[:2])).numpy()
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed(list(chips[:2])), expected, atol=1e-6)


def test_progress_is_told_while_the_faces_are_looked_at_and_after_each_epoch() -> None:
    told: list[tuple[float, str]] = []

    def report(share: float, message: str, curves: TrainingCurves) -> None:
        told.append((share, message))

    train(report=report, settings=TrainingSettings(n_epochs=1, n_threads=1))
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and (shares[0], shares[-1]) == (0.0, 1.0)
    assert "8 of 8" in told[0][1]


@pytest.mark.parametrize("name", ["sface", "onnx-mine"])
def test_a_network_outside_torch_is_refused_with_what_works_instead(name: str) -> None:
    card: ModelCard = replace(DLIB, name=name)
    with pytest.raises(TrainingError, match="projection"):
        Finetune().train(faces(), SPLIT, card, SETTINGS, NoCheckpoints(), lambda *_: None)


def test_faces_without_crops_are_refused() -> None:
    without = replace(faces(), chips=None)
    with pytest.raises(TrainingError, match="keep crops"):
        Finetune().train(without, SPLIT, DLIB, SETTINGS, NoCheckpoints(), lambda *_: None)


def test_one_person_is_too_little() -> None:
    split = Split(np.arange(2), SPLIT.validation, SPLIT.test)
    with pytest.raises(TrainingError, match="two at least"):
        Finetune().train(faces(), split, DLIB, SETTINGS, NoCheckpoints(), lambda *_: None)

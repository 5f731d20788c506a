"""A small network trained from nothing on drawn faces."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.backbones.cards import ARCFACE_SCORING, find_card
from ml.backbones.small_cnn import SMALL_CNN, SmallCnn
from ml.backbones.trained import load_embedder, tensors_of, trained_card
from ml.backbones.trained_file import TrainedWeights, from_bytes, to_bytes
from ml.errors import TrainingError
from ml.plan import EnginePlan
from ml.training.checkpoints import FileCheckpoints
from ml.training.scratch import Scratch
from ml.training.types import (
    Checkpoints,
    NoCheckpoints,
    Report,
    Split,
    Trained,
    TrainingFaces,
    TrainingSettings,
)
from tests.ml.training.drawn import InMemory, StopError, drawn_chips, stop_after

ROOT = Path(__file__).parents[3]
SETTINGS = TrainingSettings(seed=1, n_epochs=2, n_threads=1)
SPLIT = Split(train=np.arange(0, 6), validation=np.arange(6, 12), test=np.arange(12, 12))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def faces() -> TrainingFaces:
    people = np.repeat(np.arange(6), 2)
    chips = drawn_chips(people=people, side_px=112)
    return TrainingFaces(people, np.full(len(people), np.nan), np.zeros((len(people), 128), np.float32), chips)


def train(
    *, checkpoints: Checkpoints | None = None, report: Report = lambda *_: None, settings: TrainingSettings = SETTINGS
) -> Trained:
    strategy = Scratch(mirrored=False)
    return strategy.train(faces(), SPLIT, SMALL_CNN, settings, checkpoints or NoCheckpoints(), report)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train()


def equal(one: Trained, other: Trained) -> bool:
    same_names = one.tensors.keys() == other.tensors.keys()
    return same_names and all(np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_the_tensors_are_the_network_without_the_head(trained: Trained) -> None:
    assert {name: tensor.shape for name, tensor in trained.tensors.items()} == {
        name: tensor.shape for name, tensor in tensors_of(SmallCnn()).items()
    }


def test_the_same_seed_gives_the_same_tensors_and_another_seed_others(trained: Trained) -> None:
    assert equal(train(), trained)
    assert not equal(train(settings=replace(SETTINGS, seed=2)), trained)


def test_a_training_that_was_stopped_goes_on_to_the_same_tensors(trained: Trained) -> None:
    checkpoints = InMemory()
    with pytest.raises(StopError):
        train(checkpoints=checkpoints, report=stop_after(1))
    resumed = train(checkpoints=checkpoints)
    assert equal(resumed, trained) and resumed.curves == trained.curves
    assert checkpoints.n_saved == 2  # the epoch before the stop was not repeated


def test_a_training_that_was_killed_goes_on_to_the_same_tensors(trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    command = [sys.executable, "-m", "tests.ml.training.killed_training", str(path)]
    killed = subprocess.run(command, cwd=ROOT, timeout=100)
    assert killed.returncode == -signal.SIGKILL
    seen: list[int] = []
    checkpoints = FileCheckpoints(path, bytes, bytes)
    resumed = train(checkpoints=checkpoints, report=lambda share, message, curves: seen.append(len(curves.loss)))
    assert seen == [2]
    assert equal(resumed, trained) and resumed.curves == trained.curves


def test_a_checkpoint_of_other_faces_is_not_gone_on_from(trained: Trained) -> None:
    checkpoints, other = InMemory(), faces()
    changed = np.array(other.chips)
    changed[0, 0, 0, 0] ^= 1
    with pytest.raises(StopError):
        Scratch(mirrored=False).train(
            replace(other, chips=changed), SPLIT, SMALL_CNN, SETTINGS, checkpoints, stop_after(1)
        )
    assert equal(train(checkpoints=checkpoints), trained)


def test_the_loss_falls_and_each_epoch_is_in_the_curves() -> None:
    curves = train(settings=replace(SETTINGS, n_epochs=4, margin="softmax")).curves
    assert len(curves.loss) == len(curves.validation_fnir) == len(curves.learning_rate) == 4
    assert curves.loss[-1] < 0.5 * curves.loss[0]


def test_the_trained_network_is_loaded_from_a_file_and_runs(trained: Trained) -> None:
    card = trained_card("scratch", find_card("dlib-resnet"), trained.tensors, ARCFACE_SCORING)
    weights = from_bytes(to_bytes(TrainedWeights("scratch", "", "", card, trained.tensors)))
    chips = faces().chips
    assert chips is not None
    embeddings = load_embedder(weights, "", plan=EnginePlan("torch", "float32", 1)).embed(list(chips[:3]))
    assert embeddings.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_chips_of_another_template_are_refused() -> None:
    wrong = replace(faces(), chips=np.zeros((12, 150, 150, 3), np.uint8))
    with pytest.raises(TrainingError, match="align the faces"):
        Scratch().train(wrong, SPLIT, SMALL_CNN, SETTINGS, NoCheckpoints(), lambda *_: None)

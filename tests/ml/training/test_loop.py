from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ml.errors import TrainingError
from ml.training.heads import MarginHead
from ml.training.loop import Learned, Lesson, Phase, Validation, learn
from ml.training.types import NoCheckpoints, TrainingCurves, TrainingSettings
from ml.training.validation import OpenSet
from ml.types import ScoreRule

SETTINGS = TrainingSettings(seed=3, n_threads=1)


class Kept:
    """Checkpoints in memory."""

    def __init__(self, state: bytes | None = None) -> None:
        self.state = state

    def load(self) -> bytes | None:
        return self.state

    def save(self, state: bytes) -> None:
        self.state = state


class StopError(Exception):
    """What a report raises to stop a training."""


class Reports:
    """Remembers what it was told, and stops the training after `n` epochs."""

    def __init__(self, n: int = 1000) -> None:
        self.n = n
        self.shares: list[float] = []
        self.curves = TrainingCurves()

    def __call__(self, share: float, message: str, curves: TrainingCurves) -> None:
        self.shares.append(share)
        self.curves = curves
        if len(self.shares) >= self.n:
            raise StopError


def make_faces() -> tuple[Tensor, Tensor]:
    """Eight people, six faces each: four dimensions say who it is, twelve are noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(8).repeat_interleave(6)
    people = torch.randn(8, 4, generator=generator)[labels]
    return torch.cat([people, 2 * torch.randn(48, 12, generator=generator)], dim=1), labels


def make_lesson(*, n_epochs: tuple[int, ...] = (2, 4), identity: str = "one", patience: int = 99) -> Lesson:
    """A small network with dropout, its head alone first; validated by the loss without dropout."""
    faces, labels = make_faces()
    torch.manual_seed(7)
    network = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 8))
    head = MarginHead(8, 8, "cosface", scale=8.0)

    def batches(generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.from_numpy(generator.permutation(48)).split(16):
            yield faces[rows], labels[rows]

    def validate(trained: nn.Module) -> Validation:
        device = next(trained.parameters()).device
        embeddings = nn.functional.normalize(trained(faces.to(device)), dim=1).cpu()
        cosines = embeddings @ embeddings.T
        is_own = labels[:, None] == labels
        return Validation(1 - float((cosines[is_own].mean() - cosines[~is_own].mean()) / 2))

    phases = [
        Phase([] if n == 0 and len(n_epochs) > 1 else list(network.parameters()), epochs, 0.01)
        for n, epochs in enumerate(n_epochs)
    ]
    return Lesson(network, head, phases, batches, validate, identity, patience=patience)


def same(a: Learned, b: Learned) -> bool:
    return a.curves == b.curves and all(torch.equal(a.tensors[name], b.tensors[name]) for name in b.tensors)


def test_what_is_learned_is_better_than_the_start_and_has_no_head() -> None:
    lesson = make_lesson()
    with torch.no_grad():
        start = lesson.validate(lesson.network.eval()).fnir
    learned = learn(lesson, SETTINGS, NoCheckpoints(), Reports())
    assert learned.curves.validation_fnir[learned.curves.best_epoch] < start
    assert set(learned.tensors) == {"1.weight", "1.bias"}
    assert learned.curves.loss[-1] < learned.curves.loss[0]


def test_the_same_seed_gives_the_same_tensors_and_another_one_others() -> None:
    one, two = (learn(make_lesson(), SETTINGS, NoCheckpoints(), Reports()) for _ in range(2))
    other = learn(make_lesson(), TrainingSettings(seed=4, n_threads=1), NoCheckpoints(), Reports())
    assert same(one, two)
    assert not same(one, other)


@pytest.mark.parametrize("n_before", [1, 2, 3, 5, 6])
def test_an_interrupted_training_ends_with_the_same_bits(n_before: int) -> None:
    whole = learn(make_lesson(), SETTINGS, NoCheckpoints(), Reports())
    kept = Kept()
    with pytest.raises(StopError):
        learn(make_lesson(), SETTINGS, kept, Reports(n_before))
    rest = Reports()
    assert same(learn(make_lesson(), SETTINGS, kept, rest), whole)
    assert len(rest.shares) == 6 - n_before


@pytest.mark.parametrize("state", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_no_checkpoint(state: bytes) -> None:
    whole = learn(make_lesson(), SETTINGS, NoCheckpoints(), Reports())
    assert same(learn(make_lesson(), SETTINGS, Kept(state), Reports()), whole)


def test_a_checkpoint_of_other_faces_is_not_gone_on_from() -> None:
    kept = Kept()
    with pytest.raises(StopError):
        learn(make_lesson(identity="other faces"), SETTINGS, kept, Reports(2))
    rest = Reports()
    learn(make_lesson(), SETTINGS, kept, rest)
    assert len(rest.shares) == 6


def test_a_head_that_learns_alone_leaves_the_network_and_its_validation_as_they_were() -> None:
    lesson = make_lesson(n_epochs=(3, 1))
    before, head = lesson.network[1].weight.detach().clone(), lesson.head.weight.detach().clone()
    reports = Reports(3)
    with pytest.raises(StopError):
        learn(lesson, SETTINGS, NoCheckpoints(), reports)
    assert torch.equal(lesson.network[1].weight, before)
    assert not torch.equal(lesson.head.weight, head)
    assert len(set(reports.curves.validation_fnir)) == 1
    assert reports.curves.best_epoch == -1


def test_the_rate_falls_in_each_phase_and_progress_rises_to_one() -> None:
    reports = Reports()
    curves = learn(make_lesson(n_epochs=(2, 4)), SETTINGS, NoCheckpoints(), reports).curves
    np.testing.assert_allclose(curves.learning_rate[:2], [0.01, 0.005])
    assert curves.learning_rate[2] == 0.01 and curves.learning_rate[5] < 0.002
    np.testing.assert_allclose(reports.shares, np.arange(1, 7) / 6)


def test_a_training_that_only_gets_worse_stops_and_gives_back_its_start() -> None:
    lesson = make_lesson(n_epochs=(50,), patience=3)
    start = lesson.network[1].weight.detach().clone()
    worse = iter(range(100))
    lesson = Lesson(
        lesson.network, lesson.head, lesson.phases, lesson.batches, lambda _: Validation(next(worse)), "one", None, 3
    )
    learned = learn(lesson, SETTINGS, NoCheckpoints(), Reports())
    assert len(learned.curves.loss) == 3
    assert learned.curves.best_epoch == -1
    assert torch.equal(learned.tensors["1.weight"], start)


def test_equal_rates_are_told_apart_by_what_breaks_the_tie() -> None:
    lesson = make_lesson(n_epochs=(3,))
    ties = iter([0.5, 0.7, 0.2, 0.3])
    lesson = Lesson(
        lesson.network, lesson.head, lesson.phases, lesson.batches, lambda _: Validation(0.1, next(ties)), "one"
    )
    assert learn(lesson, SETTINGS, NoCheckpoints(), Reports()).curves.best_epoch == 1


def test_a_loss_that_is_no_number_is_refused() -> None:
    lesson = make_lesson(n_epochs=(2,))
    lesson = Lesson(
        lesson.network,
        lesson.head,
        lesson.phases,
        lesson.batches,
        lesson.validate,
        "one",
        penalty=lambda: torch.tensor(float("nan")),
    )
    with pytest.raises(TrainingError, match="lower learning rate"):
        learn(lesson, SETTINGS, NoCheckpoints(), Reports())


def test_an_epoch_without_faces_is_refused() -> None:
    lesson = make_lesson(n_epochs=(2,))
    empty = Lesson(lesson.network, lesson.head, lesson.phases, lambda _: [], lesson.validate, "one")
    with pytest.raises(TrainingError, match="no batch"):
        learn(empty, SETTINGS, NoCheckpoints(), Reports())


def test_random_numbers_of_others_are_left_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    lesson = make_lesson()
    torch.manual_seed(11)
    learn(lesson, SETTINGS, NoCheckpoints(), Reports())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_learns_in_bfloat16_and_gives_back_float32() -> None:
    settings = TrainingSettings(seed=3, device="cuda", n_threads=1)
    learned = learn(make_lesson(n_epochs=(3,)), settings, NoCheckpoints(), Reports())
    assert all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in learned.tensors.values())


RULE = ScoreRule(centroid_weight=0.5, runner_up_weight=0.5, runner_up_floor=0.0)


def test_open_set_finds_everybody_whose_faces_are_alike() -> None:
    people = np.repeat(np.arange(5), 4).astype(np.int64)
    embeddings = np.eye(5, dtype=np.float32)[people]
    found = OpenSet(people, np.full(20, np.nan), np.arange(20)).measure(embeddings, RULE)
    assert (found.fnir, found.tie_break) == (0.0, 0.0)


def test_open_set_misses_the_probe_that_looks_like_somebody_else() -> None:
    people = np.repeat(np.arange(5), 4).astype(np.int64)
    embeddings = np.eye(5, dtype=np.float32)[people]
    embeddings[3] = np.eye(5, dtype=np.float32)[1]
    found = OpenSet(people, np.full(20, np.nan), np.arange(20)).measure(embeddings, RULE)
    # Searched without its own person, the same probe is the best scored stranger: so high a threshold finds nobody.
    assert found.fnir == 1.0


def test_open_set_lets_a_stranger_raise_the_threshold() -> None:
    people = np.array([0, 0, 1, 1, 2, 2, 3], dtype=np.int64)
    eye = np.eye(4, dtype=np.float32)
    near = (0.9 * eye[1] + np.sqrt(np.float32(0.19)) * eye[3]).astype(np.float32)
    embeddings = np.array([eye[0], eye[0], eye[1], near, eye[2], eye[2], eye[3]], dtype=np.float32)
    times = np.full(7, np.nan)
    calm = OpenSet(people, times, np.arange(7)).measure(embeddings, RULE).fnir
    embeddings[6] = (0.95 * eye[1] + np.sqrt(np.float32(1 - 0.95**2)) * eye[3]).astype(np.float32)
    assert calm == 0.0
    assert OpenSet(people, times, np.arange(7)).measure(embeddings, RULE).fnir == pytest.approx(1 / 3)


def test_open_set_needs_three_people_to_search_for() -> None:
    people = np.array([0, 0, 1, 1, 2, 3], dtype=np.int64)
    with pytest.raises(TrainingError, match="3 are needed"):
        OpenSet(people, np.full(6, np.nan), np.arange(6))

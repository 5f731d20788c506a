import numpy as np
import pytest
import torch

from ml.backbones.cards import find_card
from ml.errors import TrainingError
from ml.training.heads import Margin, OpenSetHead
from ml.training.projection import Projection, project
from ml.training.splits import make_split
from ml.training.types import NoCheckpoints, Split, Trained, TrainingCurves, TrainingFaces, TrainingSettings
from ml.training.validation import OpenSet
from ml.types import FloatArray

CARD = find_card("dlib-resnet")
SETTINGS = TrainingSettings(seed=1, n_threads=1, n_epochs=20, learning_rate=1e-2)


class StopError(Exception):
    """What a report raises to stop a training."""


class Kept:
    """Checkpoints in memory."""

    def __init__(self) -> None:
        self.state: bytes | None = None

    def load(self) -> bytes | None:
        return self.state

    def save(self, state: bytes) -> None:
        self.state = state


def quiet(share: float, message: str, curves: TrainingCurves) -> None:
    """A report that tells nobody."""


def make_faces(*, n_people: int = 200, n_faces: int = 5, n_nuisance: int = 4, seed: int = 0) -> TrainingFaces:
    """People in 16 dimensions; light and camera, which nothing says who it is, are most of `n_nuisance` others."""
    generator = np.random.default_rng(seed)
    people = np.repeat(np.arange(n_people), n_faces).astype(np.int64)
    who = generator.normal(size=(n_people, 16))[people] + 0.35 * generator.normal(size=(len(people), 16))
    light = 1.5 * generator.normal(size=(len(people), n_nuisance))
    raw = np.concatenate([who, light], axis=1)
    embeddings = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return TrainingFaces(people, np.full(len(people), np.nan), embeddings)


def trained(faces: TrainingFaces, split: Split, settings: TrainingSettings = SETTINGS) -> Trained:
    return Projection().train(faces, split, CARD, settings, NoCheckpoints(), quiet)


def missed(embeddings: FloatArray, faces: TrainingFaces, split: Split) -> float:
    """FNIR about FPIR 1 % on the people who judge."""
    open_set = OpenSet(faces.people, faces.times_s, split.test)
    return open_set.measure(embeddings[split.test], CARD.score_rule).tie_break


def test_what_says_nothing_about_people_is_unlearned_and_strangers_to_the_training_gain() -> None:
    faces = make_faces()
    split = make_split(faces.people, 0)
    result = trained(faces, split)
    before = missed(faces.embeddings, faces, split)
    after = missed(project(result.tensors, faces.embeddings), faces, split)
    assert result.curves.best_epoch >= 0
    assert after < 0.75 * before
    weight = result.tensors["weight"]
    assert np.linalg.norm(weight[:, 16:]) / 4**0.5 < 0.9 * np.linalg.norm(weight[:, :16]) / 16**0.5


@pytest.mark.parametrize("margin", ["softmax", "cosface", "arcface"])
def test_a_head_with_a_margin_can_be_chosen_and_is_not_kept(margin: Margin) -> None:
    faces = make_faces(n_people=60)
    settings = TrainingSettings(seed=1, n_threads=1, n_epochs=3, margin=margin)
    result = trained(faces, make_split(faces.people, 0), settings)
    assert set(result.tensors) == {"weight", "bias"}
    assert result.tensors["weight"].shape == (20, 20) and result.tensors["weight"].dtype == np.float32
    assert len(result.curves.loss) == 3


def test_the_same_faces_and_seed_give_the_same_bits_and_those_who_judge_do_not_matter() -> None:
    faces = make_faces(n_people=60)
    split = make_split(faces.people, 0)
    noise = faces.embeddings.copy()
    noise[split.test] = noise[split.test][::-1]
    other = TrainingFaces(faces.people, faces.times_s, noise)
    settings = TrainingSettings(seed=1, n_threads=1, n_epochs=4)
    one, two, three = trained(faces, split, settings), trained(faces, split, settings), trained(other, split, settings)
    for name in ("weight", "bias"):
        assert np.array_equal(one.tensors[name], two.tensors[name])
        assert np.array_equal(one.tensors[name], three.tensors[name])
    assert one.curves == two.curves


def test_an_interrupted_training_goes_on_to_the_same_bits() -> None:
    faces = make_faces(n_people=60)
    split = make_split(faces.people, 0)
    settings = TrainingSettings(seed=1, n_threads=1, n_epochs=4, learning_rate=3e-3)
    kept = Kept()

    def stopping(share: float, message: str, curves: TrainingCurves) -> None:
        if len(curves.loss) == 2:
            raise StopError

    with pytest.raises(StopError):
        Projection().train(faces, split, CARD, settings, kept, stopping)
    resumed = Projection().train(faces, split, CARD, settings, kept, quiet)
    assert np.array_equal(resumed.tensors["weight"], trained(faces, split, settings).tensors["weight"])


def test_nothing_that_helps_leaves_the_embeddings_as_they_are() -> None:
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 4).astype(np.int64)
    centres = generator.normal(size=(40, 64))
    raw = centres[people] + 0.01 * generator.normal(size=(160, 64))
    embeddings = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    faces = TrainingFaces(people, np.full(160, np.nan), embeddings)
    result = trained(faces, make_split(people, 0))
    assert result.curves.best_epoch == -1
    np.testing.assert_allclose(project(result.tensors, embeddings), embeddings, atol=1e-6)


def test_too_few_people_are_refused_with_their_number() -> None:
    faces = make_faces(n_people=25)
    split = make_split(faces.people, 0)
    with pytest.raises(TrainingError, match=r"\d+ people with two faces.*20 are needed"):
        trained(faces, split)


def test_only_faces_of_people_to_learn_from_are_not_learned_from() -> None:
    faces = make_faces(n_people=60)
    split = make_split(faces.people, 0)
    lonely = np.array([np.flatnonzero(faces.people == person)[0] for person in faces.people[split.test][::5]])
    more = Split(np.concatenate([split.train, lonely]), split.validation, split.test)
    settings = TrainingSettings(seed=1, n_threads=1, n_epochs=2)
    assert np.array_equal(
        trained(faces, more, settings).tensors["weight"], trained(faces, split, settings).tensors["weight"]
    )


def test_projected_embeddings_are_unit_vectors_worked_out_by_hand() -> None:
    tensors = {
        "weight": np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=np.float32),
        "bias": np.array([0.0, 0.0, 1.0], dtype=np.float32),
    }
    found = project(tensors, np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32))
    expected = np.array([[2.0, 0.0, 2.0], [0.0, 1.0, 1.0]]) / np.sqrt([[8.0], [2.0]])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert project(tensors, np.empty((0, 2), dtype=np.float32)).shape == (0, 3)


def test_the_open_set_head_counts_what_would_be_missed() -> None:
    eye = torch.eye(4)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    head = OpenSetHead(runner_up_weight=0.5, scale=100.0, stranger_share=0.2)
    assert head(eye[labels], labels).item() == pytest.approx(0.0, abs=1e-6)
    swapped = eye[labels].clone()
    swapped[1], swapped[3] = eye[1], eye[0]
    assert head(swapped, labels).item() == pytest.approx(4 / 6, abs=1e-3)

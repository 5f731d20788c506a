from collections.abc import Sequence

import numpy as np
import pytest
import torch

from ml.enrolling import fuse
from ml.errors import GalleryError
from ml.fusion import (
    Frames,
    Fusion,
    PcaBasis,
    keep_all,
    max_pool,
    mean,
    principal_direction,
    quality_weighted_mean,
)
from ml.lstm_fusion import MIN_PEOPLE, FrameWeights, LstmFusion, train_lstm
from ml.types import FloatArray
from tests.ml.factories import make_embeddings, make_near

DIM = 16
SINGLE = [mean, quality_weighted_mean, max_pool, principal_direction]


def make_frames(*, n: int = 4, seed: int = 0, qualities: Sequence[float] | None = None) -> Frames:
    """Frames near to one vector."""
    middle = make_embeddings(n=1, dim=DIM, seed=seed)[0]
    near = [make_near(embedding=middle, cosine=0.85, seed=1000 + 100 * seed + i) for i in range(n)]
    given = np.linspace(0.3, 0.9, n) if qualities is None else qualities
    return Frames(np.array(near), np.array(given, dtype=np.float32))


def make_flagged_crowd(*, n_people: int, seed: int) -> tuple[list[Frames], FloatArray]:
    """Five frames each; about every third shows hardly anything of the person, and has a low quality."""
    generator, middles = np.random.default_rng(seed), make_embeddings(n=n_people, dim=DIM, seed=seed)
    people = []
    for person, middle in enumerate(middles):
        is_good = generator.random(5) > 0.35
        is_good[generator.integers(5)] = True
        near = [
            make_near(embedding=middle, cosine=0.85 if good else 0.1, seed=100_000 * seed + 10 * person + i)
            for i, good in enumerate(is_good)
        ]
        people.append(Frames(np.array(near), np.where(is_good, 0.9, 0.1).astype(np.float32)))
    return people, middles


def mean_cosine(fusion: Fusion, people: Sequence[Frames], middles: FloatArray) -> float:
    return float(np.mean([fusion(person)[0] @ middle for person, middle in zip(people, middles, strict=True)]))


@pytest.fixture(scope="module")
def lstm() -> LstmFusion:
    return train_lstm(make_flagged_crowd(n_people=120, seed=1)[0], seed=0)


@pytest.mark.parametrize("fusion", SINGLE)
def test_frames_become_one_template_of_unit_length(fusion: Fusion) -> None:
    template = fusion(make_frames())
    assert (template.shape, template.dtype) == ((1, DIM), np.float32)
    assert np.linalg.norm(template) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("fusion", [keep_all, *SINGLE])
def test_one_frame_stays_as_it_is(fusion: Fusion) -> None:
    for seed in range(5):
        frames = make_frames(n=1, seed=seed, qualities=[0.2])
        np.testing.assert_allclose(fusion(frames), frames.embeddings, atol=1e-6)


@pytest.mark.parametrize("fusion", SINGLE)
def test_the_order_of_the_frames_does_not_matter(fusion: Fusion) -> None:
    frames = make_frames(n=5)
    order = np.array([3, 0, 4, 1, 2])
    shuffled = Frames(frames.embeddings[order], frames.qualities[order])
    np.testing.assert_allclose(fusion(shuffled), fusion(frames), atol=1e-6)


@pytest.mark.parametrize("fusion", [mean, quality_weighted_mean, principal_direction, max_pool])
def test_frames_that_cancel_out_are_refused(fusion: Fusion) -> None:
    corner = -np.eye(2, DIM, dtype=np.float32)  # the largest of each element is 0
    opposite = np.array([corner[0], -corner[0]])
    with pytest.raises(GalleryError, match="cancel out"):
        fusion(Frames(corner if fusion is max_pool else opposite, np.ones(2, dtype=np.float32)))


def test_all_frames_are_kept_in_their_order_as_a_copy() -> None:
    frames = make_frames(n=3)
    templates = keep_all(frames)
    np.testing.assert_array_equal(templates, frames.embeddings)
    assert not np.shares_memory(templates, frames.embeddings)


def test_the_mean_is_the_fused_template_of_the_product() -> None:
    frames = make_frames(n=3)
    np.testing.assert_allclose(mean(frames)[0], fuse(frames.embeddings), atol=1e-7)


def test_a_frame_counts_by_its_quality() -> None:
    frames = make_frames(n=3, qualities=[0.9, 0.0, 0.0])
    np.testing.assert_allclose(quality_weighted_mean(frames), frames.embeddings[:1], atol=1e-6)
    even = Frames(frames.embeddings, np.full(3, 0.4, dtype=np.float32))
    np.testing.assert_allclose(quality_weighted_mean(even), mean(frames), atol=1e-6)
    nothing = Frames(frames.embeddings, np.zeros(3, dtype=np.float32))
    np.testing.assert_array_equal(quality_weighted_mean(nothing), mean(frames))


def test_the_largest_value_of_each_element_is_pooled_with_its_sign() -> None:
    frames = Frames(np.array([[0.6, -0.8], [0.8, -0.6]], dtype=np.float32), np.ones(2, dtype=np.float32))
    np.testing.assert_allclose(max_pool(frames), [[0.8, -0.6]], atol=1e-6)


def test_the_first_direction_heeds_an_odd_frame_less_than_the_mean_does() -> None:
    middle = make_embeddings(n=1, dim=DIM)[0]
    odd = make_near(embedding=middle, cosine=0.0, seed=9)
    near = [make_near(embedding=middle, cosine=0.95, seed=seed) for seed in range(3)]
    frames = Frames(np.array([*near, odd]), np.ones(4, dtype=np.float32))
    assert principal_direction(frames)[0] @ middle > mean(frames)[0] @ middle > 0


def test_a_basis_keeps_the_cosines_of_what_lies_in_it() -> None:
    """Vectors in a plane of the sixteen dimensions lose nothing when two directions are kept."""
    flat = np.zeros((20, DIM), dtype=np.float32)
    flat[:, [3, 7]] = make_embeddings(n=20, dim=2)
    basis = PcaBasis.fit(flat, 2)
    projected = basis.project(flat)
    assert projected.shape == (20, 2)
    np.testing.assert_allclose(projected @ projected.T, flat @ flat.T, atol=1e-5)
    frames = Frames(flat[:3], np.ones(3, dtype=np.float32))
    np.testing.assert_array_equal(basis.keep_all(frames), projected[:3])
    np.testing.assert_allclose(basis.directions @ basis.directions.T, np.eye(2), atol=1e-6)


def test_what_a_basis_cannot_hold_is_refused() -> None:
    embeddings = np.eye(DIM, dtype=np.float32)
    with pytest.raises(ValueError, match="give 1 to 3"):
        PcaBasis.fit(embeddings[:3], 4)
    with pytest.raises(GalleryError, match="right angles"):
        PcaBasis.fit(embeddings[:3], 2).project(embeddings[9:10])


def test_an_untrained_lstm_is_the_mean() -> None:
    network = LstmFusion(FrameWeights(DIM), 0)
    for n in (1, 2, 5):
        np.testing.assert_allclose(network(make_frames(n=n)), mean(make_frames(n=n)), atol=1e-6)


def test_padding_changes_nothing(lstm: LstmFusion) -> None:
    """People with few frames are fused beside people with many as they are alone."""
    people = [make_frames(n=n, seed=n) for n in (2, 5, 1, 3)]
    embeddings, qualities = torch.rand(4, 5, DIM), torch.rand(4, 5)
    for row, person in enumerate(people):
        n = len(person.qualities)
        embeddings[row, :n], qualities[row, :n] = (
            torch.from_numpy(person.embeddings),
            torch.from_numpy(person.qualities),
        )
    together = lstm.network(embeddings, qualities, torch.tensor([2, 5, 1, 3])).detach().numpy()
    for row, person in zip(together, people, strict=True):
        np.testing.assert_allclose(row, lstm(person)[0], atol=1e-6)


def test_the_lstm_makes_one_template_of_unit_length_and_leaves_one_frame_alone(lstm: LstmFusion) -> None:
    template = lstm(make_frames(n=7))
    assert (template.shape, template.dtype) == ((1, DIM), np.float32)
    assert np.linalg.norm(template) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(lstm(make_frames(n=1)), make_frames(n=1).embeddings, atol=1e-6)


def test_the_lstm_learns_to_heed_what_the_mean_cannot_see(lstm: LstmFusion) -> None:
    """Measured on people that it never saw."""
    people, middles = make_flagged_crowd(n_people=100, seed=2)
    assert lstm.n_epochs > 0
    assert mean_cosine(lstm, people, middles) > mean_cosine(mean, people, middles) + 0.03


def test_the_same_seed_trains_the_same_lstm_and_leaves_the_callers_random_numbers_alone() -> None:
    people = make_flagged_crowd(n_people=40, seed=3)[0]
    frames = make_frames(n=4)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (train_lstm(people, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.n_epochs == again.n_epochs
    np.testing.assert_array_equal(first(frames), again(frames))
    assert not np.array_equal(first(frames), other(frames))


def test_an_lstm_that_has_nothing_to_learn_stays_the_mean() -> None:
    """Of frames that are all the same, none is worth more than another."""
    vectors = make_embeddings(n=MIN_PEOPLE, dim=DIM)
    fusion = train_lstm([Frames(np.array([v, v, v]), np.ones(3, dtype=np.float32)) for v in vectors], seed=0)
    assert fusion.n_epochs == 0
    np.testing.assert_allclose(fusion(make_frames(n=3)), mean(make_frames(n=3)), atol=1e-6)


def test_too_few_people_to_learn_from_are_refused() -> None:
    pairs = [make_frames(n=2, seed=seed) for seed in range(MIN_PEOPLE)]
    with pytest.raises(ValueError, match="0 people with 3 frames"):
        train_lstm(pairs, seed=0)

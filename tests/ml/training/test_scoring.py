"""What cosines mean is measured from faces alone, whatever their scale."""

import numpy as np
import pytest

from ml.backbones.cards import ARCFACE_SCORING, DLIB_SCORING
from ml.errors import TrainingError
from ml.scoring import decision_scores
from ml.training.scoring import MIN_PEOPLE, all_person_scores, make_gallery, measure_scoring
from ml.training.types import Rows
from ml.types import FloatArray, ScoreRule


def make_faces(*, n_people: int, n_faces: int = 3, common: float = 0.0, seed: int = 0) -> tuple[Rows, FloatArray]:
    """People with noise; `common` is what all faces share, which shifts every cosine."""
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(n_people), n_faces).astype(np.int64)
    vectors = random.normal(size=(n_people, 32))[people] + 0.6 * random.normal(size=(len(people), 32))
    vectors[:, 0] += common
    return people, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def unknown_times(people: Rows) -> np.ndarray:
    return np.full(len(people), np.nan)


def test_the_weights_stay_and_the_rest_is_measured() -> None:
    people, embeddings = make_faces(n_people=60)
    facts = measure_scoring(embeddings, people, unknown_times(people), DLIB_SCORING)
    assert facts.rule.centroid_weight == DLIB_SCORING.rule.centroid_weight
    assert facts.rule.runner_up_weight == DLIB_SCORING.rule.runner_up_weight
    assert 0.1 < facts.rule.runner_up_floor < 0.5  # of ten random directions in 32 dimensions, the nearest
    cosines = embeddings @ embeddings.T
    is_own = people[:, None] == people[None]
    np.fill_diagonal(is_own, False)
    others = cosines[people[:, None] != people[None]]
    assert 0.002 < (others >= facts.bounds.same).mean() < 0.004
    assert (cosines[is_own] < facts.bounds.different).mean() < 0.02
    assert facts.bounds.different <= facts.bounds.same


def test_what_all_faces_share_moves_everything_up() -> None:
    plain, shifted = (make_faces(n_people=40, common=common) for common in (0.0, 12.0))
    a, b = (measure_scoring(e, p, unknown_times(p), DLIB_SCORING) for p, e in (plain, shifted))
    assert b.rule.runner_up_floor > a.rule.runner_up_floor + 0.3
    assert b.bounds.same > a.bounds.same
    assert b.look_alike_margin < a.look_alike_margin


def test_the_prior_says_what_strangers_and_people_score() -> None:
    """Measured on some people, it must hold for others."""
    people, embeddings = make_faces(n_people=120)
    facts = measure_scoring(embeddings, people, unknown_times(people), DLIB_SCORING)
    _, others = make_faces(n_people=400, n_faces=1, seed=5)
    scores = np.sort(all_person_scores(others, make_gallery(embeddings, people, np.arange(len(people))), facts.rule))
    strangers = decision_scores(scores[:, -1], scores[:, -2], facts.rule)
    for target in (0.5, 0.1):
        assert np.mean(strangers >= facts.prior.threshold(target, 100)) == pytest.approx(target, abs=0.5 * target)
    assert facts.prior.fnir(facts.prior.threshold(0.01, 100), 100) < 0.2
    assert facts.prior.n_people == 120


def test_few_people_make_coarse_tables_and_fewer_none() -> None:
    people, embeddings = make_faces(n_people=MIN_PEOPLE)
    facts = measure_scoring(embeddings, people, unknown_times(people), ARCFACE_SCORING)
    assert facts.prior.gallery_sizes == (1, 2, 3, 5, 10)
    assert len(facts.prior.fpir_levels) >= 2 and min(facts.prior.fpir_levels) == 0.05
    for levels, table in (
        (facts.prior.fpir_levels, facts.prior.non_mated),
        (facts.prior.fnir_levels, facts.prior.mated),
    ):
        assert {len(row) for row in table} == {len(levels)} and len(table) == 5
    is_used = people < MIN_PEOPLE - 1
    with pytest.raises(TrainingError, match=f"{MIN_PEOPLE - 1} people"):
        measure_scoring(embeddings[is_used], people[is_used], unknown_times(people[is_used]), ARCFACE_SCORING)


def test_one_photo_each_is_nothing_to_measure_by() -> None:
    people, embeddings = make_faces(n_people=50, n_faces=1)
    with pytest.raises(TrainingError, match="0 people"):
        measure_scoring(embeddings, people, unknown_times(people), DLIB_SCORING)


def test_noise_has_no_scoring() -> None:
    people, _ = make_faces(n_people=60)
    noise = np.random.default_rng(0).normal(size=(len(people), 32))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    with pytest.raises(TrainingError, match="recognise"):
        measure_scoring(noise.astype(np.float32), people, unknown_times(people), DLIB_SCORING)


def test_the_same_faces_give_the_same_facts() -> None:
    people, embeddings = make_faces(n_people=30)
    first, second = (measure_scoring(embeddings, people, unknown_times(people), DLIB_SCORING) for _ in range(2))
    assert first == second


def test_a_gallery_is_sorted_by_person_and_fused() -> None:
    people, embeddings = make_faces(n_people=5)
    gallery = make_gallery(embeddings, people, np.array([13, 2, 1, 12]))
    assert gallery.person_rows.tolist() == [0, 0, 1, 1]
    assert np.allclose(gallery.embeddings, embeddings[[2, 1, 13, 12]])
    mean = embeddings[[1, 2]].mean(axis=0)
    assert np.allclose(gallery.centroids[0], mean / np.linalg.norm(mean), atol=1e-6)
    alone = ScoreRule(centroid_weight=0.0, runner_up_weight=0.0, runner_up_floor=-1.0)
    assert np.allclose(
        all_person_scores(embeddings[:1], gallery, alone)[0, 0], (embeddings[[1, 2]] @ embeddings[0]).max()
    )

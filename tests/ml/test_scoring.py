import numpy as np
import pytest

from ml.gallery import PersonHits
from ml.scoring import decision_scores, person_scores, rank_candidates
from ml.types import ScoreRule

RULE = ScoreRule(centroid_weight=0.75, runner_up_weight=0.5, runner_up_floor=0.2)


def make_hits(*, scores: dict[str, float]) -> PersonHits:
    """Hits whose centroid and best cosine are the same."""
    values = np.array(list(scores.values()), np.float32)
    return PersonHits(tuple(scores), values, values, np.arange(len(scores), dtype=np.int64))


def test_a_person_score_blends_fused_and_nearest_template() -> None:
    blended = person_scores(np.array([0.8], np.float32), np.array([0.4], np.float32), RULE)
    assert blended[0] == pytest.approx(0.7)


def test_the_decision_score_takes_off_part_of_the_runner_up() -> None:
    own, other = np.array([0.9, 0.9, 0.9], np.float32), np.array([0.6, 0.1, -np.inf], np.float32)
    assert decision_scores(own, other, RULE).tolist() == pytest.approx([0.6, 0.8, 0.8])


def test_candidates_are_ranked_and_each_is_set_against_the_best_other() -> None:
    ranked = rank_candidates(make_hits(scores={"b": 0.6, "a": 0.9, "c": 0.3}), RULE, 3)
    assert [c.person_id for c in ranked] == ["a", "b", "c"]
    assert [c.rank for c in ranked] == [1, 2, 3]
    assert [c.score for c in ranked] == pytest.approx([0.9 - 0.3, 0.6 - 0.45, 0.3 - 0.45])


def test_the_only_person_is_set_against_the_floor() -> None:
    assert rank_candidates(make_hits(scores={"a": 0.9}), RULE, 3)[0].score == pytest.approx(0.8)


def test_the_runner_up_counts_even_when_one_candidate_is_asked_for() -> None:
    ranked = rank_candidates(make_hits(scores={"a": 0.9, "b": 0.6}), RULE, 1)
    assert len(ranked) == 1
    assert ranked[0].score == pytest.approx(0.6)


def test_equal_scores_are_ordered_by_template_so_that_answers_repeat() -> None:
    assert [c.person_id for c in rank_candidates(make_hits(scores={"x": 0.5, "y": 0.5}), RULE, 2)] == ["x", "y"]


def test_an_empty_gallery_has_no_candidates() -> None:
    assert rank_candidates(make_hits(scores={}), RULE, 3) == ()

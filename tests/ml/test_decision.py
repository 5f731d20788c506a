import numpy as np
import pytest

from ml.decision import decide
from ml.types import Candidate, Outcome, Reason


def make_candidates(**scores: float) -> tuple[Candidate, ...]:
    return tuple(Candidate(p, s, rank, rank) for rank, (p, s) in enumerate(scores.items(), start=1))


def test_a_score_equal_to_the_threshold_names_the_person() -> None:
    decision = decide([make_candidates(a=0.5, b=0.2)], [()], 0.5)[0]
    assert (decision.outcome, decision.person_id, decision.score) == (Outcome.IDENTIFIED, "a", 0.5)
    assert decision.margin == pytest.approx(0.3)


def test_a_score_below_the_threshold_is_unknown_and_keeps_its_candidates() -> None:
    decision = decide([make_candidates(a=0.4999)], [()], 0.5)[0]
    assert (decision.outcome, decision.person_id, decision.margin) == (Outcome.UNKNOWN, None, None)
    assert decision.candidates[0].person_id == "a"


def test_nobody_enrolled_is_unknown_without_a_score() -> None:
    decision = decide([()], [()], 0.5)[0]
    assert (decision.outcome, decision.score) == (Outcome.UNKNOWN, None)


def test_a_face_that_is_not_good_enough_is_never_named() -> None:
    decision = decide([make_candidates(a=0.9)], [(Reason.BLURRED,)], 0.5)[0]
    assert (decision.outcome, decision.person_id, decision.score) == (Outcome.LOW_QUALITY, None, 0.9)


def test_one_person_goes_to_the_better_of_two_faces_and_the_other_is_unknown() -> None:
    first, second, third = decide(
        [make_candidates(a=0.7), make_candidates(a=0.8, b=0.75), make_candidates(b=0.6)], [(), (), ()], 0.5
    )
    assert (first.outcome, first.person_id) == (Outcome.UNKNOWN, None)
    assert second.person_id == "a"
    assert third.person_id == "b"


def test_an_image_without_faces_has_no_decisions() -> None:
    assert decide([], [], 0.5) == []


def test_faces_that_are_not_seen_together_may_be_the_same_person() -> None:
    faces = [make_candidates(a=0.6), make_candidates(a=0.8), make_candidates(a=0.7)]
    seen_with = np.array([[True, True, False], [True, True, False], [False, False, True]])
    decisions = decide(faces, [(), (), ()], 0.5, is_seen_with=seen_with)
    assert [decision.person_id for decision in decisions] == [None, "a", "a"]


def test_who_lost_their_name_to_a_better_face_takes_it_from_nobody_else() -> None:
    # The second face meets both others, the others do not meet: only the second one gives way.
    faces = [make_candidates(a=0.9), make_candidates(a=0.8), make_candidates(a=0.7)]
    seen_with = np.array([[True, True, False], [True, True, True], [False, True, True]])
    decisions = decide(faces, [(), (), ()], 0.5, is_seen_with=seen_with)
    assert [decision.person_id for decision in decisions] == ["a", None, "a"]

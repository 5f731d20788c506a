"""Deciding stored faces again, on tables that can be read."""

from collections.abc import Mapping
from datetime import timedelta

from app.db.tables import DecisionCandidate, DecisionRow
from app.decisions.rules import StoredFace, replay
from tests.app.factories import NOON

THRESHOLD = 0.5


def make_face(
    *,
    scores: Mapping[str, float],
    outcome: str | None = None,
    image: int = 0,
    id: str = "evt_1",
    n_erased: int = 0,
) -> StoredFace:
    """A face decided at 0.5 by its score, unless an outcome is given; the best `n_erased` candidates are gone."""
    best = max(scores.values())
    row = DecisionRow(
        id=id,
        at=NOON - timedelta(seconds=image),
        request_id=f"req_{image}",
        outcome=outcome or ("identified" if best >= THRESHOLD else "unknown"),
        score=best,
        threshold=THRESHOLD,
    )
    found = [
        DecisionCandidate(decision_id=id, rank=rank, person_id=person, score=score)
        for rank, (person, score) in enumerate(scores.items(), start=1)
    ]
    return StoredFace(row, found[n_erased:])


def changes(
    faces: list[StoredFace], threshold: float, margins: Mapping[tuple[str, str], float] | None = None
) -> list[str]:
    return [face.row.id for face in replay(faces, threshold, margins or {}).changes]


def test_a_score_equal_to_the_threshold_names() -> None:
    faces = [make_face(scores={"a": 0.45}, id="x"), make_face(scores={"b": 0.44}, id="y", image=1)]
    replayed = replay(faces, 0.45, {})
    assert [face.row.id for face in replayed.changes] == ["x"]
    assert (replayed.n_decisions, replayed.n_named) == (2, 0)
    assert (replayed.n_newly_named, replayed.n_no_longer_named) == (1, 0)


def test_a_pair_that_is_not_told_apart_is_not_newly_named() -> None:
    near, far = (
        make_face(scores={"a": 0.45, "b": 0.42}, id="near"),
        make_face(scores={"a": 0.45, "b": 0.2}, id="far", image=1),
    )
    assert changes([near, far], 0.4) == ["near", "far"]
    assert changes([near, far], 0.4, {("a", "b"): 0.1}) == ["far"]


def test_one_person_is_newly_named_once_in_an_image() -> None:
    better, worse = make_face(scores={"a": 0.48}, id="better"), make_face(scores={"a": 0.45}, id="worse")
    elsewhere = make_face(scores={"a": 0.45}, id="elsewhere", image=1)
    assert changes([better, worse, elsewhere], 0.4) == ["better", "elsewhere"]


def test_a_face_whose_better_rival_loses_the_name_gets_none_either() -> None:
    better, worse = (
        make_face(scores={"a": 0.7}, id="better"),
        make_face(scores={"a": 0.6}, id="worse", outcome="unknown"),
    )
    assert changes([better, worse], 0.65) == []
    assert changes([better, worse], 0.75) == ["better"]


def test_what_was_held_back_for_a_reason_that_is_gone_stays_as_it_was() -> None:
    held = make_face(scores={"a": 0.58, "b": 0.57}, outcome="unknown")
    assert changes([held], 0.5) == changes([held], 0.4) == []


def test_what_would_be_held_back_by_now_is_no_doing_of_the_threshold() -> None:
    named, margins = make_face(scores={"a": 0.58, "b": 0.57}), {("a", "b"): 0.1}
    assert changes([named], 0.5, margins) == changes([named], 0.4, margins) == []
    assert changes([named], 0.6, margins) == ["evt_1"]


def test_faces_of_low_quality_are_named_at_no_threshold() -> None:
    face = make_face(scores={"a": 0.9}, outcome="low_quality")
    replayed = replay([face], -1.0, {})
    assert (replayed.n_decisions, replayed.changes) == (1, [])


def test_whoever_was_best_and_is_erased_is_still_in_the_way() -> None:
    face = make_face(scores={"gone": 0.45, "a": 0.42}, n_erased=1)
    replayed = replay([face], 0.4, {})
    assert [changed.first_id for changed in replayed.changes] == [None]
    assert changes([face], 0.46) == []


def test_an_empty_gallery_named_nobody_and_never_will() -> None:
    row = DecisionRow(id="x", at=NOON, request_id="r", outcome="unknown", score=None, threshold=THRESHOLD)
    assert changes([StoredFace(row, [])], -2.0) == []

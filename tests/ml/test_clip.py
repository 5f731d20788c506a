"""Tracks of a clip to templates, on made-up embeddings."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.clip import ClipChoice, advise, choose_from_clip, count_poses
from ml.enrolling import fuse
from ml.pose import POSES
from ml.types import FloatArray, Reason, Sample
from tests.ml.clips import (
    ANA,
    BEA,
    BLURRED,
    BOUNDS,
    DIM,
    make_look,
    make_person,
    make_seen,
    make_stay,
    make_turn,
    together,
    track,
)
from tests.ml.factories import make_near, make_sample

NOBODY = np.empty((0, DIM), np.float32)
Frames = list[list[Sample]]


def choose(frames: Frames, *, enrolled: FloatArray = NOBODY, max_templates: int = 12, fps: float = 10.0) -> ClipChoice:
    return choose_from_clip(track(frames, fps=fps), enrolled, BOUNDS, max_templates=max_templates)


def rejected(choice: ClipChoice) -> dict[int, Reason]:
    return {frame.index: frame.reason for frame in choice.rejected}


def assert_mentions_every_frame_once(choice: ClipChoice, n: int) -> None:
    chosen, refused = [frame.index for frame in choice.chosen], [frame.index for frame in choice.rejected]
    assert sorted(chosen + refused) == list(range(n))
    assert chosen == sorted(chosen) and refused == sorted(refused)


# Which frames


def test_a_head_that_turns_gives_templates_of_all_five_poses() -> None:
    choice = choose(make_turn(person=ANA, n=60))
    assert choice.refused is None
    assert all(choice.coverage[pose] >= 2 for pose in POSES)
    assert len(choice.chosen) <= 12
    assert advise(choice.coverage) == ()
    assert_mentions_every_frame_once(choice, 60)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_there_are_no_more_templates_than_asked_for_and_no_pose_has_two_before_each_has_one(n: int) -> None:
    choice = choose(make_turn(person=ANA, n=80), max_templates=n)
    assert len(choice.chosen) == n
    of_pose = Counter(frame.pose for frame in choice.chosen)
    assert max(of_pose.values()) - min(of_pose[pose] for pose in POSES) <= 1


def test_templates_come_in_order_of_time_and_are_what_was_seen() -> None:
    frames = make_turn(person=ANA, n=40)
    choice = choose(frames)
    for frame in choice.chosen:
        assert frame.time_s == pytest.approx(frame.index / 10)
        np.testing.assert_array_equal(frame.sample.embedding, frames[frame.index][0].embedding)


def test_the_sharpest_of_a_pose_is_chosen() -> None:
    frames = [[make_seen(person=ANA, look=n, sharpness=0.02, score=0.8)] for n in range(20)]
    frames[13] = [make_seen(person=ANA, look=13, sharpness=0.05, score=0.9)]
    assert [frame.index for frame in choose(frames, max_templates=1).chosen] == [13]


def test_of_one_pose_the_view_that_is_furthest_from_those_chosen_is_taken_next() -> None:
    scores = {20: 0.95, 32: 0.94, 45: 0.8}
    frames = [[make_seen(person=ANA, look=yaw, yaw_deg=yaw, score=score)] for yaw, score in scores.items()]
    assert [frame.index for frame in choose(frames, fps=1, max_templates=2).chosen] == [0, 2]


def test_of_a_face_that_keeps_still_three_moments_are_enrolled_and_the_other_frames_are_duplicates() -> None:
    choice = choose([[make_seen(person=ANA)]] * 20)
    assert len(choice.chosen) == 3
    assert np.diff([frame.time_s for frame in choice.chosen]).min() >= 0.25
    assert choice.n_by_reason == {Reason.DUPLICATE_FRAME: 17}


def test_frames_of_the_same_moment_and_pose_are_one_template_however_the_embedding_jumps() -> None:
    assert len(choose(make_stay(person=ANA, n=10), fps=50).chosen) == 1
    assert len(choose(make_stay(person=ANA, n=10), fps=2).chosen) == 3


def test_a_pose_that_one_frame_alone_shows_between_others_is_taken_for_an_error_of_the_landmarks() -> None:
    frames = [[make_seen(person=ANA, look=n, yaw_deg=35 if n == 10 else 0)] for n in range(20)]
    assert choose(frames, fps=12.5).coverage["right"] == 0
    assert choose(frames, fps=2).coverage["right"] == 1  # so far apart it may be a turn of the head


def test_every_bad_frame_has_its_own_reason() -> None:
    frames: Frames = [
        *make_stay(person=ANA, n=5),
        [make_seen(person=ANA, **BLURRED)],
        [make_seen(person=ANA, brightness=20)],
        [make_seen(person=ANA, brightness=240)],
        [make_seen(person=ANA, yaw_deg=70)],
        [],
        *make_stay(person=ANA, n=5, first=10),
    ]
    assert {n: reason for n, reason in rejected(choose(frames)).items() if 5 <= n < 10} == {
        5: Reason.BLURRED,
        6: Reason.TOO_DARK,
        7: Reason.TOO_BRIGHT,
        8: Reason.EXTREME_POSE,
        9: Reason.NO_FACE,
    }


def test_a_frame_in_which_only_somebody_else_is_seen_says_so() -> None:
    passing = [[make_seen(person=BEA, look=n, x=20 + 60 * n, width=60)] for n in range(5)]
    choice = choose([*make_stay(person=ANA, n=20, x=500), *passing, *make_stay(person=ANA, n=20, x=500, first=20)])
    assert choice.refused is None and len(choice.passers_by) == 1
    assert {rejected(choice)[n] for n in range(20, 25)} == {Reason.IDENTITY_CONFLICT}


def test_of_a_track_that_drifts_towards_another_face_the_ends_are_not_enrolled() -> None:
    start, end = make_look(person=ANA, seed=1), make_near(embedding=make_look(person=ANA, seed=1), cosine=0.0)
    angles = np.radians(np.linspace(0, 50, 60))
    drifting = [(np.cos(angle) * start + np.sin(angle) * end).astype(np.float32) for angle in angles]
    quality = make_seen(person=ANA).quality
    choice = choose([[make_sample(embedding=e, box_xyxy=(275, 126, 365, 234), quality=quality)] for e in drifting])
    assert choice.main is not None and choice.main.n_frames == 60
    assert {rejected(choice)[n] for n in (0, 1, 58, 59)} == {Reason.IDENTITY_CONFLICT}
    assert all(5 < frame.index < 54 for frame in choice.chosen)


def test_a_face_that_is_unlike_the_rest_of_its_track_is_not_enrolled() -> None:
    odd = make_near(embedding=make_look(person=ANA, seed=3), cosine=0.935, seed=5)
    frames = make_stay(person=ANA, n=12)
    frames[4] = [make_seen(person=odd)]
    assert rejected(choose(frames))[4] is Reason.IDENTITY_CONFLICT


# Nothing to enrol


@pytest.mark.parametrize("n", [0, 1, 7])
def test_a_clip_without_faces_is_refused(n: int) -> None:
    choice = choose([[]] * n)
    assert (choice.refused, choice.main, choice.others) == (Reason.NO_FACE, None, ())
    assert_mentions_every_frame_once(choice, n)


@pytest.mark.parametrize(
    ("quality", "reason"),
    [(BLURRED, Reason.BLURRED), ({"brightness": 20}, Reason.TOO_DARK), ({"width": 38}, Reason.FACE_TOO_SMALL)],
)
def test_a_clip_without_a_clear_face_is_refused_for_what_most_frames_lack(
    quality: dict[str, float], reason: Reason
) -> None:
    choice = choose([*make_stay(person=ANA, n=9, **quality), *make_stay(person=ANA, n=2, yaw_deg=80), *[[]] * 20])
    assert (choice.refused, choice.chosen) == (reason, ())
    assert_mentions_every_frame_once(choice, 31)


def test_one_good_frame_is_enough() -> None:
    choice = choose(make_stay(person=ANA, n=1))
    assert (choice.refused, len(choice.chosen)) == (None, 1)
    assert choice.coverage == {"frontal": 1, "left": 0, "right": 0, "up": 0, "down": 0}


# Somebody else


def test_a_passer_by_is_reported_and_changes_nothing() -> None:
    alone = make_turn(person=ANA, n=60)
    passing = [[make_seen(person=BEA, look=n, x=20 + 20 * n, y=50, width=55)] for n in range(10)]
    with_other = choose(together(alone, passing, at=25))
    assert [frame.index for frame in with_other.chosen] == [frame.index for frame in choose(alone).chosen]
    assert [(other.n_frames, other.seconds) for other in with_other.passers_by] == [(10, 1.0)]


def test_two_people_are_refused_with_a_reason_for_every_frame() -> None:
    frames = [*together(make_turn(person=ANA, n=20, x=230), make_turn(person=BEA, n=20, x=450)), []]
    choice = choose(frames)
    assert choice.refused is Reason.SEVERAL_PEOPLE
    assert (choice.chosen, choice.passers_by) == ((), ())
    assert choice.n_by_reason == {Reason.SEVERAL_PEOPLE: 20, Reason.NO_FACE: 1}


def test_a_switch_of_identity_is_refused() -> None:
    choice = choose([*make_turn(person=ANA, n=30), *make_turn(person=BEA, n=20)])
    assert (choice.refused, choice.chosen) == (Reason.IDENTITY_CONFLICT, ())
    assert_mentions_every_frame_once(choice, 50)


def test_a_clip_of_somebody_else_than_was_enrolled_before_is_refused() -> None:
    enrolled = np.array([make_look(person=BEA, seed=n) for n in range(3)])
    assert choose(make_turn(person=ANA), enrolled=enrolled).refused is Reason.IDENTITY_CONFLICT
    assert choose(make_turn(person=BEA, first=50), enrolled=enrolled).refused is None


def test_a_clip_that_was_sent_before_gives_no_template_twice() -> None:
    frames = [[make_seen(person=ANA, look=look, yaw_deg=yaw)] for look, yaw in ((1, -30), (2, 0), (3, 30))]
    first = choose(frames, fps=1)
    assert len(first.chosen) == 3
    enrolled = np.array([frame.sample.embedding for frame in first.chosen])
    again = choose(frames, fps=1, enrolled=enrolled)
    assert again.refused is Reason.DUPLICATE_FRAME
    assert_mentions_every_frame_once(again, 3)


# Whatever happens

PEOPLE = [ANA, BEA, make_person(seed=9)]
faces_of_a_frame = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 2]),
        st.sampled_from([120, 320, 520]),
        st.sampled_from([-70, -30, 0, 30]),
        st.sampled_from([-30, 0, 30]),
        st.sampled_from([0.001, 0.02, 0.05]),
        st.integers(0, 20),
    ),
    max_size=2,
    unique_by=(lambda face: face[0], lambda face: face[1]),
)


@given(
    film=st.lists(faces_of_a_frame, max_size=20),
    fps=st.sampled_from([1.0, 5.0, 12.5]),
    n=st.integers(1, 12),
    n_enrolled=st.integers(0, 3),
)
def test_every_frame_is_chosen_or_rejected_and_templates_are_of_one_person(
    film: list[list[tuple[int, int, int, int, float, int]]], fps: float, n: int, n_enrolled: int
) -> None:
    frames = [
        [
            make_seen(person=PEOPLE[who], x=x, yaw_deg=yaw, pitch_deg=pitch, sharpness=sharpness, look=look)
            for who, x, yaw, pitch, sharpness, look in faces
        ]
        for faces in film
    ]
    enrolled = np.array([make_look(person=ANA, seed=look) for look in range(n_enrolled)]).reshape(-1, DIM)
    choice = choose(frames, fps=fps, max_templates=n, enrolled=enrolled.astype(np.float32))
    assert_mentions_every_frame_once(choice, len(film))
    assert len(choice.chosen) <= n
    assert (choice.refused is None) == bool(choice.chosen)
    assert choice.coverage == count_poses(frame.sample for frame in choice.chosen)
    assert sum(choice.n_by_reason.values()) == len(choice.rejected)
    if choice.chosen:
        fused = fuse(np.array([frame.sample.embedding for frame in choice.chosen]))
        assert all(fused @ frame.sample.embedding >= BOUNDS.same for frame in choice.chosen)


# What to do next


def test_what_is_missing_is_said_in_a_sentence_for_each_pose() -> None:
    assert advise(dict.fromkeys(POSES, 1)) == ()
    nothing = advise(dict.fromkeys(POSES, 0))
    assert nothing[0] == "Turn your head slowly to the left, and then to the right."
    assert len(nothing) == 4
    (down,) = advise(dict.fromkeys(POSES, 1) | {"down": 0})
    assert "look down" in down


@pytest.mark.parametrize(("missing", "own"), [("left", "right"), ("right", "left")])
def test_a_side_that_is_missing_is_named_as_in_the_picture_and_as_ones_own(missing: str, own: str) -> None:
    (sentence,) = advise(dict.fromkeys(POSES, 1) | {missing: 0})
    assert f"to the {missing} of the picture (to your own {own}" in sentence


def test_one_template_may_count_for_two_poses() -> None:
    assert count_poses([make_seen(person=ANA, yaw_deg=-30, pitch_deg=20), make_seen(person=ANA)]) == {
        "frontal": 1,
        "left": 1,
        "right": 0,
        "up": 1,
        "down": 0,
    }

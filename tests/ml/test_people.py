"""Whose clip it is and who else is in it, on made-up embeddings."""

import numpy as np
import pytest

from ml.people import OtherPerson, find_company, main_track
from ml.tracking import TrackedClip
from ml.types import FloatArray, Reason, Sample
from tests.ml.clips import ANA, BEA, BLURRED, BOUNDS, CAL, make_person, make_seen, make_stay, together, track
from tests.ml.factories import make_near

Frames = list[list[Sample]]


def others_in(frames: Frames, *, fps: float = 10.0) -> tuple[OtherPerson, ...]:
    clip = track(frames, fps=fps)
    main = main_track(clip)
    assert main is not None
    return find_company(clip, main, BOUNDS).others


def reasons(frames: Frames, *, fps: float = 10.0) -> list[Reason | None]:
    return [other.reason for other in others_in(frames, fps=fps)]


def is_mainly(clip: TrackedClip, person: FloatArray) -> bool:
    main = main_track(clip)
    return main is not None and float(np.mean([face.sample.embedding @ person for face in main.faces])) > 0.95


# Who is meant


@pytest.mark.parametrize(
    "other",
    [
        make_stay(person=BEA, n=8, x=150),
        make_stay(person=BEA, n=30, x=150, width=50),
        make_stay(person=BEA, n=30, x=40),
    ],
    ids=["shorter", "smaller", "at the side"],
)
def test_the_clip_is_about_who_is_longest_largest_and_most_central(other: Frames) -> None:
    clip = track(together(make_stay(person=ANA, n=30), other))
    assert len(clip.tracks) == 2
    assert is_mainly(clip, ANA)


def test_a_glimpse_of_somebody_clear_does_not_outweigh_a_person_who_is_blurred_throughout() -> None:
    clip = track([*make_stay(person=ANA, n=20, **BLURRED), *make_stay(person=BEA, n=1, x=120, first=5)])
    assert is_mainly(clip, ANA)


def test_nobody_is_meant_in_an_empty_clip() -> None:
    assert main_track(track([[], []])) is None


# Who passes by


def test_somebody_who_walks_across_for_a_second_is_reported_and_ignored() -> None:
    across = [[make_seen(person=BEA, look=n, x=20 + 55 * n, y=60, width=50)] for n in range(11)]
    assert others_in(together(make_stay(person=ANA, n=60), across, at=20)) == (OtherPerson(2.0, 3.0, 1.1, 11, None),)


def test_somebody_who_walks_before_the_camera_is_ignored() -> None:
    across = [[make_seen(person=BEA, look=n, x=20 + 60 * n, width=140)] for n in range(11)]
    frames = [*make_stay(person=ANA, n=40), *across, *make_stay(person=ANA, n=40, first=40)]
    assert reasons(frames) == [None]


def test_a_small_face_in_the_background_may_stay_throughout() -> None:
    assert reasons(together(make_stay(person=ANA, n=40), make_stay(person=BEA, n=40, x=80, width=45))) == [None]


def test_a_face_in_two_frames_of_a_long_clip_is_nobody() -> None:
    assert reasons(together(make_stay(person=ANA, n=40), make_stay(person=BEA, n=2, x=100), at=7)) == []


def test_frames_too_poor_to_tell_are_not_another_person() -> None:
    elsewhere = make_stay(person=ANA, n=10, x=520, **BLURRED)
    assert reasons([*make_stay(person=ANA, n=20), *elsewhere, *make_stay(person=ANA, n=20, first=20)]) == []


# Two people


@pytest.mark.parametrize("quality", [{}, BLURRED], ids=["clear", "blurred"])
def test_two_people_side_by_side_make_a_clip_unusable(quality: dict[str, float]) -> None:
    frames = together(make_stay(person=ANA, n=20, x=230), make_stay(person=BEA, n=20, x=450, **quality))
    assert reasons(frames) == [Reason.SEVERAL_PEOPLE]


def test_two_who_are_never_clear_are_two_all_the_same() -> None:
    frames = together(make_stay(person=ANA, n=9, x=230, **BLURRED), make_stay(person=BEA, n=9, x=450, **BLURRED))
    assert reasons(frames) == [Reason.SEVERAL_PEOPLE]


@pytest.mark.parametrize("n", [1, 2])
def test_two_people_are_two_in_a_clip_of_a_frame_or_two_as_well(n: int) -> None:
    frames = together(make_stay(person=ANA, n=n, x=230), make_stay(person=BEA, n=n, x=450))
    assert reasons(frames, fps=1) == [Reason.SEVERAL_PEOPLE]


def test_somebody_who_joins_for_a_third_of_the_clip_is_a_second_person() -> None:
    beside = make_stay(person=BEA, n=14, x=520)
    assert reasons(together(make_stay(person=ANA, n=40), beside, at=20)) == [Reason.SEVERAL_PEOPLE]


def test_one_who_leaves_and_another_who_comes_elsewhere_are_two() -> None:
    frames = [*make_stay(person=ANA, n=30, x=160), *[[]] * 15, *make_stay(person=BEA, n=20, x=500)]
    assert reasons(frames) == [Reason.SEVERAL_PEOPLE]


def test_strangers_each_of_whom_only_passes_by_are_a_crowd_together() -> None:
    frames = make_stay(person=ANA, n=60)
    for n in range(10):
        stranger = make_person(seed=50 + n)
        frames = together(frames, make_stay(person=stranger, n=12, x=60 if n % 2 else 580), at=(n // 2) * 12)
    assert reasons(frames) == [Reason.SEVERAL_PEOPLE] * 10


# A switch of identity


@pytest.mark.parametrize("n", [4, 15, 30])
def test_another_person_in_the_same_place_is_a_conflict_however_short(n: int) -> None:
    assert reasons([*make_stay(person=ANA, n=40), *make_stay(person=BEA, n=n)]) == [Reason.IDENTITY_CONFLICT]
    assert reasons([*make_stay(person=BEA, n=n), *make_stay(person=ANA, n=40)]) == [Reason.IDENTITY_CONFLICT]


def test_a_switch_in_the_middle_and_back_is_a_conflict() -> None:
    frames = [*make_stay(person=ANA, n=20), *make_stay(person=BEA, n=5), *make_stay(person=ANA, n=20, first=20)]
    assert reasons(frames) == [Reason.IDENTITY_CONFLICT]


def test_somebody_who_takes_the_empty_seat_is_a_conflict() -> None:
    assert reasons([*make_stay(person=ANA, n=40), *[[]] * 30, *make_stay(person=BEA, n=10)]) == [
        Reason.IDENTITY_CONFLICT
    ]


def test_a_switch_at_one_frame_a_second_is_a_conflict() -> None:
    frames = [*make_stay(person=ANA, n=2), *make_stay(person=BEA, n=2)]
    assert reasons(frames, fps=1) == [Reason.IDENTITY_CONFLICT]


def test_a_short_look_that_is_neither_alike_nor_different_is_no_conflict() -> None:
    unsure = make_near(embedding=ANA, cosine=0.938)  # 0.91 between single looks: not joined, and not another person
    frames = [*make_stay(person=ANA, n=40), *make_stay(person=unsure, n=6), *make_stay(person=ANA, n=10, first=40)]
    clip = track(frames)
    assert len(clip.tracks) == 2
    assert reasons(frames) == [None]


def test_many_glimpses_of_others_beside_the_main_person_make_a_crowd() -> None:
    frames = make_stay(person=ANA, n=20)
    for n in range(20):
        stranger = make_person(seed=50 + n)
        x, y = 30 + 60 * (n % 10), 40 if n < 10 else 320  # never where one was in the second before
        frames[n].append(make_seen(person=stranger, x=x, y=y, width=55, **BLURRED))
    clip = track(frames)
    main = main_track(clip)
    assert main is not None
    company = find_company(clip, main, BOUNDS)
    assert (company.others, company.refused) == ((), Reason.SEVERAL_PEOPLE)


def test_three_people_are_told_apart_from_each_other() -> None:
    frames = together(
        together(make_stay(person=ANA, n=20), make_stay(person=BEA, n=20, x=120)), make_stay(person=CAL, n=20, x=520)
    )
    assert reasons(frames) == [Reason.SEVERAL_PEOPLE] * 2

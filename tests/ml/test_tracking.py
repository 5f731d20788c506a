"""Faces of frames to tracks of people, on made-up embeddings."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.enrolling import Photo
from ml.tracking import TrackedClip, Tracker, is_near, mean_cosine, pool_track
from ml.types import FloatArray, Reason, Sample
from tests.ml.clips import (
    ANA,
    BEA,
    BLURRED,
    BOUNDS,
    SIZE_WH,
    make_look,
    make_person,
    make_seen,
    make_stay,
    together,
    track,
)
from tests.ml.factories import make_embeddings, make_near

N_PEOPLE = 4
PEOPLE = [make_person(seed=seed) for seed in range(N_PEOPLE)]


def lengths(clip: TrackedClip) -> list[int]:
    return [found.n_frames for found in clip.tracks]


def walk(person: FloatArray, xs: np.ndarray, first: int = 0) -> list[list[Sample]]:
    return [[make_seen(person=person, look=first + number, x=float(x))] for number, x in enumerate(xs)]


# One person


def test_a_person_who_moves_is_one_track() -> None:
    clip = track(walk(ANA, np.linspace(60, 580, 30)))
    assert lengths(clip) == [30]
    assert (clip.tracks[0].first_s, clip.tracks[0].last_s) == (0.0, 2.9)


def test_a_person_at_one_frame_a_second_is_one_track() -> None:
    assert lengths(track(walk(ANA, np.array([320, 420, 300, 380, 350])), fps=1)) == [5]


def test_a_person_who_leaves_and_comes_back_elsewhere_is_one_track() -> None:
    frames = [*walk(ANA, np.full(10, 100)), *[[]] * 30, *walk(ANA, np.full(10, 500), first=10)]
    clip = track(frames)
    assert lengths(clip) == [20]
    assert list(clip.tracks[0].sightings.index) == [*range(10), *range(40, 50)]
    assert [face.index for face in clip.tracks[0].faces] == [*range(10), *range(40, 50)]
    embeddings = np.array([face.sample.embedding for face in clip.tracks[0].faces])
    np.testing.assert_allclose(clip.tracks[0].clear_mean, embeddings.mean(axis=0), atol=1e-6)


def test_a_blurred_face_continues_the_track_whose_place_it_is_in_but_says_nothing_of_who_it_is() -> None:
    blurred = [[make_seen(person=BEA, look=9, x=325, **BLURRED)]] * 3
    clip = track([*make_stay(person=ANA, n=5), *blurred, *make_stay(person=ANA, n=5, first=20)])
    (only,) = clip.tracks
    assert (only.n_frames, only.n_clear) == (13, 10)
    assert Counter(only.sightings.reasons) == {None: 10, Reason.BLURRED: 3}
    clear = np.array([face.sample.embedding for face in only.faces if face.reason is None])
    np.testing.assert_allclose(only.clear_mean, clear.mean(axis=0), atol=1e-6)


def test_a_blurred_face_elsewhere_is_a_track_of_its_own() -> None:
    far = [[make_seen(person=ANA, x=560, **BLURRED)]]
    assert lengths(track([*make_stay(person=ANA, n=5), *far, *make_stay(person=ANA, n=5, first=9)])) == [10, 1]


def test_a_small_face_that_walks_fast_is_one_track_as_long_as_it_looks_the_same() -> None:
    strides = [[make_seen(person=ANA, look=n, x=100 + 60 * n, width=40)] for n in range(8)]
    assert lengths(track(strides, fps=2)) == [8]
    changing = [[make_seen(person=make_person(seed=n), x=100 + 60 * n, width=40)] for n in range(8)]
    assert lengths(track(changing, fps=2)) == [1] * 8


def test_a_track_belongs_to_a_clear_face_before_a_blurred_one_in_its_place() -> None:
    both = [make_seen(person=ANA, look=9, x=380), make_seen(person=ANA, look=4, **BLURRED)]
    clip = track([*make_stay(person=ANA, n=5), both])
    assert [(found.n_frames, found.n_clear) for found in clip.tracks] == [(6, 6), (1, 0)]


def test_two_frames_are_neighbours_however_long_the_time_between_them() -> None:
    assert lengths(track(make_stay(person=ANA, n=6, **BLURRED), fps=0.2)) == [6]


def test_a_track_begins_with_the_blurred_faces_before_the_first_clear_one() -> None:
    clip = track([*make_stay(person=ANA, n=4, **BLURRED), *make_stay(person=ANA, n=4, first=9)])
    assert [(found.n_frames, found.n_clear) for found in clip.tracks] == [(8, 4)]


# Several people


def test_two_people_side_by_side_are_two_tracks() -> None:
    clip = track(together(make_stay(person=ANA, n=10, x=200), make_stay(person=BEA, n=10, x=440)))
    assert lengths(clip) == [10, 10]
    assert mean_cosine(*clip.tracks) == pytest.approx(0.82 * 0.97, abs=0.06)


def test_two_people_who_change_places_keep_their_tracks() -> None:
    to_the_right, to_the_left = np.linspace(100, 540, 30), np.linspace(540, 100, 30)
    clip = track(together(walk(ANA, to_the_right), walk(BEA, to_the_left)))
    assert lengths(clip) == [30, 30]
    for found in clip.tracks:
        middles = found.sightings.boxes_xyxy[:, [0, 2]].mean(axis=1)
        assert list(middles) in (pytest.approx(list(to_the_right)), pytest.approx(list(to_the_left)))


def test_a_cut_to_somebody_else_in_the_same_place_opens_a_new_track() -> None:
    clip = track([*make_stay(person=ANA, n=10), *make_stay(person=BEA, n=10)])
    assert [(found.first_s, found.last_s) for found in clip.tracks] == [(0.0, 0.9), (1.0, 1.9)]


def test_people_who_alternate_are_one_track_each() -> None:
    frames = [sight for turn in range(6) for sight in make_stay(person=(ANA, BEA)[turn % 2], n=5, first=10 * turn)]
    assert lengths(track(frames)) == [15, 15]


def test_twins_whom_the_backbone_takes_for_one_stay_apart_where_one_frame_shows_both() -> None:
    twin = make_near(embedding=ANA, cosine=0.98)
    clip = track(together(make_stay(person=ANA, n=10, x=200), make_stay(person=twin, n=10, x=440)))
    assert lengths(clip) == [10, 10]
    assert (mean_cosine(*clip.tracks) or 0) > BOUNDS.same


def test_a_face_is_continued_by_the_nearest_of_those_that_might_be_it() -> None:
    frames = together(make_stay(person=ANA, n=10, x=300), make_stay(person=ANA, n=10, x=360))
    for found in track(frames).tracks:
        assert np.ptp(found.sightings.boxes_xyxy[:, 0]) == 0


def test_no_track_is_without_a_person_when_all_faces_are_unclear() -> None:
    clip = track(make_stay(person=ANA, n=6, **BLURRED))
    assert [(found.n_frames, found.n_clear) for found in clip.tracks] == [(6, 0)]
    assert not clip.tracks[0].clear_mean.any()
    assert mean_cosine(clip.tracks[0], clip.tracks[0]) is None


# Nothing, and too much


def test_a_clip_without_frames_and_one_without_faces_have_no_tracks() -> None:
    assert (track([]).tracks, len(track([]).frame_index)) == ((), 0)
    clip = track([[], [], []])
    assert (clip.tracks, list(clip.frame_index), list(clip.frame_time_s)) == ((), [0, 1, 2], [0.0, 0.1, 0.2])


def test_a_single_frame_is_a_track_for_each_face() -> None:
    assert lengths(track([[make_seen(person=ANA, x=200), make_seen(person=BEA, x=440)]])) == [1, 1]


def test_a_long_track_keeps_128_faces_with_the_rare_pose_among_them_and_every_sighting() -> None:
    frames = make_stay(person=ANA, n=400)
    frames[50] = [make_seen(person=ANA, look=50, yaw_deg=40, score=0.3)]
    (only,) = track(frames).tracks
    assert (len(only.faces), only.n_frames, only.n_clear) == (128, 400, 400)
    assert 50 in [face.index for face in only.faces]


def test_unclear_faces_are_forgotten_first_and_then_the_worst() -> None:
    blurred = make_stay(person=ANA, n=60, sharpness=0.001, yaw_deg=30)
    frames = [*blurred, *make_stay(person=ANA, n=100), *make_stay(person=ANA, n=60)]
    frames[100] = [make_seen(person=ANA, score=0.2)]
    (only,) = track(frames).tracks
    assert {face.reason for face in only.faces} == {None}
    assert len(only.faces) == 128 and 100 not in [face.index for face in only.faces]


def test_joined_tracks_keep_the_bound_too() -> None:
    frames = [*make_stay(person=ANA, n=100), *[[]] * 20, *make_stay(person=ANA, n=100, first=100)]
    (only,) = track(frames).tracks
    assert (len(only.faces), only.n_frames) == (128, 200)


def test_of_a_street_full_of_strangers_the_most_visible_are_kept_and_the_others_counted() -> None:
    strangers = [[make_seen(person=make_person(seed=100 + n), width=60)] for n in range(300)]
    clip = track(together([*make_stay(person=ANA, n=20, x=500), *[[]] * 280], strangers))
    assert len(clip.tracks) <= 128 + 11  # those of the last second are not finished before the clip is
    assert len(clip.tracks) + clip.n_forgotten == 301
    assert max(lengths(clip)) == 20


def test_a_kept_embedding_does_not_keep_its_batch() -> None:
    batch = make_embeddings(n=500, dim=128)
    sample = make_seen(person=ANA)
    tracker = Tracker(BOUNDS)
    tracker.add(0, 0.0, Photo([Sample(sample.face, sample.quality, batch[3], sample.model)], SIZE_WH))
    kept = tracker.finish().tracks[0].faces[0].sample.embedding
    assert kept.base is None
    np.testing.assert_array_equal(kept, batch[3])


# Whatever happens

faces_of_a_frame = st.lists(
    st.tuples(
        st.integers(0, N_PEOPLE - 1), st.sampled_from([80, 200, 320, 440, 560]), st.booleans(), st.integers(0, 10**6)
    ),
    max_size=4,
    unique_by=(lambda face: face[0], lambda face: face[1]),
)
films = st.lists(faces_of_a_frame, max_size=25)


def play(film: list[list[tuple[int, int, bool, int]]], fps: float) -> TrackedClip:
    return track(
        [
            [
                make_seen(person=PEOPLE[person], look=look, x=x, sharpness=0.05 if is_clear else 0.001)
                for person, x, is_clear, look in faces
            ]
            for faces in film
        ],
        fps=fps,
    )


@given(film=films, fps=st.sampled_from([1.0, 5.0, 12.5]))
def test_every_face_of_every_frame_is_in_one_track_and_no_track_is_twice_in_a_frame(
    film: list[list[tuple[int, int, bool, int]]], fps: float
) -> None:
    clip = play(film, fps)
    assert list(clip.frame_index) == list(range(len(film)))
    sightings = Counter(int(index) for found in clip.tracks for index in found.sightings.index)
    assert sightings == Counter({number: len(faces) for number, faces in enumerate(film) if faces})
    for found in clip.tracks:
        assert (np.diff(found.sightings.index) > 0).all()
        assert [face.index for face in found.faces] == list(found.sightings.index)
        assert found.n_clear == found.sightings.is_clear.sum()


@given(film=films, fps=st.sampled_from([1.0, 5.0, 12.5]))
def test_no_track_holds_clear_faces_of_two_people_and_no_two_tracks_could_be_joined(
    film: list[list[tuple[int, int, bool, int]]], fps: float
) -> None:
    clip = play(film, fps)
    for found in clip.tracks:
        clear = [face for face in found.faces if face.reason is None]
        whose = {int(np.argmax([person @ face.sample.embedding for person in PEOPLE])) for face in clear}
        assert len(whose) <= 1
    for a, b in combinations(clip.tracks, 2):
        cosine = mean_cosine(a, b)
        are_together = set(a.sightings.index) & set(b.sightings.index)
        assert cosine is None or cosine < BOUNDS.same or are_together


# Probes


def test_a_track_is_fused_from_its_best_clear_faces() -> None:
    frames = [[make_seen(person=ANA, look=number, score=0.1 + number / 20)] for number in range(12)]
    frames.append([make_seen(person=BEA, look=99, sharpness=0.001, score=0.99)])
    (only,) = track(frames).tracks
    probe = pool_track(only, n_best=3)
    assert (probe.n_faces, probe.best.index) == (3, 11)
    assert np.linalg.norm(probe.embedding) == pytest.approx(1)
    best = np.mean([face.sample.embedding for face in only.faces if face.index in (9, 10, 11)], axis=0)
    np.testing.assert_allclose(probe.embedding * probe.agreement, best, atol=1e-6)
    assert 0.9 < probe.agreement < 1.0


def test_the_score_of_a_fused_probe_is_the_mean_of_its_faces_scores() -> None:
    (only,) = track(make_stay(person=ANA, n=6)).tracks
    probe, template = pool_track(only), make_look(person=ANA, seed=50)
    alone = [float(face.sample.embedding @ template) for face in only.faces]
    assert probe.agreement * float(probe.embedding @ template) == pytest.approx(np.mean(alone), abs=1e-6)


def test_a_track_without_a_clear_face_is_fused_all_the_same() -> None:
    (only,) = track(make_stay(person=ANA, n=3, **(BLURRED | {"score": 0.0}))).tracks
    probe = pool_track(only)
    assert probe.n_faces == 3
    assert probe.embedding @ ANA > 0.98


def test_a_fused_probe_is_nearer_to_the_person_than_its_faces() -> None:
    (only,) = track(make_stay(person=ANA, n=8)).tracks
    assert pool_track(only).embedding @ ANA > max(face.sample.embedding @ ANA for face in only.faces)


def test_boxes_are_near_when_alike_in_size_and_place() -> None:
    box = np.array([100, 100, 200, 200], np.float32)
    assert is_near(box, box + 50, within_widths=1.0)
    assert not is_near(box, box + 80, within_widths=1.0)
    assert not is_near(box, np.array([120, 120, 160, 160], np.float32), within_widths=1.0)  # in it, but far smaller

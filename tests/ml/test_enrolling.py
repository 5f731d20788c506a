import numpy as np
import pytest

from ml.enrolling import Photo, choose_samples, fuse, most_prominent
from ml.quality import ENROLL_LIMITS
from ml.types import FloatArray, PairBounds, Reason, Sample
from tests.ml.factories import make_near, make_quality, make_sample

BOUNDS = PairBounds(different=0.5, same=0.8)
NOBODY = np.empty((0, 16), np.float32)
ANA, BEA, CAL = np.eye(16, dtype=np.float32)[:3]  # three people who are not at all alike
MIDDLE, ASIDE = (200, 140, 300, 260), (20, 140, 120, 260)


def make_photo(*samples: Sample) -> Photo:
    return Photo(samples, (500, 400))


def near(embedding: FloatArray, seed: int, cosine: float = 0.9) -> FloatArray:
    return make_near(embedding=embedding, cosine=cosine, seed=seed)


def alone(embedding: FloatArray, seed: int = 0, **quality: float) -> Photo:
    measured = make_quality(**quality) if quality else None
    return make_photo(make_sample(embedding=near(embedding, seed), box_xyxy=MIDDLE, quality=measured))


def test_photos_of_one_person_are_all_kept() -> None:
    choice = choose_samples([alone(ANA, i) for i in range(3)], NOBODY, ENROLL_LIMITS, BOUNDS)
    assert (list(choice.kept), choice.rejected) == ([0, 1, 2], {})


def test_each_bad_photo_has_its_reason_and_the_good_ones_are_kept() -> None:
    photos = [make_photo(), alone(ANA, 1), alone(ANA, 2, sharpness=0.001), alone(ANA, 3, size_px=30), alone(ANA, 4)]
    choice = choose_samples(photos, NOBODY, ENROLL_LIMITS, BOUNDS)
    assert list(choice.kept) == [1, 4]
    assert choice.rejected == {0: Reason.NO_FACE, 2: Reason.BLURRED, 3: Reason.FACE_TOO_SMALL}


def test_the_photo_of_somebody_else_among_several_is_the_one_refused() -> None:
    choice = choose_samples([alone(ANA, 1), alone(BEA, 2), alone(ANA, 3)], NOBODY, ENROLL_LIMITS, BOUNDS)
    assert list(choice.kept) == [0, 2]
    assert choice.rejected == {1: Reason.IDENTITY_CONFLICT}


def test_two_photos_of_two_people_are_both_refused_because_either_may_be_wrong() -> None:
    choice = choose_samples([alone(ANA), alone(BEA)], NOBODY, ENROLL_LIMITS, BOUNDS)
    assert choice.kept == {}
    assert set(choice.rejected.values()) == {Reason.IDENTITY_CONFLICT}


def test_what_is_enrolled_already_decides_whose_photo_it_is() -> None:
    choice = choose_samples([alone(BEA), alone(ANA, 1)], ANA[None], ENROLL_LIMITS, BOUNDS)
    assert list(choice.kept) == [1]
    assert choice.rejected == {0: Reason.IDENTITY_CONFLICT}


def test_two_people_side_by_side_are_refused() -> None:
    side_by_side = make_photo(
        make_sample(embedding=ANA, box_xyxy=(100, 140, 200, 260)),
        make_sample(embedding=BEA, box_xyxy=(300, 140, 400, 260)),
    )
    choice = choose_samples([side_by_side], NOBODY, ENROLL_LIMITS, BOUNDS)
    assert choice.rejected == {0: Reason.SEVERAL_PEOPLE}


def test_a_small_face_in_the_background_does_no_harm() -> None:
    photo = make_photo(
        make_sample(embedding=BEA, box_xyxy=(20, 20, 70, 80)), make_sample(embedding=ANA, box_xyxy=MIDDLE)
    )
    choice = choose_samples([photo], NOBODY, ENROLL_LIMITS, BOUNDS)
    np.testing.assert_array_equal(choice.kept[0].embedding, ANA)


def test_an_ambiguous_photo_is_kept_when_a_clear_one_shows_the_same_person() -> None:
    ambiguous = make_photo(
        make_sample(embedding=near(ANA, 7, 0.95), box_xyxy=MIDDLE), make_sample(embedding=BEA, box_xyxy=ASIDE)
    )
    clear = make_photo(make_sample(embedding=ANA, box_xyxy=MIDDLE))
    assert list(choose_samples([ambiguous, clear], NOBODY, ENROLL_LIMITS, BOUNDS).kept) == [0, 1]
    among_others = choose_samples([ambiguous, alone(CAL)], NOBODY, ENROLL_LIMITS, BOUNDS)
    assert among_others.rejected == {0: Reason.SEVERAL_PEOPLE}


def test_an_ambiguous_photo_that_is_enrolled_already_is_not_enrolled_again() -> None:
    rival = make_sample(embedding=BEA, box_xyxy=(280, 140, 380, 260))
    seen = near(ANA, 1)
    photo = make_photo(make_sample(embedding=seen, box_xyxy=(160, 140, 260, 260)), rival)
    first = choose_samples([photo], ANA[None], ENROLL_LIMITS, BOUNDS)
    again = choose_samples([photo, photo], np.stack([ANA, seen]), ENROLL_LIMITS, BOUNDS)
    assert (list(first.kept), first.rejected) == ([0], {})
    assert (again.kept, again.rejected) == ({}, dict.fromkeys((0, 1), Reason.DUPLICATE_FRAME))


def test_the_same_picture_twice_is_enrolled_once() -> None:
    choice = choose_samples([alone(ANA), alone(ANA)], NOBODY, ENROLL_LIMITS, BOUNDS)
    assert list(choice.kept) == [0]
    assert choice.rejected == {1: Reason.DUPLICATE_FRAME}


def test_a_picture_that_is_enrolled_already_is_not_enrolled_again() -> None:
    enrolled = near(ANA, 1)[None]
    choice = choose_samples([alone(ANA, 1), alone(ANA, 2)], enrolled, ENROLL_LIMITS, BOUNDS)
    assert (list(choice.kept), choice.rejected) == ([1], {0: Reason.DUPLICATE_FRAME})


def test_the_most_prominent_face_is_large_and_near_the_middle() -> None:
    middle = make_sample(embedding=ANA, box_xyxy=(200, 140, 280, 240))
    aside = make_sample(embedding=BEA, box_xyxy=(0, 0, 110, 130))
    assert most_prominent(make_photo(aside, middle)) is middle


def test_fusing_gives_a_unit_vector_between_its_parts() -> None:
    fused = fuse(np.stack([ANA, BEA]))
    assert np.linalg.norm(fused) == pytest.approx(1)
    assert fused @ ANA == pytest.approx(fused @ BEA)

import numpy as np

from ml.training.splits import make_split, split_people, time_split


def people_of(*n_faces: int) -> np.ndarray:
    return np.repeat(np.arange(len(n_faces)), n_faces).astype(np.int64)


def test_nobody_is_in_two_parts_and_every_face_of_theirs_is_in_the_same() -> None:
    people = people_of(*([3] * 200))
    split = make_split(people, seed=1)
    parts = [set(people[rows].tolist()) for rows in (split.train, split.validation, split.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert sum(len(rows) for rows in (split.train, split.validation, split.test)) == 600


def test_people_stay_in_their_part_when_others_come_and_go() -> None:
    keys = [f"person {n}" for n in range(300)]
    before = dict(zip(keys, split_people(keys, 5), strict=True))
    later = keys[40:] + [f"new {n}" for n in range(50)]
    after = dict(zip(later, split_people(later, 5), strict=True))
    assert all(after[key] == before[key] for key in keys[40:])


def test_another_seed_deals_people_out_anew() -> None:
    keys = [str(n) for n in range(100)]
    assert not np.array_equal(split_people(keys, 0), split_people(keys, 1))


def test_parts_have_about_the_shares_that_were_asked_for() -> None:
    parts = split_people([str(n) for n in range(4000)], 0, (0.5, 0.2, 0.3))
    np.testing.assert_allclose(np.bincount(parts, minlength=3) / 4000, [0.5, 0.2, 0.3], atol=0.03)


def test_the_only_face_of_a_person_is_not_learned_from_but_judges_as_a_strangers() -> None:
    people = people_of(*([1] * 200))
    split = make_split(people, seed=0)
    assert len(split.train) == 0
    assert len(split.validation) + len(split.test) > 50


def test_no_people_have_no_parts() -> None:
    split = make_split(people_of(), seed=0)
    assert [len(rows) for rows in (split.train, split.validation, split.test)] == [0, 0, 0]
    assert split_people([], 0).shape == (0,)


def test_the_older_half_is_enrolled_and_the_newer_searched() -> None:
    people = np.array([7, 7, 7, 7, 7], dtype=np.int64)
    times = np.array([50.0, 10.0, 40.0, 20.0, 30.0])
    gallery, probes = time_split(people, times, np.arange(5))
    assert gallery.tolist() == [1, 3]
    assert probes.tolist() == [4, 2, 0]


def test_without_times_the_order_of_rows_decides_for_that_person_alone() -> None:
    people = np.array([0, 1, 0, 1], dtype=np.int64)
    times = np.array([9.0, 5.0, np.nan, 2.0])
    gallery, probes = time_split(people, times, np.array([3, 2, 1, 0]))
    assert gallery.tolist() == [0, 3]
    assert probes.tolist() == [2, 1]


def test_a_person_with_one_face_is_only_searched() -> None:
    gallery, probes = time_split(people_of(1, 2), np.full(3, np.nan), np.arange(3))
    assert gallery.tolist() == [1]
    assert probes.tolist() == [0, 2]


def test_no_faces_are_neither_enrolled_nor_searched() -> None:
    gallery, probes = time_split(people_of(), np.empty(0), np.empty(0, dtype=np.int64))
    assert gallery.shape == probes.shape == (0,)

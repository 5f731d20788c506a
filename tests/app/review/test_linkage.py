"""Which faces are put together, on made-up embeddings; no database."""

import numpy as np
import pytest
from numpy.typing import NDArray

from app.review.linkage import Faces, Members, first_of_presence, link
from ml.types import PairBounds
from tests.app.crowd import DIM, face

BOUNDS = PairBounds(different=0.90, same=0.92)


def faces(*embeddings: NDArray[np.float32], pictures: list[int] | None = None) -> Faces:
    numbers = pictures if pictures is not None else list(range(len(embeddings)))
    stacked = np.array(embeddings, dtype=np.float32).reshape(len(embeddings), -1 if embeddings else DIM)
    return Faces(stacked, np.array(numbers, dtype=np.int64))


def members(known: Faces, *clusters: int) -> Members:
    return Members(known, np.array(clusters, dtype=np.int64))


NOBODY = members(faces())


def test_photos_of_one_stranger_come_together_in_any_order() -> None:
    people = [0, 1, 2, 0, 1, 2, 2, 1, 0]
    seen = faces(*(face(seed=seed, photo=number) for number, seed in enumerate(people)))
    assert link(seen, NOBODY, BOUNDS).tolist() == people


def test_a_face_goes_to_the_known_cluster_that_it_is_most_like_and_new_ones_are_numbered_on() -> None:
    known = members(faces(face(seed=5), face(seed=6), pictures=[100, 101]), 0, 1)
    assert link(faces(face(seed=6, photo=1), face(seed=7), face(seed=5, photo=2)), known, BOUNDS).tolist() == [1, 2, 0]


def test_nothing_to_link_is_no_error() -> None:
    assert link(faces(), NOBODY, BOUNDS).tolist() == []
    assert link(faces(), members(faces(face(seed=1)), 0), BOUNDS).tolist() == []


def test_two_faces_of_one_picture_are_two_people_even_twins() -> None:
    twins = face(seed=1), face(seed=1, photo=1)
    assert link(faces(*twins, pictures=[7, 7]), NOBODY, BOUNDS).tolist() == [0, 1]
    assert link(faces(twins[1], pictures=[7]), members(faces(twins[0], pictures=[7]), 0), BOUNDS).tolist() == [1]


def test_a_face_between_two_strangers_does_not_make_one_of_them() -> None:
    def at(angle: float) -> NDArray[np.float32]:
        return np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)

    step = float(np.arccos(0.945))
    chain = [at(number * step) for number in range(6)]  # each like the next one, and the ends at a right angle and more
    found = link(faces(*chain), Members(Faces(np.empty((0, 2), np.float32), NOBODY.clusters), NOBODY.clusters), BOUNDS)
    assert found[0] != found[-1]
    for cluster in set(found.tolist()):
        of = np.array(chain)[found == cluster]
        assert (of @ of.T).min() > 0.7  # three steps apart at most


@pytest.mark.parametrize(("likeness", "clusters"), [(0.95, [0, 0]), (0.9499, [0, 1])])
def test_a_face_exactly_as_like_as_is_asked_for_joins(likeness: float, clusters: list[int]) -> None:
    a, b = np.zeros((2, DIM), dtype=np.float64)
    a[0], b[0], b[1] = 1.0, likeness, np.sqrt(1 - likeness**2)
    assert (
        link(Faces(np.array([a, b]), np.arange(2)), NOBODY, PairBounds(different=0.9, same=0.8 + 2 / 15)).tolist()
        == clusters
    )


def test_ten_thousand_kept_faces_are_compared_with_in_no_time() -> None:
    generator = np.random.default_rng(0)
    many = generator.normal(size=(10_200, DIM)).astype(np.float32)
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    known = Members(Faces(many[:10_000], np.arange(10_000)), np.arange(10_000) // 10)
    assert len(link(Faces(many[10_000:], np.arange(10_000, 10_200)), known, BOUNDS)) == 200


def test_a_visit_is_one_presence_and_its_first_event_stands_for_it() -> None:
    seen = [("a", 0.0), ("b", 100.0), ("c", 220.0), ("d", 341.0), ("e", 341.0)]
    assert first_of_presence(seen, [120] * 5) == {"a": None, "b": "a", "c": "a", "d": None, "e": "d"}
    assert first_of_presence([], []) == {}

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import GalleryError
from ml.gallery import Gallery
from tests.ml.factories import MODEL, make_embeddings


def make_gallery(*, n_people: int, per_person: int = 3, dim: int = 16, seed: int = 0) -> Gallery:
    gallery = Gallery(model=MODEL, dim=dim)
    n = n_people * per_person
    people = [f"p{i // per_person}" for i in range(n)]
    gallery.add(list(range(n)), people, make_embeddings(n=n, dim=dim, seed=seed), MODEL)
    return gallery


def test_search_finds_what_brute_force_finds() -> None:
    gallery = make_gallery(n_people=40)
    snapshot, probes = gallery.snapshot(), make_embeddings(n=25, seed=9)
    centroids = np.array([snapshot.embeddings[snapshot.person_rows == row].mean(axis=0) for row in range(40)])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    by_template = probes @ snapshot.embeddings.T
    for i, hits in enumerate(gallery.search(probes, 5)):
        nearest_people = [snapshot.person_ids[j] for j in np.argsort(-(probes[i] @ centroids.T))[:5]]
        nearest_templates = np.argsort(-by_template[i])[:5]
        assert set(nearest_people) <= set(hits.person_ids)
        assert {snapshot.person_ids[snapshot.person_rows[t]] for t in nearest_templates} <= set(hits.person_ids)
        for person, centroid_score, best, template in zip(
            hits.person_ids, hits.centroid_scores, hits.best_scores, hits.template_ids, strict=True
        ):
            row = snapshot.person_ids.index(person)
            own = np.flatnonzero(snapshot.person_rows == row)
            assert centroid_score == pytest.approx(probes[i] @ centroids[row], abs=1e-5)
            assert best == pytest.approx(by_template[i, own].max(), abs=1e-5)
            assert template == own[by_template[i, own].argmax()]


def test_an_empty_gallery_has_no_hits() -> None:
    hits = Gallery(model=MODEL, dim=16).search(make_embeddings(n=2), 3)
    assert [h.person_ids for h in hits] == [(), ()]


def test_no_probes_give_no_answers() -> None:
    assert make_gallery(n_people=2).search(np.empty((0, 16), np.float32), 3) == []


def test_asking_for_more_people_than_there_are_returns_each_once() -> None:
    hits = make_gallery(n_people=3).search(make_embeddings(n=1, seed=5), 50)[0]
    assert sorted(hits.person_ids) == ["p0", "p1", "p2"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60))
def test_any_order_of_adding_and_removing_leaves_what_a_plain_dict_would(steps: list[tuple[bool, int]]) -> None:
    vectors = make_embeddings(n=31, dim=8)
    gallery, expected = Gallery(model=MODEL, dim=8), {}
    for is_added, template_id in steps:
        if is_added and template_id not in expected:
            gallery.add([template_id], [f"p{template_id % 4}"], vectors[[template_id]], MODEL)
            expected[template_id] = f"p{template_id % 4}"
        elif not is_added:
            assert gallery.remove([template_id]) == int(expected.pop(template_id, None) is not None)
    snapshot = gallery.snapshot()
    held = {int(t): snapshot.person_ids[r] for t, r in zip(snapshot.template_ids, snapshot.person_rows, strict=True)}
    assert held == expected
    assert gallery.n_people == len(set(expected.values()))
    np.testing.assert_array_equal(snapshot.embeddings, vectors[snapshot.template_ids])
    if expected:
        probe = vectors[[min(expected)]]
        assert gallery.search(probe, 1)[0].best_scores.max() == pytest.approx(1, abs=1e-5)


def test_a_removed_person_is_found_no_more() -> None:
    gallery = make_gallery(n_people=2)
    probe = gallery.embeddings_of("p0")[:1]
    assert gallery.remove([0, 1, 2]) == 3
    assert gallery.search(probe, 5)[0].person_ids == ("p1",)
    assert gallery.embeddings_of("p0").shape == (0, 16)


def test_removing_twice_does_no_harm() -> None:
    gallery = make_gallery(n_people=1)
    assert gallery.remove([1, 1, 99]) == 1
    assert gallery.remove([1]) == 0
    assert gallery.n_templates == 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((1, 16), np.nan, np.float32), "NaN"),
        (np.zeros((1, 16), np.float32), "unit length"),
        (np.full((1, 16), 2.0, np.float32), "unit length"),
        (np.ones((1, 8), np.float32) / np.sqrt(8), "shape"),
    ],
)
def test_embeddings_that_faiss_would_take_in_silence_are_refused(bad: np.ndarray, message: str) -> None:
    gallery = make_gallery(n_people=1)
    with pytest.raises(GalleryError, match=message):
        gallery.search(bad, 1)
    with pytest.raises(GalleryError, match=message):
        gallery.add([77], ["p9"], bad, MODEL)
    assert gallery.n_templates == 3


@pytest.mark.parametrize("ids", [[50, 50], [50, 0]])
def test_a_repeated_template_id_is_refused_and_nothing_is_added(ids: list[int]) -> None:
    gallery = make_gallery(n_people=1)
    with pytest.raises(GalleryError, match="twice"):
        gallery.add(ids, ["p8", "p9"], make_embeddings(n=2), MODEL)
    assert (gallery.n_templates, gallery.n_people) == (3, 1)


def test_embeddings_of_another_backbone_are_refused() -> None:
    with pytest.raises(GalleryError, match="cannot be compared"):
        make_gallery(n_people=1).add([9], ["p9"], make_embeddings(n=1), "other-net/1")


def test_hits_without_a_person_are_those_of_everybody_else() -> None:
    hits = make_gallery(n_people=3).search(make_embeddings(n=1, seed=5), 3)[0]
    assert sorted(hits.without("p1").person_ids) == ["p0", "p2"]

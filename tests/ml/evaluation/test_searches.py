from pathlib import Path

import numpy as np
import pytest

from ml.decision import decide
from ml.enrolling import Photo
from ml.evaluation.enrolment import NOBODY, EnrolledPeople
from ml.evaluation.samples import Analyzed
from ml.evaluation.searches import Probes, TopHits, image_scores, make_probes, search, search_by_l2
from ml.metrics import NO_SCORE
from ml.scoring import rank_candidates
from ml.types import Outcome, ScoreRule
from tests.ml.evaluation.crowd import DIM, make_searches, make_seen
from tests.ml.factories import make_embeddings, make_quality, make_sample

RULES = [ScoreRule(2 / 3, 0.5, 0.3), ScoreRule(2 / 3, 0.5, -1.0), ScoreRule(0, 0, -1), ScoreRule(1, 0, -1)]


def make_probes_of(*, rows: list[int], own_rows: list[int]) -> Probes:
    """Faces in the photos `rows`, photos of the people `own_rows`; their vectors do not matter."""
    n = len(own_rows)
    faces = np.ones((len(rows), 1), dtype=np.float32)
    return Probes(faces, np.ones(len(rows), np.float32), np.array(rows), np.arange(n), np.array(own_rows))


@pytest.mark.parametrize("rule", RULES)
def test_the_best_candidate_is_the_one_that_the_service_ranks_first(rule: ScoreRule) -> None:
    searches, _ = make_searches()
    gallery = searches.gallery.index("m")
    for probes in (searches.mated, searches.strangers):
        hits = search(probes, searches.gallery, rule)
        ranked = [rank_candidates(near, rule, 2) for near in gallery.search(probes.embeddings, 8)]
        assert [int(candidates[0].person_id) for candidates in ranked] == hits.rows.tolist()
        np.testing.assert_allclose([candidates[0].score for candidates in ranked], hits.scores, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.2, 0.35, 0.45])
def test_photos_end_as_the_service_decides_them(threshold: float) -> None:
    searches, _ = make_searches()
    rule, probes = RULES[0], searches.mated
    gallery = searches.gallery.index("m")
    images = image_scores(search(probes, searches.gallery, rule), probes)
    for photo in range(probes.n_photos):
        faces = probes.embeddings[probes.photo_rows == photo]
        ranked = [rank_candidates(near, rule, 2) for near in gallery.search(faces, 8)]
        decisions = decide(ranked, [()] * len(ranked), threshold)
        named = [d.person_id for d in decisions if d.outcome is Outcome.IDENTIFIED]
        own = str(probes.own_rows[photo])
        assert (images.own[photo] >= threshold) == (own in named)
        assert (images.other[photo] >= threshold) == any(name != own for name in named)


def test_scores_of_two_people_worked_out_by_hand() -> None:
    gallery = EnrolledPeople(
        person_rows=np.array([0, 0, 1]),
        embeddings=np.array([[1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32),
        lengths=np.array([1, 2, 1], dtype=np.float32),
        qualities=np.ones(3, dtype=np.float32),
        centroids=np.array([[1.6, 0.8] / np.hypot(1.6, 0.8), [0, 1]], dtype=np.float32),
    )
    probe = Probes(
        np.array([[0.8, 0.6]], np.float32), np.array([1.5], np.float32), np.array([0]), np.array([0]), np.array([0])
    )
    centroid = (0.8 * 1.6 + 0.6 * 0.8) / np.hypot(1.6, 0.8)
    assert search(probe, gallery, ScoreRule(0, 0, -1)).scores[0] == pytest.approx(0.96)
    assert search(probe, gallery, ScoreRule(1, 0, -1)).scores[0] == pytest.approx(centroid)
    assert search(probe, gallery, ScoreRule(1, 0.5, -1)).scores[0] == pytest.approx(centroid - 0.5 * 0.6)
    assert search(probe, gallery, ScoreRule(0.5, 0.5, 0.9)).scores[0] == pytest.approx(
        0.5 * centroid + 0.48 - 0.45, abs=1e-6
    )
    # raw vectors: the probe (1.2, 0.9), the templates (1, 0), (1.2, 1.6) and (0, 1)
    assert search_by_l2(probe, gallery).scores[0] == pytest.approx(-0.7, abs=1e-6)
    assert search_by_l2(probe, gallery).rows.tolist() == [0]


def test_searching_in_parts_is_searching_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searches, _ = make_searches()
    whole = [search(searches.strangers, searches.gallery, RULES[0]), search_by_l2(searches.strangers, searches.gallery)]
    monkeypatch.setattr("ml.evaluation.searches._CHUNK_VALUES", 200)
    parts = [search(searches.strangers, searches.gallery, RULES[0]), search_by_l2(searches.strangers, searches.gallery)]
    for a, b in zip(whole, parts, strict=True):
        assert a.rows.tolist() == b.rows.tolist()
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


def test_with_one_person_enrolled_the_runner_up_is_the_floor() -> None:
    searches, _ = make_searches(n_people=1)
    alone = search(searches.mated, searches.gallery, ScoreRule(1, 0.5, 0.3)).scores
    plain = search(searches.mated, searches.gallery, ScoreRule(1, 0, -1)).scores
    np.testing.assert_allclose(alone, plain - 0.15, atol=1e-6)


def test_nobody_is_found_in_an_empty_gallery() -> None:
    searches, _ = make_searches()
    empty = searches.gallery.only(np.array([], dtype=np.int64))
    for hits in (search(searches.strangers, empty, RULES[0]), search_by_l2(searches.strangers, empty)):
        assert (hits.rows == NOBODY).all() and (hits.scores == NO_SCORE).all()
        images = image_scores(hits, searches.strangers)
        assert (images.own == NO_SCORE).all() and (images.other == NO_SCORE).all()


def test_no_faces_are_no_hits() -> None:
    searches, _ = make_searches()
    probes, acquired = make_probes([Path("a")], {Path("a"): make_seen(embeddings=[])}, np.array([0]), np.array([0]))
    assert acquired.n_no_face == 1
    for hits in (search(probes, searches.gallery, RULES[0]), search_by_l2(probes, searches.gallery)):
        assert not len(hits.rows)
        assert image_scores(hits, probes).own.tolist() == [NO_SCORE]


def test_a_photo_takes_its_best_faces() -> None:
    """Photo 0 shows its person twice and somebody else; 1 only others; 2 no face; 3 somebody who is not enrolled."""
    probes = make_probes_of(rows=[0, 0, 0, 1, 1, 3], own_rows=[7, 8, 9, NOBODY])
    hits = TopHits(np.array([7, 7, 5, 5, 6, 7]), np.array([0.3, 0.4, 0.9, 0.2, 0.1, 0.8]))
    images = image_scores(hits, probes)
    assert images.own.tolist() == [0.4, NO_SCORE, NO_SCORE, NO_SCORE]
    assert images.other.tolist() == [0.9, 0.2, NO_SCORE, 0.8]
    assert images.is_found.tolist() == [True, False, False, False]


def test_which_name_counts_depends_on_the_threshold() -> None:
    """Own name from 0.4, a wrong one from 0.9: right up to 0.4, misidentified above, nobody above 0.9."""
    probes = make_probes_of(rows=[0, 0], own_rows=[7])
    images = image_scores(TopHits(np.array([7, 5]), np.array([0.4, 0.9])), probes)
    for threshold, score, is_right in ((0.4, 0.4, True), (0.41, 0.9, False), (0.95, 0.9, False)):
        scores, right = images.at(threshold)
        assert (scores.tolist(), right.tolist()) == ([score], [is_right])


def test_faces_below_the_gate_are_not_searched_and_photos_are_counted_by_what_was_found() -> None:
    good, bad = make_embeddings(n=2, dim=DIM)
    blurred = make_sample(embedding=bad, quality=make_quality(sharpness=0.0))
    seen = {
        Path("good and blurred"): Analyzed(Photo([make_sample(embedding=good), blurred], (200, 200)), (1.0, 1.0)),
        Path("blurred"): Analyzed(Photo([blurred], (200, 200)), (1.0,)),
        Path("empty"): make_seen(embeddings=[]),
        Path("broken"): Analyzed(Photo([], (0, 0)), error="image_invalid"),
    }
    probes, acquired = make_probes(list(seen), seen, np.arange(4), np.full(4, NOBODY))
    assert probes.photo_rows.tolist() == [0]
    np.testing.assert_array_equal(probes.embeddings, [good])
    assert (acquired.n_photos, acquired.n_faces) == (4, 3)
    assert (acquired.n_no_face, acquired.n_refused, acquired.n_unreadable) == (1, 1, 1)


def test_part_of_the_photos_keeps_their_faces() -> None:
    probes = make_probes_of(rows=[0, 0, 1, 2], own_rows=[3, 4, 5])
    part = probes.only(np.array([True, False, True]), np.array([1, 0]))
    assert part.photo_rows.tolist() == [0, 0, 1]
    assert (part.people.tolist(), part.own_rows.tolist()) == ([0, 2], [1, 0])

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.enrolling import Photo, fuse
from ml.evaluation.enrolment import NOBODY, enrol
from ml.evaluation.samples import Analyzed
from ml.types import FloatArray
from tests.ml.evaluation.crowd import BOUNDS, DIM, make_enrolment, make_seen
from tests.ml.factories import make_embeddings, make_near, make_quality, make_sample

UNREADABLE = Analyzed(Photo([], (0, 0)), error="image_truncated")


def make_rated(*, embedding: FloatArray, score: float, bystander: FloatArray | None = None) -> Analyzed:
    """A photo of a face of this quality, maybe beside a far smaller one of another quality."""
    samples = [make_sample(embedding=embedding, quality=replace(make_quality(), score=score))]
    if bystander is not None:
        samples.insert(0, make_sample(embedding=bystander, box_xyxy=(0, 0, 41, 41)))
    return Analyzed(Photo(samples, (180, 200)), (1.0,) * len(samples))


def test_people_become_templates_sorted_by_person_with_their_fused_template() -> None:
    enrolment, middles = make_enrolment(n_people=5)
    people = enrolment.people
    assert (people.n_people, enrolment.n_failed, enrolment.n_refused) == (5, 0, {})
    assert people.person_rows.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert people.lengths[:3].tolist() == pytest.approx([1.2, 1.25, 1.3])
    assert people.qualities.tolist() == pytest.approx([0.9] * 15)
    for row in range(5):
        np.testing.assert_array_equal(people.centroids[row], fuse(people.embeddings[people.person_rows == row]))
        assert people.centroids[row] @ middles[row] > 0.8


def test_a_failure_to_enrol_is_counted_with_its_reasons_and_leaves_no_gap() -> None:
    a, b, c = make_embeddings(n=3, dim=DIM)
    seen = {
        Path("a"): make_seen(embeddings=[a]),
        Path("none"): make_seen(embeddings=[]),
        Path("broken"): UNREADABLE,
        Path("b"): make_seen(embeddings=[b]),
        Path("b again"): make_seen(embeddings=[make_near(embedding=b, cosine=0.9)]),
        Path("c"): make_seen(embeddings=[c]),
    }
    photos = [["a"], ["none", "broken"], ["broken"], ["b", "b again", "c"]]
    enrolment = enrol([[Path(name) for name in own] for own in photos], seen, BOUNDS, DIM)
    assert enrolment.rows.tolist() == [0, NOBODY, NOBODY, 1]
    assert enrolment.n_failed == 2
    assert enrolment.n_refused == {"no_face": 1, "image_truncated": 2, "identity_conflict": 1}
    assert enrolment.people.person_rows.tolist() == [0, 1, 1]


def test_templates_are_told_with_the_quality_of_their_face_and_no_bystanders() -> None:
    ada, bea, bystander = make_embeddings(n=3, dim=DIM)
    photos = [[Path("ada"), Path("ada again")], [Path("bea")]]
    seen = {
        Path("ada"): make_rated(embedding=ada, score=0.4, bystander=bystander),
        Path("ada again"): make_rated(embedding=make_near(embedding=ada, cosine=0.9, seed=9), score=0.8),
        Path("bea"): make_rated(embedding=bea, score=0.6),
    }
    people = enrol(photos, seen, BOUNDS, DIM).people
    np.testing.assert_allclose(people.qualities, [0.4, 0.8, 0.6], atol=1e-6)
    np.testing.assert_allclose(people.only(np.array([1, 0])).qualities, [0.6, 0.4, 0.8], atol=1e-6)


def test_nobody_enrolled_is_an_empty_gallery() -> None:
    enrolment = enrol([[Path("a")]], {Path("a"): UNREADABLE}, BOUNDS, DIM)
    assert enrolment.people.n_people == 0
    assert enrolment.people.embeddings.shape == enrolment.people.centroids.shape == (0, DIM)
    assert enrolment.people.qualities.shape == (0,)
    assert enrolment.people.index("test-net/1").n_templates == 0


def test_part_of_a_gallery_holds_the_chosen_people_renumbered() -> None:
    people = make_enrolment(n_people=6)[0].people
    part = people.only(np.array([4, 1]))
    assert part.person_rows.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(part.embeddings[:3], people.embeddings[12:15])
    np.testing.assert_array_equal(part.centroids, people.centroids[[4, 1]])
    assert people.only(np.array([], dtype=np.int64)).n_people == 0


def test_the_snapshot_is_what_the_real_gallery_would_hand_out() -> None:
    people = make_enrolment(n_people=4)[0].people
    ours, real = people.snapshot("test-net/1"), people.index("test-net/1").snapshot()
    assert (ours.model, ours.person_ids) == (real.model, real.person_ids)
    np.testing.assert_array_equal(ours.template_ids, real.template_ids)
    np.testing.assert_array_equal(ours.person_rows, real.person_rows)
    np.testing.assert_array_equal(ours.embeddings, real.embeddings)

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pytest
from numpy.typing import NDArray

from ml import evidence as evidence_module
from ml.evidence import GalleryEvidence, search_gallery
from ml.gallery import Gallery, GallerySnapshot
from ml.scoring import rank_candidates
from ml.types import Candidate, FloatArray, ScoreRule
from tests.ml.factories import MODEL, make_embeddings, make_near

DIM = 16
RULE = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)
RULES = [RULE, ScoreRule(0.0, 0.0, -1.0), ScoreRule(1.0, 0.5, -1.0)]


@dataclass(frozen=True, eq=False)
class Enrolled:
    """A gallery and which enrolment each of its templates comes from, in the snapshot's order."""

    snapshot: GallerySnapshot
    enrolments: NDArray[np.int64]


def make_enrolled(*, enrolment_sizes: Sequence[Sequence[int]], cosine: float = 0.8, seed: int = 0) -> Enrolled:
    """For each person how many templates each of their enrolments has; template ids are dealt out in any order."""
    owners = [(p, e) for p, sizes in enumerate(enrolment_sizes) for e, size in enumerate(sizes) for _ in range(size)]
    middles = make_embeddings(n=max(1, len(enrolment_sizes)), dim=DIM, seed=seed)
    vectors = [make_near(embedding=middles[p], cosine=cosine, seed=5000 + row) for row, (p, _) in enumerate(owners)]
    ids = np.random.default_rng(seed).permutation(len(owners)) * 3 + 7
    gallery = Gallery(model=MODEL, dim=DIM)
    if owners:
        gallery.add(ids.tolist(), [f"p{p}" for p, _ in owners], np.array(vectors), MODEL)
    numbers = {pair: number for number, pair in enumerate(dict.fromkeys(owners))}
    enrolments = np.array([numbers[owners[row]] for row in np.argsort(ids)], dtype=np.int64)
    return Enrolled(gallery.snapshot(), enrolments)


def search_among(
    enrolled: Enrolled, rows: NDArray[np.int64], probe: FloatArray, rule: ScoreRule = RULE
) -> tuple[Candidate, ...]:
    """What the service answers when only the templates in `rows` are enrolled."""
    snapshot = enrolled.snapshot
    gallery = Gallery(model=MODEL, dim=DIM)
    people = [snapshot.person_ids[row] for row in snapshot.person_rows[rows]]
    gallery.add(snapshot.template_ids[rows].tolist(), people, snapshot.embeddings[rows], MODEL)
    n_people = len(snapshot.person_ids)
    return rank_candidates(gallery.search(probe[None], n_people)[0], rule, n_people)


def rows_left(enrolled: Enrolled, row: int) -> NDArray[np.int64]:
    """Rows of the same person that a template is compared with."""
    mine = np.flatnonzero(enrolled.snapshot.person_rows == enrolled.snapshot.person_rows[row])
    elsewhere = mine[enrolled.enrolments[mine] != enrolled.enrolments[row]]
    return elsewhere if len(elsewhere) else mine[mine != row]


def assert_same(a: GalleryEvidence, b: GalleryEvidence) -> None:
    for field in fields(GalleryEvidence):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), field.name)


@pytest.fixture(scope="module")
def mixed() -> Enrolled:
    """People with one template, with one enrolment of several, and with several enrolments; some hard to tell apart."""
    sizes = [[1], [3], [2, 1], [1, 1, 1], [4, 2], [1], [2], [3, 3], [1, 1], [2]]
    return make_enrolled(enrolment_sizes=sizes, cosine=0.6)


@pytest.mark.parametrize("rule", RULES)
def test_a_template_scores_as_a_stranger_what_the_service_gives_it_without_its_person(
    mixed: Enrolled, rule: ScoreRule
) -> None:
    found = search_gallery(mixed.snapshot, mixed.enrolments, rule)
    assert found.template_ids.tolist() == mixed.snapshot.template_ids.tolist()
    assert found.is_non_mated.all()
    for row, probe in enumerate(mixed.snapshot.embeddings):
        others = np.flatnonzero(mixed.snapshot.person_rows != found.person_rows[row])
        best = search_among(mixed, others, probe, rule)[0]
        assert found.person_ids[found.rival_rows[row]] == best.person_id
        assert found.non_mated[row] == pytest.approx(best.score, abs=1e-5)


def test_a_template_scores_for_its_person_what_the_service_gives_it_without_its_enrolment(mixed: Enrolled) -> None:
    found = search_gallery(mixed.snapshot, mixed.enrolments, RULE)
    for row, probe in enumerate(mixed.snapshot.embeddings):
        left = rows_left(mixed, row)
        assert found.n_left[row] == len(left)
        assert found.is_mated[row] == (len(left) > 0)
        if len(left):
            others = np.flatnonzero(mixed.snapshot.person_rows != found.person_rows[row])
            ranked = search_among(mixed, np.r_[others, left], probe)
            own = next(c for c in ranked if c.person_id == found.person_ids[found.person_rows[row]])
            assert found.mated[row] == pytest.approx(own.score, abs=1e-5)
            assert found.is_rank1[row] == (own.rank == 1)
            if own.rank <= 2:
                rival = next(c for c in ranked if c.person_id != own.person_id)
                assert found.lead[row] == pytest.approx(own.score - rival.score, abs=1e-5)
        else:
            assert np.isnan(found.lead[row])
    assert 0 < found.is_rank1[found.is_mated].mean() < 1  # hard enough to see both


def test_frames_of_one_clip_do_not_vouch_for_each_other_where_there_is_another_enrolment() -> None:
    """Frames that are the same picture: together they would be a perfect match, the photo from elsewhere is not."""
    middle = make_embeddings(n=2, dim=DIM)
    photo = make_near(embedding=middle[0], cosine=0.6, seed=5)
    vectors = np.array([middle[0], middle[0], middle[0], photo, middle[1]])
    gallery = Gallery(model=MODEL, dim=DIM)
    gallery.add([0, 1, 2, 3, 4], ["a", "a", "a", "a", "b"], vectors, MODEL)
    rule = ScoreRule(2 / 3, 0.0, -1.0)  # the score is the cosine
    across = search_gallery(gallery.snapshot(), np.array([1, 1, 1, 2, 3]), rule)
    assert across.mated[:4].tolist() == pytest.approx([0.6] * 4, abs=1e-5)
    assert across.n_left.tolist() == [1, 1, 1, 3, 0]
    alone = search_gallery(gallery.snapshot(), np.array([1, 1, 1, 1, 3]), rule)
    assert alone.mated[:3].min() > 0.9
    assert alone.n_left.tolist() == [3, 3, 3, 3, 0]


def test_of_somebody_who_has_one_clip_and_nothing_else_no_search_is_mated() -> None:
    """Person 0 has one clip, 1 photos of one call, 2 two clips, 3 a clip and a photo."""
    enrolled = make_enrolled(enrolment_sizes=[[3], [3], [2, 2], [3, 1]])
    sizes = {number: int((enrolled.enrolments == number).sum()) for number in set(enrolled.enrolments.tolist())}
    photos_of = {row for row, person in enumerate(enrolled.snapshot.person_rows) if is_person(enrolled, person, "p1")}
    is_clip = np.array(
        [row not in photos_of and sizes[int(number)] > 1 for row, number in enumerate(enrolled.enrolments)]
    )
    assert is_clip.sum() == 3 + 4 + 3
    found = search_gallery(enrolled.snapshot, enrolled.enrolments, RULE, is_clip=is_clip)
    plain = search_gallery(enrolled.snapshot, enrolled.enrolments, RULE)
    is_alone = np.array([is_person(enrolled, person, "p0") for person in found.person_rows])
    assert found.is_mated.tolist() == (~is_alone).tolist()
    np.testing.assert_array_equal(found.mated[~is_alone], plain.mated[~is_alone])
    np.testing.assert_array_equal(found.lead, plain.lead)  # a wrong frame among them can still be found
    np.testing.assert_array_equal(found.non_mated, plain.non_mated)


def is_person(enrolled: Enrolled, row: int, person_id: str) -> bool:
    return enrolled.snapshot.person_ids[row] == person_id


def test_an_enrolment_number_means_nothing_beyond_its_person() -> None:
    a = make_enrolled(enrolment_sizes=[[2, 1], [2], [1, 1]])
    one_per_person = Enrolled(a.snapshot, a.snapshot.person_rows)
    same_everywhere = Enrolled(a.snapshot, np.zeros_like(a.enrolments))
    assert_same(
        search_gallery(one_per_person.snapshot, one_per_person.enrolments, RULE),
        search_gallery(same_everywhere.snapshot, same_everywhere.enrolments, RULE),
    )


def test_an_empty_gallery_gives_no_evidence() -> None:
    empty = make_enrolled(enrolment_sizes=[])
    found = search_gallery(empty.snapshot, empty.enrolments, RULE)
    assert found.person_ids == ()
    assert all(len(getattr(found, field.name)) == 0 for field in fields(GalleryEvidence))


def test_one_person_is_no_stranger_to_anybody() -> None:
    alone = make_enrolled(enrolment_sizes=[[3]])
    found = search_gallery(alone.snapshot, alone.enrolments, RULE)
    assert not found.is_non_mated.any()
    assert found.rival_rows.tolist() == [-1] * 3
    assert found.is_mated.all() and found.is_rank1.all()
    assert (found.lead == np.inf).all()
    own = [search_among(alone, rows_left(alone, row), alone.snapshot.embeddings[row])[0].score for row in range(3)]
    assert found.mated.tolist() == pytest.approx(own, abs=1e-5)


def test_one_person_with_one_template_says_nothing() -> None:
    alone = make_enrolled(enrolment_sizes=[[1]])
    found = search_gallery(alone.snapshot, alone.enrolments, RULE)
    assert not found.is_mated.any() and not found.is_non_mated.any() and not found.is_rank1.any()


def test_of_two_people_each_is_set_against_the_floor_as_the_only_one_enrolled() -> None:
    two = make_enrolled(enrolment_sizes=[[2], [1]])
    found = search_gallery(two.snapshot, two.enrolments, RULE)
    for row, probe in enumerate(two.snapshot.embeddings):
        others = np.flatnonzero(two.snapshot.person_rows != found.person_rows[row])
        assert found.non_mated[row] == pytest.approx(search_among(two, others, probe)[0].score, abs=1e-5)
    assert found.is_mated.tolist() == [p == found.person_ids.index("p0") for p in found.person_rows]


def test_people_with_one_template_each_are_strangers_but_never_mated() -> None:
    singles = make_enrolled(enrolment_sizes=[[1]] * 5)
    found = search_gallery(singles.snapshot, singles.enrolments, RULE)
    assert found.is_non_mated.all() and not found.is_mated.any()
    assert np.isfinite(found.non_mated).all()


def test_a_large_gallery_is_sampled_the_same_way_every_time(mixed: Enrolled, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = search_gallery(mixed.snapshot, mixed.enrolments, RULE)
    monkeypatch.setattr(evidence_module, "MAX_SEARCHES", 11)
    found = search_gallery(mixed.snapshot, mixed.enrolments, RULE, seed=1)
    assert len(found.template_ids) == 11
    assert found.person_ids == everything.person_ids  # everybody is still searched in
    assert (np.diff(found.template_ids) > 0).all()
    rows = np.searchsorted(everything.template_ids, found.template_ids)
    np.testing.assert_array_equal(found.rival_rows, everything.rival_rows[rows])
    np.testing.assert_array_equal(found.person_rows, everything.person_rows[rows])
    np.testing.assert_allclose(found.non_mated, everything.non_mated[rows], atol=1e-6)
    np.testing.assert_allclose(found.mated, everything.mated[rows], atol=1e-6)
    assert_same(found, search_gallery(mixed.snapshot, mixed.enrolments, RULE, seed=1))
    other = search_gallery(mixed.snapshot, mixed.enrolments, RULE, seed=2)
    assert other.template_ids.tolist() != found.template_ids.tolist()


@pytest.mark.parametrize("most", [1, 8, 9, 20])
def test_everybody_is_searched_at_least_once_in_a_gallery_of_any_size(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = make_enrolled(enrolment_sizes=[[40], *[[1]] * 5, [2, 3], [7]])
    monkeypatch.setattr(evidence_module, "MAX_SEARCHES", most)
    for seed in range(20):
        found = search_gallery(large.snapshot, large.enrolments, RULE, seed=seed)
        assert set(found.person_rows) == set(range(8))
        assert len(set(found.template_ids)) == len(found.template_ids) == max(8, most)


@pytest.mark.parametrize("block_values", [1, 60, 100])
def test_searching_block_by_block_changes_nothing(
    mixed: Enrolled, block_values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = search_gallery(mixed.snapshot, mixed.enrolments, RULE)
    monkeypatch.setattr(evidence_module, "_BLOCK_VALUES", block_values)  # of 29 templates: one to three rows at a time
    in_blocks = search_gallery(mixed.snapshot, mixed.enrolments, RULE)
    np.testing.assert_array_equal(in_blocks.rival_rows, at_once.rival_rows)
    np.testing.assert_array_equal(in_blocks.is_rank1, at_once.is_rank1)
    np.testing.assert_allclose(in_blocks.non_mated, at_once.non_mated, atol=1e-6)
    np.testing.assert_allclose(in_blocks.mated, at_once.mated, atol=1e-6)


def test_a_removed_person_is_in_no_evidence() -> None:
    gallery = Gallery(model=MODEL, dim=DIM)
    gallery.add(list(range(6)), ["a", "a", "b", "b", "c", "c"], make_embeddings(n=6, dim=DIM), MODEL)
    gallery.remove([2, 3])
    snapshot = gallery.snapshot()
    found = search_gallery(snapshot, snapshot.person_rows, RULE)
    assert found.person_ids == ("a", "c")
    assert found.template_ids.tolist() == [0, 1, 4, 5]
    assert found.rival_rows.tolist() == [1, 1, 0, 0]

import numpy as np
import pytest

from ml.calibration import Calibration, gather
from ml.evaluation.enrolment import NOBODY
from ml.evaluation.sizes import (
    Calibrator,
    Promise,
    calibrated,
    calibration_rows,
    card_alone,
    draw_galleries,
    size_rows,
)
from ml.evaluation.variants import TARGET_FPIRS, Searches
from ml.evidence import search_gallery
from ml.gallery import GallerySnapshot
from ml.metrics import fpir
from ml.priors import assumed_prior
from ml.types import Interval, ScoreRule
from tests.ml.evaluation.crowd import make_searches

RULE = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)
PRIOR = assumed_prior(middle=0.3, spread=0.1, mated_middle=0.6)


@pytest.fixture(scope="module")
def searches() -> Searches:
    return make_searches()[0]


def test_galleries_of_every_size_up_to_everybody_are_drawn(searches: Searches) -> None:
    drawn = draw_galleries(searches, np.arange(12), RULE, seed=0)
    assert list(drawn) == [1, 3, 10, 12]
    assert [len(galleries) for galleries in drawn.values()] == [100, 100, 100, 1]
    for size, galleries in drawn.items():
        assert all(gallery.gallery.n_people == size for gallery in galleries)
        assert all(len(gallery.people) == 2 * size for gallery in galleries)  # two photos of each


def test_the_same_seed_draws_the_same(searches: Searches) -> None:
    a, b, c = (draw_galleries(searches, np.arange(12), RULE, seed=seed) for seed in (1, 1, 2))
    assert [g.people.tolist() for g in a[3]] == [g.people.tolist() for g in b[3]]
    assert [g.people.tolist() for g in a[3]] != [g.people.tolist() for g in c[3]]


def test_everybody_together_is_the_whole_gallery(searches: Searches) -> None:
    [whole] = draw_galleries(searches, np.arange(12), RULE, seed=0)[12]
    np.testing.assert_array_equal(whole.gallery.embeddings, searches.gallery.embeddings)
    assert whole.mated.is_found.mean() > 0.8


def test_people_who_could_not_be_enrolled_take_a_place_and_are_missed() -> None:
    searches, _ = make_searches(n_people=4)
    failed = Searches(searches.gallery.only(np.array([0, 1, 3])), searches.mated, searches.strangers)
    known_rows = np.array([0, 1, NOBODY, 2])
    drawn = draw_galleries(failed, known_rows, RULE, seed=0)
    [everybody] = drawn[4]
    assert everybody.gallery.n_people == 3
    assert not everybody.mated.is_found[everybody.people == 2].any()
    assert everybody.mated.is_found[everybody.people == 3].any()
    empty = [gallery for gallery in drawn[1] if gallery.people[0] == 2]
    assert empty and not np.isfinite(empty[0].stranger_scores).any()


def test_a_row_per_size_and_target_with_what_the_prior_would_do(searches: Searches) -> None:
    drawn = draw_galleries(searches, np.arange(12), RULE, seed=0)
    rows = size_rows(drawn, PRIOR)
    assert [(row.n_people, row.target_fpir) for row in rows] == [(n, t) for n in drawn for t in TARGET_FPIRS]
    for row in rows:
        strangers = np.concatenate([gallery.stranger_scores for gallery in drawn[row.n_people]])
        assert fpir(strangers, row.threshold) <= row.target_fpir
        assert row.prior_threshold == PRIOR.threshold(row.target_fpir, row.n_people)
        assert row.prior_fpir == fpir(strangers, row.prior_threshold)
        assert 0.0 <= row.prior_fnir <= 1.0


def test_promises_are_held_against_what_is_shown(searches: Searches) -> None:
    drawn = draw_galleries(searches, np.arange(12), RULE, seed=0)
    asked: list[tuple[int, str]] = []

    def lets_everybody_through(gallery: GallerySnapshot) -> object:
        asked.append((len(gallery.person_ids), gallery.model))
        return lambda target: Promise(-1.0, 0.25, Interval(target, 0.0, 0.5), Interval(0.25, 0.0, 0.3))

    calibrators: dict[str, Calibrator] = {"card": card_alone(PRIOR), "open door": lets_everybody_through}  # type: ignore[dict-item]
    rows = calibration_rows(drawn, calibrators, "net/1")
    assert [(row.n_people, row.calibration) for row in rows[:8]] == [(1, "card")] * 4 + [(1, "open door")] * 4
    assert asked[0] == (1, "net/1") and {size for size, _ in asked} == set(drawn)
    for row in rows:
        assert row.least_fpir <= row.shown_fpir <= row.most_fpir
        if row.calibration == "card":
            assert row.threshold == pytest.approx(PRIOR.threshold(row.target_fpir, row.n_people))
            assert row.kept_share is None and row.fnir_kept_share is None  # it promises no intervals
        else:
            assert (row.shown_fpir, row.kept_share, row.expected_fnir) == (1.0, 0.0, 0.25)
            missed = [1 - gallery.mated.is_found.mean() for gallery in drawn[row.n_people]]
            assert row.fnir_kept_share == pytest.approx(np.mean([rate <= 0.3 for rate in missed]))


def test_the_gallerys_own_calibration_is_the_services(searches: Searches) -> None:
    """One enrolment per person, and the same point that the service would store."""
    snapshot = searches.gallery.snapshot("net/1")
    promise = calibrated(PRIOR, RULE)(snapshot)
    evidence = gather(search_gallery(snapshot, snapshot.person_rows, RULE), len(snapshot.template_ids), PRIOR)
    for target in TARGET_FPIRS:
        point, promised = Calibration(evidence, PRIOR).operating_point(target, "net/1"), promise(target)
        assert promised.threshold == point.threshold
        assert promised.fpir_interval == point.expected_fpir
        assert (promised.fnir_interval, promised.fnir) == (point.expected_fnir, point.expected_fnir.value)


def test_a_gallery_of_any_size_can_be_calibrated(searches: Searches) -> None:
    drawn = draw_galleries(searches, np.arange(12), RULE, seed=0)
    rows = calibration_rows(drawn, {"own": calibrated(PRIOR, RULE)}, "net/1")
    assert [(row.n_people, row.n_galleries) for row in rows[::4]] == [(1, 100), (3, 100), (10, 100), (12, 1)]
    for row in rows:
        assert row.kept_share is not None and row.fnir_kept_share is not None


def test_galleries_without_a_mated_search_have_no_rows() -> None:
    searches, _ = make_searches(n_people=2)
    nobody = searches.mated.only(np.zeros(4, bool), np.array([], dtype=np.int64))
    drawn = draw_galleries(Searches(searches.gallery, nobody, searches.strangers), np.arange(2), RULE, seed=0)
    assert size_rows(drawn, PRIOR) == []
    assert calibration_rows(drawn, {"card": card_alone(PRIOR)}, "net/1") == []

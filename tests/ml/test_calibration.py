from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from ml.calibration import NO_CONFIRMED, Calibration, ConfirmedSearches, Curves, gather, odds
from ml.evidence import GalleryEvidence, search_gallery
from ml.gallery import Gallery
from ml.priors import DLIB_RESNET_PRIOR, ScorePrior, assumed_prior
from ml.types import Interval, ScoreRule
from tests.ml.factories import MODEL, make_embeddings, make_near

MIDDLE, SPREAD, MATED_MIDDLE = 0.1, 0.06, 0.5
ASSUMED = assumed_prior(middle=MIDDLE, spread=SPREAD, mated_middle=MATED_MIDDLE)
MEASURED = replace(ASSUMED, n_people=500, source="500 people")
TARGETS = (0.05, 0.01, 0.003, 0.001)
SEEDS = range(20)


def make_found(
    *,
    n_people: int,
    per_person: int = 3,
    middle: float = MIDDLE,
    spread: float = SPREAD,
    mated_middle: float = MATED_MIDDLE,
    seed: int = 0,
) -> GalleryEvidence:
    """Scores drawn from normal laws; half of the variance between strangers is the person's, half the photo's."""
    generator = np.random.default_rng(seed)
    rows = np.repeat(np.arange(n_people), per_person)
    noise = generator.normal(size=(2, len(rows)))
    typical = generator.normal(size=n_people)[rows]
    mated = mated_middle + SPREAD * noise[1] if per_person > 1 else np.full(len(rows), np.nan)
    return GalleryEvidence(
        person_ids=tuple(f"p{i}" for i in range(n_people)),
        template_ids=np.arange(len(rows)),
        person_rows=rows,
        non_mated=(middle + spread * (typical + noise[0]) / np.sqrt(2)).astype(np.float32),
        rival_rows=(rows + 1) % n_people if n_people > 1 else np.full(len(rows), -1),
        mated=mated.astype(np.float32),
        lead=np.full(len(rows), 0.3, dtype=np.float32),
        n_left=np.full(len(rows), per_person - 1),
    )


def make_calibration(
    found: GalleryEvidence, prior: ScorePrior = MEASURED, confirmed: ConfirmedSearches = NO_CONFIRMED
) -> Calibration:
    return Calibration(gather(found, len(found.template_ids), prior, confirmed), prior)


def share_reaching(threshold: float, *, middle: float = MIDDLE, spread: float = SPREAD) -> float:
    """The true share of strangers that reach a threshold."""
    return float(norm.sf(threshold, middle, spread))


def is_within(rate: float, interval: Interval) -> bool:
    return interval.low <= rate <= interval.high


def kept_share(prior: ScorePrior, target: float, *, n_people: int, middle: float) -> float:
    """Share of galleries whose promise holds within its own interval."""
    kept = []
    for seed in SEEDS:
        calibration = make_calibration(make_found(n_people=n_people, middle=middle, seed=seed), prior)
        threshold = calibration.threshold(target)
        kept.append(is_within(share_reaching(threshold, middle=middle), calibration.fpir(threshold)))
    return float(np.mean(kept))


def with_twins(found: GalleryEvidence, rows: Sequence[int], score: float = 0.6) -> GalleryEvidence:
    """The same gallery, in which all templates of two people score high for the other."""
    non_mated, rivals = found.non_mated.copy(), found.rival_rows.copy()
    for row, other in zip(rows, reversed(rows), strict=True):
        non_mated[found.person_rows == row], rivals[found.person_rows == row] = score, other
    return replace(found, non_mated=non_mated, rival_rows=rivals)


# The threshold


@pytest.mark.parametrize("n_people", [0, 1, 2, 3, 20, 150])
@pytest.mark.parametrize("prior", [ASSUMED, MEASURED])
def test_a_laxer_target_has_a_lower_threshold_and_misses_fewer(n_people: int, prior: ScorePrior) -> None:
    calibration = make_calibration(make_found(n_people=n_people), prior)
    points = [calibration.operating_point(target, MODEL) for target in (0.2, *TARGETS)]
    assert (np.diff([point.threshold for point in points]) > 0).all()
    assert (np.diff([point.expected_fnir.value for point in points]) >= 0).all()


@pytest.mark.parametrize("n_people", [0, 2, 60])
def test_the_promised_rate_is_the_target(n_people: int) -> None:
    calibration = make_calibration(make_found(n_people=n_people))
    for target in TARGETS:
        point = calibration.operating_point(target, MODEL)
        assert point.target_fpir == target
        assert point.expected_fpir.value == pytest.approx(target, rel=1e-6)


@pytest.mark.parametrize("n_people", [0, 1])
def test_without_strangers_of_its_own_a_gallery_has_the_figures_of_the_card(n_people: int) -> None:
    calibration = make_calibration(make_found(n_people=n_people))
    for target in (0.2, 0.05, 0.01, 0.003):
        assert calibration.threshold(target) == pytest.approx(MEASURED.threshold(target, n_people), abs=0.15 * SPREAD)
    point = calibration.operating_point(0.01, MODEL)
    assert point.method == "model card"
    assert point.evidence.n_non_mated == 0
    words = "nobody is enrolled" if n_people == 0 else "one person is enrolled"
    assert words in point.evidence.source and "figures are the card's" in point.evidence.source


def test_the_first_people_hardly_move_a_measured_card_and_many_take_it_over() -> None:
    card = MEASURED.threshold(0.01, 1)
    few, many = (make_calibration(make_found(n_people=n, middle=MIDDLE + 0.03)).threshold(0.01) for n in (4, 1500))
    assert few == pytest.approx(card, abs=0.01)
    assert share_reaching(many, middle=MIDDLE + 0.03) == pytest.approx(0.01, rel=0.3)


def test_a_person_counts_once_however_many_templates_they_have() -> None:
    """Somebody in whom the network sees everybody, with one template and with sixty."""
    found = make_found(n_people=20, per_person=1)
    odd = replace(found, non_mated=np.where(found.person_rows == 0, 0.24, found.non_mated).astype(np.float32))
    rows = np.r_[np.zeros(59, np.int64), np.arange(20)]
    fields = ("person_rows", "non_mated", "rival_rows", "mated", "lead", "n_left")
    repeated = replace(odd, template_ids=np.arange(79), **{name: getattr(odd, name)[rows] for name in fields})
    once, often = (make_calibration(each, ASSUMED).threshold(0.05) for each in (odd, repeated))
    assert often == pytest.approx(once, abs=0.003)


def test_an_operating_point_tells_what_it_was_made_from() -> None:
    point = make_calibration(make_found(n_people=12)).operating_point(0.01, MODEL)
    assert (point.model, point.n_people, point.n_templates) == (MODEL, 12, 36)
    assert (point.evidence.n_mated, point.evidence.n_non_mated) == (36, 36)
    assert "500 people" in point.evidence.source
    assert "36 searches of this gallery by 12 of its own people" in point.evidence.source


# The promise


@pytest.mark.parametrize("target", [0.05, 0.01, 0.003])
@pytest.mark.parametrize("n_people", [2, 3, 10, 60, 200])
def test_a_promise_holds_within_its_interval_where_the_card_is_right(n_people: int, target: float) -> None:
    for prior in (MEASURED, ASSUMED):
        assert kept_share(prior, target, n_people=n_people, middle=MIDDLE) >= 0.9


@pytest.mark.parametrize("target", [0.05, 0.01, 0.003])
@pytest.mark.parametrize("off_by", [-4, -2, 2, 4])
def test_a_promise_holds_within_its_interval_where_the_gallery_contradicts_the_card(off_by: int, target: float) -> None:
    """Other cameras, or a card that was only assumed: strangers score quite differently here."""
    for prior in (MEASURED, ASSUMED):
        assert kept_share(prior, target, n_people=100, middle=MIDDLE + off_by * SPREAD) >= 0.9


@pytest.mark.parametrize("off_by", [2, 4, 8])
def test_ten_people_are_enough_to_see_that_strangers_score_higher_than_the_card_says(off_by: int) -> None:
    middle = MIDDLE + off_by * SPREAD
    assert kept_share(MEASURED, 0.01, n_people=10, middle=middle) >= 0.9
    calibration = make_calibration(make_found(n_people=10, middle=middle))
    assert calibration.is_prior_contradicted
    assert share_reaching(calibration.threshold(0.01), middle=middle) < 0.05
    assert "does not describe this gallery" in calibration.operating_point(0.01, MODEL).evidence.source


def test_a_gallery_as_the_card_expects_does_not_contradict_it() -> None:
    for n_people in (2, 3, 10, 60, 300):
        contradicted = [make_calibration(make_found(n_people=n_people, seed=s)).is_prior_contradicted for s in SEEDS]
        assert sum(contradicted) <= 1, n_people


@pytest.mark.parametrize(("n_people", "n_pairs"), [(2, 1), (3, 1), (4, 1), (10, 2)])
def test_pairs_who_happen_to_look_alike_do_not_contradict_a_card(n_people: int, n_pairs: int) -> None:
    """Each pair is one coincidence and not two: both people are each other's rival."""
    found = make_found(n_people=n_people, middle=MIDDLE - SPREAD)
    for pair in range(n_pairs):
        found = with_twins(found, (2 * pair, 2 * pair + 1), score=MEASURED.threshold(0.05, n_people))
    assert not make_calibration(found).is_prior_contradicted


def test_strangers_drawn_from_the_same_people_keep_to_the_promise_in_a_real_search() -> None:
    """Random vectors through the real gallery; the card is assumed and quite wrong about them."""
    rule = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)
    middles = make_embeddings(n=120, dim=32, seed=1)
    vectors = np.array(
        [make_near(embedding=m, cosine=0.9, seed=100 + 3 * i + j) for i, m in enumerate(middles) for j in range(3)]
    )
    gallery = Gallery(model=MODEL, dim=32)
    gallery.add(list(range(360)), [f"p{i // 3:03}" for i in range(360)], vectors, MODEL)
    snapshot = gallery.snapshot()
    calibration = make_calibration(search_gallery(snapshot, snapshot.person_rows, rule), ASSUMED)
    strangers = make_embeddings(n=20_000, dim=32, seed=2)
    scores = np.sort(_person_scores(strangers, vectors, rule), axis=1)
    decided = scores[:, -1] - rule.runner_up_weight * np.maximum(scores[:, -2], rule.runner_up_floor)
    for target in (0.05, 0.01, 0.003):
        threshold = calibration.threshold(target)
        shown = float((decided >= threshold).mean())
        assert is_within(shown, calibration.fpir(threshold)), target
        assert target / 2 < shown < 2 * target


def _person_scores(probes: np.ndarray, vectors: np.ndarray, rule: ScoreRule) -> np.ndarray:
    centroids = vectors.reshape(-1, 3, vectors.shape[1]).mean(axis=1)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    nearest = (probes @ vectors.T).reshape(len(probes), -1, 3).max(axis=2)
    return rule.centroid_weight * (probes @ centroids.T) + (1 - rule.centroid_weight) * nearest


# Intervals


@pytest.mark.parametrize("n_people", [0, 1, 3, 50])
def test_intervals_contain_their_value(n_people: int) -> None:
    calibration = make_calibration(make_found(n_people=n_people))
    for threshold in np.linspace(-0.5, 1.0, 61):
        for interval in (calibration.fpir(threshold), calibration.fnir(threshold)):
            assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0


def test_intervals_get_narrower_with_more_people() -> None:
    calibrations = [make_calibration(make_found(n_people=n)) for n in (1, 10, 100, 1000)]
    for target in (0.05, 0.01):
        factors = [c.fpir(c.threshold(target)).high / target for c in calibrations]
        assert factors == sorted(factors, reverse=True) and factors[0] > 1.5 * factors[-1]
    widths = [interval.high - interval.low for interval in (c.fnir(0.42) for c in calibrations)]
    assert widths == sorted(widths, reverse=True)


def test_a_card_that_was_assumed_is_less_sure_of_its_promise_than_one_that_was_measured() -> None:
    measured, assumed = (make_calibration(make_found(n_people=3), prior) for prior in (MEASURED, ASSUMED))
    for target in (0.05, 0.01):
        sure, unsure = (c.fpir(c.threshold(target)) for c in (measured, assumed))
        assert unsure.low < sure.low or unsure.low == 0.0
        assert unsure.high > 1.5 * sure.high
    assert assumed.fnir(0.4).high > measured.fnir(0.4).high


def test_where_less_than_one_stranger_is_expected_there_may_be_none() -> None:
    calibration = make_calibration(make_found(n_people=3))
    interval = calibration.fpir(calibration.threshold(0.001))
    assert interval.low == 0.0 and interval.high > 0.005


def test_nobody_passes_a_threshold_beyond_everything_but_the_interval_does_not_swear_it() -> None:
    interval = make_calibration(make_found(n_people=3)).fpir(5.0)
    assert interval.value == interval.low == 0.0
    assert 0.0 < interval.high < 0.1


# Misses


def test_the_expected_fnir_is_that_of_the_people_who_are_searched() -> None:
    calibration = make_calibration(make_found(n_people=400, per_person=8))
    for threshold in (0.40, 0.45, 0.50):
        missed = float(norm.cdf(threshold, MATED_MIDDLE, SPREAD))
        assert is_within(missed, calibration.fnir(threshold))
        # Leaving one template of eight out costs less than it seems, so a miss counts 7/8.
        assert calibration.fnir(threshold).value == pytest.approx(7 / 8 * missed, rel=0.15)


def test_people_with_one_template_say_nothing_of_fnir() -> None:
    calibration = make_calibration(make_found(n_people=5, per_person=1))
    assert calibration.fnir(0.4).value == pytest.approx(MEASURED.fnir(0.4, 5))


def test_somebody_who_is_not_rank_1_is_missed_at_every_threshold() -> None:
    found = make_found(n_people=200)
    behind = replace(found, lead=np.where(found.person_rows < 100, -0.1, 0.1).astype(np.float32))
    assert make_calibration(behind).fnir(-1.0).value > 0.25
    assert make_calibration(found).fnir(-1.0).value < 0.01


@pytest.mark.parametrize(("score", "is_better"), [(0.6, True), (0.2, False), (-np.inf, False)])
def test_confirmed_searches_move_the_expected_fnir(score: float, is_better: bool) -> None:
    found = make_found(n_people=20)
    people = tuple(f"p{i}" for i in range(20)) * 5
    confirmed = ConfirmedSearches(people, np.full(100, score, dtype=np.float32))
    before, after = make_calibration(found), make_calibration(found, confirmed=confirmed)
    assert (after.fnir(0.45).value < before.fnir(0.45).value) == is_better
    assert after.threshold(0.01) == before.threshold(0.01)  # they are nobody's stranger
    assert after.operating_point(0.01, MODEL).evidence.n_mated == 60 + 100


def test_confirmed_searches_of_people_who_left_are_passed_over() -> None:
    found = make_found(n_people=5)
    confirmed = ConfirmedSearches(("gone", "p1", "gone"), np.array([0.1, 0.6, 0.1], dtype=np.float32))
    evidence = gather(found, 15, MEASURED, confirmed)
    assert evidence.mated[15:].tolist() == pytest.approx([0.6])
    assert evidence.mated_people[15:].tolist() == [1]
    assert evidence.mated_weights[15:].tolist() == [1.0]
    nobody = gather(make_found(n_people=0), 0, MEASURED, confirmed)
    assert len(nobody.mated) == 0


def test_a_miss_counts_less_the_fewer_templates_were_left_and_fully_when_confirmed() -> None:
    found = make_found(n_people=3, per_person=2)
    assert gather(found, 6, MEASURED).mated_weights.tolist() == [0.5] * 6


# Twins


@pytest.mark.parametrize("n_people", [2, 3, 5, 30, 200])
def test_twins_do_not_push_the_threshold_up_and_are_told(n_people: int) -> None:
    found = make_found(n_people=n_people)
    calibration = make_calibration(with_twins(found, (0, 1)))
    plain = make_calibration(found)
    assert calibration.threshold(0.01) == pytest.approx(plain.threshold(0.01), abs=0.005)
    assert not calibration.is_prior_contradicted
    source = calibration.operating_point(0.01, MODEL).evidence.source
    assert "twins" in source and source.split("twins")[1].split(";")[0].endswith(": 2")
    assert "twins" not in plain.operating_point(0.01, MODEL).evidence.source


def test_twins_are_found_in_a_real_gallery_and_missed_themselves() -> None:
    """Two people with nearly the same templates: neither can be told from the other."""
    middles = make_embeddings(n=20, dim=32, seed=3)
    middles[1] = middles[0]
    vectors = np.array(
        [make_near(embedding=m, cosine=0.97, seed=500 + 3 * i + j) for i, m in enumerate(middles) for j in range(3)]
    )
    gallery = Gallery(model=MODEL, dim=32)
    gallery.add(list(range(60)), [f"p{i // 3:02}" for i in range(60)], vectors, MODEL)
    rule = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)
    snapshot = gallery.snapshot()
    prior = assumed_prior(middle=0.2, spread=0.06, mated_middle=0.7)
    evidence = gather(search_gallery(snapshot, snapshot.person_rows, rule), 60, prior)
    assert evidence.twins == ("p00", "p01")
    assert len(evidence.non_mated) == 54 and len(evidence.mated) == 60
    missed = evidence.mated < Calibration(evidence, prior).threshold(0.01)
    assert missed[evidence.mated_people <= 1].mean() > 0.5
    assert not missed[evidence.mated_people > 1].any()


def test_one_wrong_template_makes_no_twins() -> None:
    found = make_found(n_people=30)
    scores = found.non_mated.copy()
    scores[0] = 0.6
    evidence = gather(replace(found, non_mated=scores), 90, MEASURED)
    assert evidence.twins == () and len(evidence.non_mated) == 90


def test_a_card_that_expects_far_too_little_does_not_make_everybody_a_twin() -> None:
    found = make_found(n_people=12, middle=MIDDLE + 10 * SPREAD)
    assert gather(found, 36, MEASURED).twins == ()


# Curves, odds and points


@pytest.fixture(scope="module", params=[0, 1, 2, 40])
def calibration(request: pytest.FixtureRequest) -> Calibration:
    return make_calibration(make_found(n_people=request.param))


@pytest.fixture(scope="module")
def curves(calibration: Calibration) -> Curves:
    return calibration.curves()


def test_curves_fall_and_rise_along_the_threshold(curves: Curves) -> None:
    assert len(curves.thresholds) == len(curves.fpir) == len(curves.fnir)
    assert (np.diff(curves.thresholds) > 0).all()
    assert (np.diff(curves.fpir) <= 0).all() and (np.diff(curves.fnir) >= 0).all()
    assert curves.fpir[0] > 0.5 and curves.fpir[-1] < 1e-5


def test_curves_say_what_points_say(calibration: Calibration, curves: Curves) -> None:
    for i in (0, 40, 80, 160):
        point = calibration.point_at(curves.thresholds[i], MODEL)
        assert (point.expected_fpir.value, point.expected_fnir.value) == (curves.fpir[i], curves.fnir[i])


def test_histograms_hold_every_search_that_has_a_score() -> None:
    found = make_found(n_people=40)
    behind = replace(found, lead=np.where(found.person_rows == 0, -0.1, 0.1).astype(np.float32))
    curves = make_calibration(behind).curves()
    assert len(curves.bin_edges) == len(curves.mated_histogram) + 1 == len(curves.non_mated_histogram) + 1
    assert sum(curves.mated_histogram) == 117  # three were not rank 1
    assert sum(curves.non_mated_histogram) == 120


def test_odds_are_one_over_the_rate(calibration: Calibration, curves: Curves) -> None:
    for target in (0.5, *TARGETS):
        threshold = calibration.threshold(target)
        assert odds(threshold, curves) == pytest.approx(1 / calibration.fpir(threshold).value, rel=0.1)


def test_odds_never_fall_with_the_score_and_are_at_least_one(curves: Curves) -> None:
    read = [odds(score, curves) for score in np.linspace(-1.0, 2.0, 400)]
    assert min(read) >= 1.0 and (np.diff(read) >= 0).all()
    assert read[-1] >= 1e5 and np.isfinite(read).all()
    assert odds(-np.inf, curves) >= 1.0


def test_a_threshold_chosen_by_hand_promises_what_the_automatic_one_does(calibration: Calibration) -> None:
    automatic = calibration.operating_point(0.01, MODEL)
    by_hand = calibration.point_at(automatic.threshold, MODEL)
    assert by_hand.target_fpir is None
    assert replace(by_hand, target_fpir=0.01) == automatic


def test_the_real_card_gives_its_own_figures_to_an_empty_gallery() -> None:
    calibration = make_calibration(make_found(n_people=0), DLIB_RESNET_PRIOR)
    for target in (0.1, 0.05, 0.01, 0.003):
        expected = DLIB_RESNET_PRIOR.threshold(target, 0)
        assert calibration.threshold(target) == pytest.approx(expected, abs=0.003)

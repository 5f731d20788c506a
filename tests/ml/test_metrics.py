"""Rates on a table worked out by hand.

Six mated searches and five strangers; scores are steps of 0.1, and 0.5 occurs on both sides.

    mated      score   right person at rank 1
    a          0.9     yes
    b          0.7     yes
    c          0.5     yes
    d          0.6     no: somebody else
    e          0.2     yes
    f          no face found

    strangers  0.5  0.5  0.4  0.1  no face found

At a threshold of 0.5: a, b, c are identified (c exactly at the threshold), d is misidentified, e and f are missed;
two strangers are named.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.metrics import (
    NO_SCORE,
    ConfusionCounts,
    MetricsError,
    confusion_counts,
    det_curve,
    fnir,
    fnir_at_fpir,
    fnir_interval,
    fpir,
    fpir_interval,
    misidentification_interval,
    misidentification_rate,
    rank_k_rate,
    roc,
    threshold_at_fpir,
    wilson,
)
from ml.types import Interval

SCORES = [0.9, 0.7, 0.5, 0.6, 0.2, NO_SCORE]
IS_RANK1 = [True, True, True, False, True, False]
STRANGERS = [0.5, 0.5, 0.4, 0.1, NO_SCORE]
SOME_SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, NO_SCORE]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("threshold", "missed", "wrong", "named"),
    [
        (0.1, 2 / 6, 1 / 6, 4 / 5),
        (0.2, 2 / 6, 1 / 6, 3 / 5),  # e is exactly at the threshold, and found
        (0.5, 3 / 6, 1 / 6, 2 / 5),
        (0.500001, 4 / 6, 1 / 6, 0.0),
        (0.6, 4 / 6, 1 / 6, 0.0),
        (0.9, 5 / 6, 0.0, 0.0),
        (0.91, 1.0, 0.0, 0.0),
        (-5.0, 2 / 6, 1 / 6, 4 / 5),  # however low: a failure to acquire is never let through
    ],
)
def test_rates_follow_the_table(threshold: float, missed: float, wrong: float, named: float) -> None:
    assert fnir(SCORES, IS_RANK1, threshold) == pytest.approx(missed)
    assert misidentification_rate(SCORES, IS_RANK1, threshold) == pytest.approx(wrong)
    assert fpir(STRANGERS, threshold) == pytest.approx(named)


def test_a_failure_to_acquire_is_a_miss_and_a_stranger_rejected() -> None:
    assert fnir([NO_SCORE], [False], -1e9) == 1.0
    assert misidentification_rate([NO_SCORE], [False], -1e9) == 0.0
    assert fpir([NO_SCORE], -1e9) == 0.0


def test_confusion_counts_follow_the_table() -> None:
    counts = confusion_counts(SCORES, IS_RANK1, STRANGERS, 0.5)
    assert counts == ConfusionCounts(3, 1, 2, 3, 2)
    assert (counts.n_mated, counts.n_non_mated) == (6, 5)
    assert counts.accuracy.value == pytest.approx(6 / 11)
    assert counts.precision == wilson(3, 6)
    assert counts.recall == wilson(3, 6)
    precision, recall = 3 / 6, 3 / 6
    assert counts.f1.value == pytest.approx(2 * precision * recall / (precision + recall))


def test_f1_is_the_harmonic_mean_also_where_precision_and_recall_differ() -> None:
    counts = ConfusionCounts(60, 5, 15, 900, 20)
    precision, recall = 60 / 85, 60 / 80
    assert counts.f1.value == pytest.approx(2 * precision * recall / (precision + recall))
    assert counts.f1.low < counts.f1.value < counts.f1.high


def test_counts_of_nothing_know_nothing() -> None:
    nothing = ConfusionCounts(0, 0, 0, 0, 0)
    unknown = Interval(0.0, 0.0, 1.0)
    assert [nothing.accuracy, nothing.precision, nothing.recall, nothing.f1] == [unknown] * 4


def test_all_right_and_all_wrong() -> None:
    assert fnir([0.9, 0.8], [True, True], 0.5) == 0.0
    assert fnir([0.9, 0.8], [False, False], 0.5) == 1.0
    assert fpir([0.9, 0.8], 0.5) == 1.0
    assert confusion_counts([0.9], [True], [0.1], 0.5).f1.value == 1.0


@pytest.mark.parametrize(
    ("target", "just_above", "reached"),
    [
        (1.0, NO_SCORE, 4 / 5),  # everybody may be named, and one stranger has no face to be named by
        (0.8, NO_SCORE, 4 / 5),
        (0.79, 0.1, 3 / 5),
        (0.6, 0.1, 3 / 5),
        (0.5, 0.4, 2 / 5),
        (0.4, 0.4, 2 / 5),
        (0.3, 0.5, 0.0),  # two strangers score 0.5 and fall together
        (0.2, 0.5, 0.0),
        (0.0, 0.5, 0.0),
    ],
)
def test_the_threshold_for_a_target_lies_just_above_the_first_score_to_refuse(
    target: float, just_above: float, reached: float
) -> None:
    threshold = threshold_at_fpir(STRANGERS, target)
    assert threshold == np.nextafter(just_above, np.inf)
    assert fpir(STRANGERS, threshold) == pytest.approx(reached)


@given(SOME_SCORES, st.floats(0, 1))
def test_the_threshold_for_a_target_is_the_smallest_that_keeps_it(scores: list[float], target: float) -> None:
    threshold = threshold_at_fpir(scores, target)
    assert fpir(scores, threshold) <= target + 1e-9
    if threshold > -1e300:  # else the smallest of all numbers will do
        assert fpir(scores, float(np.nextafter(threshold, -np.inf))) > target


def test_a_target_that_is_a_whole_number_of_strangers_counts_as_one_despite_rounding() -> None:
    scores = np.arange(100) / 100
    assert fpir(scores, threshold_at_fpir(scores, 0.07)) == pytest.approx(0.07)
    assert fpir(scores, threshold_at_fpir(scores, 0.29)) == pytest.approx(0.29)


def test_float32_scores_are_not_rounded_back_onto_the_threshold() -> None:
    scores = np.array([0.1, 0.3], dtype=np.float32)
    assert fpir(scores, threshold_at_fpir(scores, 0.0)) == 0.0


def test_fnir_at_fpir_follows_the_table() -> None:
    point = fnir_at_fpir(SCORES, IS_RANK1, STRANGERS, 0.4)
    assert (point.fpir, point.fnir) == (pytest.approx(0.4), pytest.approx(3 / 6))
    assert fnir_at_fpir(SCORES, IS_RANK1, STRANGERS, 0.2).fnir == pytest.approx(4 / 6)


def test_the_det_curve_passes_through_the_table_at_every_score() -> None:
    curve = det_curve(SCORES, IS_RANK1, STRANGERS)
    np.testing.assert_allclose(curve.thresholds[:-1], [0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.9])
    np.testing.assert_allclose(curve.fpir, [0.8, 0.6, 0.6, 0.4, 0, 0, 0, 0])
    np.testing.assert_allclose(curve.fnir * 6, [2, 2, 3, 3, 4, 4, 5, 6])


def test_the_det_curve_takes_thresholds() -> None:
    curve = det_curve(SCORES, IS_RANK1, STRANGERS, [0.95, 0.5])
    assert curve.thresholds.tolist() == [0.5, 0.95]
    np.testing.assert_allclose(curve.fpir, [0.4, 0.0])
    np.testing.assert_allclose(curve.fnir, [0.5, 1.0])


@given(SOME_SCORES, SOME_SCORES)
def test_the_det_curve_agrees_with_the_rates(mated: list[float], strangers: list[float]) -> None:
    is_rank1 = [index % 3 > 0 for index in range(len(mated))]
    curve = det_curve(mated, is_rank1, strangers)
    for threshold, x, y in zip(curve.thresholds, curve.fpir, curve.fnir, strict=True):
        assert x == pytest.approx(fpir(strangers, threshold))
        assert y == pytest.approx(fnir(mated, is_rank1, threshold))
    assert curve.fpir[-1] == 0.0 or not np.isfinite([*mated, *strangers]).any()


def test_a_curve_without_any_score_is_one_point_where_all_is_missed() -> None:
    curve = det_curve([NO_SCORE], [False], [NO_SCORE])
    assert (curve.fpir.tolist(), curve.fnir.tolist()) == ([0.0], [1.0])


def test_the_roc_of_four_pairs() -> None:
    curve = roc([0.9, 0.5], [0.5, 0.1])
    np.testing.assert_allclose(curve.thresholds[:-1], [0.1, 0.5, 0.9])
    np.testing.assert_allclose(curve.tpr, [1, 1, 0.5, 0])
    np.testing.assert_allclose(curve.fpr, [1, 0.5, 0, 0])
    assert curve.auc == pytest.approx((1 + 1 + 1 + 0.5) / 4)  # three of four pairs of pairs in order, one tied


def test_the_area_counts_pairs_without_a_score_too() -> None:
    assert roc([0.9, NO_SCORE], [0.5, NO_SCORE]).auc == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_rank_k_counts_right_people_among_the_first_k() -> None:
    ranks = [1, 2, 3, 0]
    assert [rank_k_rate(ranks, k) for k in (1, 2, 3, 9)] == [0.25, 0.5, 0.75, 0.75]


def test_intervals_hold_the_rate_and_widen_for_people_searched_often() -> None:
    people = ["p", "p", "q", "q", "r", "r"]
    interval = fnir_interval(SCORES, IS_RANK1, 0.5, people)
    assert interval.value == 0.5 and interval.low < 0.5 < interval.high
    wrong = misidentification_interval(SCORES, IS_RANK1, 0.5, people)
    assert wrong.value == pytest.approx(1 / 6) and wrong.low < 1 / 6 < wrong.high
    assert fpir_interval(STRANGERS, 0.5) == wilson(2, 5)
    assert fpir_interval(STRANGERS, 0.5, list("aabcd")).high > fpir_interval(STRANGERS, 0.5, list("abcde")).high


def test_no_searches_have_no_rate_and_an_interval_that_knows_nothing() -> None:
    for refused in (
        lambda: fnir([], [], 0.5),
        lambda: misidentification_rate([], [], 0.5),
        lambda: fpir([], 0.5),
        lambda: threshold_at_fpir([], 0.01),
        lambda: det_curve([], [], STRANGERS),
        lambda: det_curve(SCORES, IS_RANK1, []),
        lambda: roc([], [0.1]),
        lambda: rank_k_rate([], 1),
    ):
        with pytest.raises(MetricsError, match="no searches"):
            refused()
    unknown = Interval(0.0, 0.0, 1.0)
    assert fnir_interval([], [], 0.5, []) == unknown
    assert misidentification_interval([], [], 0.5, []) == unknown
    assert fpir_interval([], 0.5) == fpir_interval([], 0.5, []) == unknown
    assert confusion_counts([], [], [], 0.5) == ConfusionCounts(0, 0, 0, 0, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinite_scores_are_refused(bad: float) -> None:
    for refused in (
        lambda: fnir([bad], [True], 0.5),
        lambda: fpir([0.1, bad], 0.5),
        lambda: threshold_at_fpir([bad], 0.01),
        lambda: det_curve([0.5], [True], [bad]),
        lambda: roc([bad], [0.1]),
        lambda: confusion_counts([0.5], [True], [bad], 0.5),
    ):
        with pytest.raises(MetricsError, match="NaN"):
            refused()


@pytest.mark.parametrize("threshold", [math.nan, math.inf, NO_SCORE])
def test_a_threshold_that_lets_everything_or_nothing_through_is_refused(threshold: float) -> None:
    with pytest.raises(MetricsError, match="finite"):
        fpir(STRANGERS, threshold)
    with pytest.raises(MetricsError, match="finite|NaN"):
        det_curve(SCORES, IS_RANK1, STRANGERS, [threshold])


@pytest.mark.parametrize("target", [-0.1, 1.1, math.nan])
def test_a_target_that_is_no_share_is_refused(target: float) -> None:
    with pytest.raises(MetricsError, match="target FPIR"):
        threshold_at_fpir(STRANGERS, target)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(MetricsError, match="one flag per search"):
        fnir([0.5, 0.6], [True], 0.5)
    with pytest.raises(MetricsError, match="one list"):
        fpir([[0.5]], 0.5)


@pytest.mark.parametrize(("ranks", "k"), [([-1], 1), ([1], 0), ([math.nan], 1)])
def test_ranks_count_from_one(ranks: list[float], k: int) -> None:
    with pytest.raises(MetricsError, match="ranks"):
        rank_k_rate(ranks, k)

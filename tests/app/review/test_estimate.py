"""Labels -> rates with intervals, by hand and on made-up truth; no database."""

from datetime import timedelta

import numpy as np
import pytest

from app.review.estimate import FEWEST_JUDGED, NamedFaces, Rates, UnnamedFaces, Words, estimate, n_to_judge
from app.review.labels import Judged, strata
from tests.app.factories import NOON


def test_the_rates_are_those_of_a_table_worked_out_by_hand() -> None:
    # 1000 named of which 5 % strangers and 1 % somebody else; 500 unnamed of which a quarter was missed.
    rates = estimate(
        NamedFaces(1000, n_right=94, n_stranger=5, n_somebody_else=1), UnnamedFaces(500, n_stranger=30, n_missed=10)
    )
    assert rates.fpir is not None and rates.fnir is not None and rates.misidentification is not None
    assert rates.fpir.value == pytest.approx(50 / (50 + 375))
    assert rates.fnir.value == pytest.approx((125 + 10) / (940 + 10 + 125))
    assert rates.misidentification.value == pytest.approx(10 / (940 + 10 + 125))
    for rate in (rates.fpir, rates.fnir, rates.misidentification):
        assert 0 <= rate.low < rate.value < rate.high <= 1


def test_the_same_labels_give_the_same_interval() -> None:
    labels = NamedFaces(100, n_right=30), UnnamedFaces(100, n_stranger=30)
    assert estimate(*labels) == estimate(*labels)


def test_none_wrong_of_some_is_zero_with_an_interval_above_it() -> None:
    rates = estimate(NamedFaces(500, n_right=50), UnnamedFaces(500, n_stranger=50))
    assert rates.fpir is not None and rates.fnir is not None
    assert (rates.fpir.value, rates.fpir.low) == (0.0, 0.0) and 0.01 < rates.fpir.high < 0.1
    assert (rates.fnir.value, rates.fnir.low) == (0.0, 0.0) and 0.01 < rates.fnir.high < 0.1


@pytest.mark.parametrize(
    ("named", "unnamed"),
    [
        (NamedFaces(1000), UnnamedFaces(1000, n_stranger=FEWEST_JUDGED)),
        (NamedFaces(1000, n_right=FEWEST_JUDGED - 1), UnnamedFaces(1000, n_stranger=FEWEST_JUDGED)),
        (NamedFaces(1000, n_right=FEWEST_JUDGED), UnnamedFaces(1000)),
        (NamedFaces(0), UnnamedFaces(0)),
    ],
)
def test_with_too_few_labels_nothing_is_said(named: NamedFaces, unnamed: UnnamedFaces) -> None:
    assert estimate(named, unnamed) == Rates(None, None, None)


def test_a_small_stratum_is_judged_as_a_whole_and_an_empty_one_not_at_all() -> None:
    assert (n_to_judge(0, 0, 0), n_to_judge(3, 1, 1), n_to_judge(1000, 5, 5)) == (0, 2, FEWEST_JUDGED - 5)
    rates = estimate(NamedFaces(0), UnnamedFaces(3, n_stranger=3))
    assert rates.fpir is not None and rates.fpir.value == 0
    assert rates.fpir.high > 0.2  # three strangers are no evidence of much
    assert rates.fnir is None  # nobody enrolled is known to have come by


@pytest.mark.parametrize(
    ("n", "enrolled", "fpir", "fnir", "misidentification", "n_judged"),
    [
        (2000, 0.8, 0.01, 0.05, 0.005, 100),
        (2000, 0.5, 0.05, 0.10, 0.01, 200),
        (10_000, 0.9, 0.02, 0.03, 0.003, 100),
        (500, 0.6, 0.10, 0.20, 0.05, 50),
    ],
)
def test_nineteen_of_twenty_intervals_hold_the_truth(
    n: int, enrolled: float, fpir: float, fnir: float, misidentification: float, n_judged: int
) -> None:
    truth, generator = (fpir, fnir, misidentification), np.random.default_rng(7)
    holds = []
    for _ in range(100):
        n_enrolled = generator.binomial(n, enrolled)
        n_strangers_named = generator.binomial(n - n_enrolled, fpir)
        right, confused, missed = generator.multinomial(
            n_enrolled, [1 - fnir, misidentification, fnir - misidentification]
        )
        named = generator.permutation(np.repeat([0, 1, 2], [right, n_strangers_named, confused]))
        unnamed = generator.permutation(np.repeat([0, 1], [n - n_enrolled - n_strangers_named, missed]))
        of_named = np.bincount(named[:n_judged], minlength=3).tolist()
        of_unnamed = np.bincount(unnamed[:n_judged], minlength=2).tolist()
        rates = estimate(NamedFaces(len(named), *of_named), UnnamedFaces(len(unnamed), *of_unnamed))
        found = rates.fpir, rates.fnir, rates.misidentification
        holds.append(
            [rate is not None and rate.low <= true <= rate.high for rate, true in zip(found, truth, strict=True)]
        )
    assert (np.mean(holds, axis=0) >= 0.90).all()


def test_a_postman_dismissed_once_says_nothing_about_the_faces_of_others() -> None:
    # 4000 recognised; of 1000 unnamed faces 600 are a postman's, and half of the other 400 are enrolled people's.
    truth, generator, n_words = 200 / 4200, np.random.default_rng(7), 40
    holds, values = [], []
    for _ in range(100):
        n_missed = int(generator.hypergeometric(200, 200, n_words))
        others = Words(stranger=1 + n_words - n_missed, missed=n_missed)
        unnamed = UnnamedFaces(1000, n_stranger=600 + n_words - n_missed, n_missed=n_missed, words=others)
        fnir = estimate(NamedFaces(4000, n_right=100), unnamed).fnir
        assert fnir is not None
        holds.append(fnir.low <= truth <= fnir.high)
        values.append(fnir.value)
    assert np.mean(holds) >= 0.90
    assert np.mean(values) == pytest.approx(truth, abs=0.003)


def test_one_word_about_many_faces_is_too_little_to_tell_of_others() -> None:
    postman = UnnamedFaces(1000, n_stranger=600, words=Words(stranger=1, missed=0))
    assert estimate(NamedFaces(100, n_right=100), postman) == Rates(None, None, None)
    assert n_to_judge(postman.n, postman.n_judged, postman.said.n) == FEWEST_JUDGED - 1


def test_what_follows_from_one_word_is_counted_as_one_word() -> None:
    postman, mixed = (NOON, "key:a"), (NOON + timedelta(days=1), "key:a")
    judged = [Judged(NOON, "unknown", True, None, postman)] * 600
    judged += [Judged(NOON, "unknown", False, "per_old", mixed), Judged(NOON, "unknown", True, None, mixed)]
    judged += [Judged(NOON, "unknown", False, None)] * 3
    _, unnamed = strata({"unknown": 1000}, judged, {"per_old": NOON - timedelta(days=1)})
    assert unnamed == UnnamedFaces(1000, n_stranger=601, n_missed=4, words=Words(stranger=1.5, missed=3.5))


def test_who_was_not_enrolled_yet_was_a_stranger() -> None:
    before, after = NOON - timedelta(days=1), NOON + timedelta(days=1)
    judged = [
        Judged(NOON, "identified", True, None),
        Judged(NOON, "identified", False, "per_old"),
        Judged(NOON, "identified", False, "per_new"),
        Judged(NOON, "identified", False, "per_without_templates"),
        Judged(NOON, "identified", False, None),
        Judged(NOON, "unknown", True, None),
        Judged(NOON, "unknown", False, "per_old"),
        Judged(NOON, "unknown", False, "per_new"),
        Judged(NOON, "unknown", False, None),
    ]
    named, unnamed = strata({"identified": 10, "unknown": 20}, judged, {"per_old": before, "per_new": after})
    assert named == NamedFaces(10, n_right=1, n_stranger=3, n_somebody_else=1)
    assert unnamed == UnnamedFaces(20, n_stranger=2, n_missed=2, words=Words(stranger=2, missed=2))

import math

import numpy as np
import pytest

from ml.errors import MlError
from ml.intervals import MetricsError, bootstrap_by_person, effective_n, wilson, wilson_by_person
from ml.types import Interval


@pytest.mark.parametrize(
    ("n_hits", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(n_hits: int, n: int, low: float, high: float) -> None:
    interval = wilson(n_hits, n)
    assert interval.value == pytest.approx(n_hits / n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_the_same_from_the_other_side() -> None:
    few, many = wilson(3, 50), wilson(47, 50)
    assert (few.low, few.high) == pytest.approx((1 - many.high, 1 - many.low))


def test_wilson_reaches_exactly_0_and_1_where_nothing_and_everything_hits() -> None:
    assert wilson(0, 7).low == 0.0 and wilson(0, 7).high < 1.0
    assert wilson(7, 7).high == 1.0 and wilson(7, 7).low > 0.0


def test_wilson_knows_nothing_without_searches() -> None:
    assert wilson(0, 0) == Interval(0.0, 0.0, 1.0)


def test_wilson_takes_an_effective_size_that_is_no_whole_number() -> None:
    assert wilson(1.5, 30.5).value == pytest.approx(1.5 / 30.5)
    assert wilson(1.5, 30.5).high > wilson(15, 305).high


@pytest.mark.parametrize(("n_hits", "n"), [(1, 0), (-1, 5), (6, 5), (math.nan, 5), (1, math.nan), (1, math.inf)])
def test_wilson_refuses_what_is_no_count(n_hits: float, n: float) -> None:
    with pytest.raises(MetricsError, match="hits"):
        wilson(n_hits, n)


def test_the_error_is_both_ours_and_a_value_error() -> None:
    assert issubclass(MetricsError, MlError) and issubclass(MetricsError, ValueError)


def test_the_bootstrap_is_the_same_for_the_same_seed() -> None:
    hits, people = np.arange(60) % 4 == 0, np.arange(60) // 3
    assert bootstrap_by_person(hits, people, seed=1) == bootstrap_by_person(hits, people, seed=1)


def test_the_bootstrap_is_wider_when_hits_come_by_person() -> None:
    people = np.repeat(np.arange(40), 10)
    by_person, spread = people % 4 == 0, np.arange(400) % 4 == 0
    clustered, independent = (bootstrap_by_person(hits, people) for hits in (by_person, spread))
    assert clustered.value == independent.value == 0.25
    assert clustered.high - clustered.low > 2 * (independent.high - independent.low)


def test_the_bootstrap_falls_back_on_people_where_all_or_no_searches_hit() -> None:
    people = np.repeat(np.arange(20), 5)
    assert bootstrap_by_person(np.zeros(100, bool), people) == wilson(0, 20)
    assert bootstrap_by_person(np.ones(100, bool), people) == wilson(20, 20)
    assert bootstrap_by_person([], []) == wilson(0, 0)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        rates = random.beta(2, 8, size=80)  # a mean of 0.2, and people who differ
        people = np.repeat(np.arange(80), 4)
        interval = bootstrap_by_person(random.random(320) < rates[people], people, n_resamples=400)
        covered += interval.low <= 0.2 <= interval.high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_bootstrap_in_parts_is_the_bootstrap_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    hits, people = np.arange(60) % 4 == 0, np.arange(60) // 3
    whole = bootstrap_by_person(hits, people, n_resamples=50)
    monkeypatch.setattr("ml.intervals._CHUNK_VALUES", 100)
    assert bootstrap_by_person(hits, people, n_resamples=50) == whole


def test_searches_of_one_person_that_go_together_are_worth_one() -> None:
    people = np.repeat(np.arange(50), 10)
    assert effective_n(people % 2 == 0, people) == pytest.approx(49, abs=1.5)


def test_independent_searches_are_worth_their_number() -> None:
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(200), 5)
    assert effective_n(random.random(1000) < 0.3, people) == pytest.approx(1000, rel=0.2)
    assert effective_n([True, False, True, False], [1, 2, 3, 4]) == pytest.approx(3)  # n - 1: spread of 4 people


def test_where_no_spread_shows_searches_are_worth_their_people() -> None:
    assert effective_n(np.zeros(30, bool), np.arange(30) // 3) == 10
    assert effective_n([True, False], ["a", "a"]) == 1
    assert effective_n([], []) == 0


def test_equal_people_leave_the_full_number() -> None:
    assert effective_n([True, False] * 10, np.arange(20) // 2) == 20


def test_wilson_by_person_widens_with_the_design_effect() -> None:
    people = np.repeat(np.arange(50), 10)
    hits = people < 5
    assert wilson_by_person(hits, people).high > wilson(50, 500).high
    assert wilson_by_person(np.zeros(0, bool), []) == wilson(0, 0)


def test_every_hit_needs_its_person() -> None:
    with pytest.raises(MetricsError, match="one person per search"):
        bootstrap_by_person([True, False], ["a"])

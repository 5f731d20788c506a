import numpy as np
import pytest

from ml.comparison import (
    MatedSearches,
    NonMatedSearches,
    OpenSetSearches,
    fnir_at_fpir_interval,
    fnir_difference,
)
from ml.metrics import NO_SCORE, MetricsError, fnir_at_fpir


def make_searches(*, shift: float = 0.0, n_people: int = 60, n_strangers: int = 400, seed: int = 0) -> OpenSetSearches:
    """Normal scores, those of enrolled people higher by 3 + shift; one search in ten has another person at rank 1."""
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(n_people), 4)
    own = random.normal(3.0, 1.0, len(people)) + random.normal(0, 0.5, n_people)[people] + shift
    mated = MatedSearches(own, np.arange(len(people)) % 10 > 0, people)
    return OpenSetSearches(mated, NonMatedSearches(random.normal(0, 1, n_strangers), np.arange(n_strangers)))


@pytest.mark.parametrize("target", [0.0, 0.01, 0.05, 1.0])
def test_the_interval_holds_the_rate(target: float) -> None:
    searches = make_searches()
    point = fnir_at_fpir(searches.mated.scores, searches.mated.is_rank1, searches.non_mated.scores, target)
    interval = fnir_at_fpir_interval(searches, target)
    assert interval.value == point.fnir
    assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0
    assert interval.low < interval.high


def test_the_interval_is_wider_where_the_threshold_rests_on_few_strangers() -> None:
    searches = make_searches()
    rare, common = (fnir_at_fpir_interval(searches, target) for target in (0.003, 0.1))
    assert rare.high - rare.low > common.high - common.low


def test_drawing_again_agrees_with_evaluating_the_drawn_searches() -> None:
    """With every stranger the same, the threshold never moves, and the interval is that of the people alone."""
    searches = make_searches()
    still = OpenSetSearches(searches.mated, NonMatedSearches(np.full(50, 2.0), np.arange(50)))
    interval = fnir_at_fpir_interval(still, 0.01)
    missed = ~(searches.mated.is_rank1 & (searches.mated.scores > 2.0))
    assert interval.value == pytest.approx(missed.mean())
    spread = 1.96 * np.sqrt(interval.value * (1 - interval.value) / len(missed))
    assert 0.5 * spread < interval.high - interval.value < 2.5 * spread


def test_a_system_that_is_better_by_far_differs_beyond_chance() -> None:
    better = fnir_difference(make_searches(shift=1.0), make_searches(), 0.01)
    assert better.value < 0 and better.high < 0


def test_a_system_does_not_differ_from_itself() -> None:
    same = fnir_difference(make_searches(), make_searches(), 0.01)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_failures_to_acquire_are_misses() -> None:
    mated = MatedSearches(np.array([NO_SCORE, 0.9]), np.array([False, True]), np.array([0, 1]))
    searches = OpenSetSearches(mated, NonMatedSearches(np.array([NO_SCORE, 0.1]), np.array([0, 1])))
    assert fnir_at_fpir_interval(searches, 0.5).value == 0.5


def test_only_the_same_searches_are_compared() -> None:
    with pytest.raises(MetricsError, match="same searches"):
        fnir_difference(make_searches(), make_searches(n_people=59), 0.01)
    with pytest.raises(MetricsError, match="same searches"):
        fnir_difference(make_searches(), make_searches(n_strangers=399), 0.01)

import pytest

from ml.priors import DLIB_RESNET_PRIOR, assumed_prior

PRIOR = DLIB_RESNET_PRIOR


@pytest.mark.parametrize("n_people", [0, 1, 7, 305, 100_000])
def test_a_rarer_false_alarm_needs_a_higher_threshold(n_people: int) -> None:
    thresholds = [PRIOR.threshold(target, n_people) for target in (0.3, 0.05, 0.01, 0.001, 1e-5)]
    assert thresholds == sorted(thresholds)
    assert len(set(thresholds)) == 5


@pytest.mark.parametrize("n_people", [1, 20, 400])
@pytest.mark.parametrize("target", [0.2, 0.01, 0.0001])
def test_threshold_and_rate_are_each_others_inverse(n_people: int, target: float) -> None:
    assert PRIOR.fpir(PRIOR.threshold(target, n_people), n_people) == pytest.approx(target, rel=0.02)


def test_a_table_entry_is_returned_as_it_stands() -> None:
    assert PRIOR.threshold(0.01, 20) == pytest.approx(0.4886)
    assert PRIOR.fnir(0.4933, 20) == pytest.approx(0.05, abs=1e-4)


def test_a_higher_threshold_misses_more_people() -> None:
    misses = [PRIOR.fnir(threshold, 60) for threshold in (0.40, 0.48, 0.50, 0.52)]
    assert misses == sorted(misses)
    assert 0 <= misses[0] < 0.02


def test_an_assumed_prior_counts_little() -> None:
    prior = assumed_prior(middle=0.1, spread=0.05, mated_middle=0.5)
    assert prior.n_people == 10
    assert prior.threshold(0.5, 50) == pytest.approx(0.1, abs=1e-6)

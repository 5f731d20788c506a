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


def test_more_templates_each_raise_what_strangers_score_most_so_in_a_small_gallery() -> None:
    usual = DLIB_RESNET_PRIOR
    rises = [
        [usual.for_templates(k).threshold(0.01, n) - usual.threshold(0.01, n) for k in (1, 2.29, 4, 8)]
        for n in (2, 20, 400)
    ]
    assert rises[0] == pytest.approx([-0.0062, 0.0, 0.0027, 0.0047], abs=2e-4)
    assert all(abs(large) <= abs(small) for small, large in zip(rises[0], rises[1], strict=True))
    assert rises[2] == pytest.approx([0.0] * 4, abs=1e-6)


def test_beyond_what_was_measured_more_templates_change_nothing() -> None:
    usual = DLIB_RESNET_PRIOR
    assert usual.for_templates(50).threshold(0.01, 2) == usual.for_templates(8).threshold(0.01, 2)
    assert usual.for_templates(8).fnir(0.48, 2) == usual.fnir(0.48, 2)


def test_a_card_without_that_measurement_stays_as_it_is() -> None:
    assumed = assumed_prior(middle=0.1, spread=0.06, mated_middle=0.5)
    assert assumed.for_templates(12) is assumed

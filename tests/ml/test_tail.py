import numpy as np
import pytest
from scipy.stats import genpareto, norm

from ml.tail import TailModel, fit_tail
from ml.types import FloatArray


def ones_like(scores: FloatArray) -> FloatArray:
    return np.ones(len(scores), dtype=np.float32)


def make_normal(*, n: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(0.4, 0.05, n).astype(np.float32)


def make_pareto(*, shape: float, n: int, scale: float = 0.02) -> FloatArray:
    """Every score follows the law, so what lies above any start does too, with the same shape."""
    levels = (np.arange(n) + 0.5) / n
    return np.asarray(genpareto.isf(levels, shape, scale=scale), dtype=np.float32)


@pytest.fixture(scope="module")
def bell() -> FloatArray:
    return make_normal(n=3000)


@pytest.fixture(scope="module")
def model(bell: FloatArray) -> TailModel:
    return fit_tail(bell, ones_like(bell))


@pytest.mark.parametrize("rate", [0.95, 0.7, 0.5, 0.3, 0.15])
def test_the_bulk_is_what_was_counted(bell: FloatArray, model: TailModel, rate: float) -> None:
    threshold = model.score(rate)
    assert (bell >= threshold).mean() == pytest.approx(rate, abs=2 / len(bell))
    assert model.rate(threshold) == pytest.approx((bell >= threshold).mean(), abs=1e-9)


def test_the_order_of_the_scores_does_not_matter(bell: FloatArray, model: TailModel) -> None:
    again = fit_tail(np.sort(bell), ones_like(bell))
    assert [again.score(rate) for rate in (0.5, 0.01)] == [model.score(rate) for rate in (0.5, 0.01)]


@pytest.mark.parametrize("rate", [0.09, 0.05, 0.01, 0.001, 1e-5])
def test_in_the_tail_score_and_rate_are_each_others_inverse(model: TailModel, rate: float) -> None:
    assert model.rate(model.score(rate)) == pytest.approx(rate, rel=1e-6)


def test_a_rarer_rate_never_has_a_lower_score(model: TailModel) -> None:
    scores = [model.score(rate) for rate in np.geomspace(0.999, 1e-7, 200)]
    assert (np.diff(scores) >= 0).all()
    rates = [model.rate(score) for score in np.linspace(0.2, 0.7, 500)]
    assert (np.diff(rates) <= 0).all()


def test_everything_is_above_what_is_below_all_scores_and_nothing_beyond_a_short_tail(model: TailModel) -> None:
    assert model.rate(-1.0) == 1.0
    assert model.shape < 0  # so the law ends somewhere
    assert model.rate(2.0) == 0.0


def test_no_jump_where_the_tail_begins(model: TailModel) -> None:
    below, above = model.rate(model.start), model.rate(model.start + 1e-9)
    assert 0 < below - above < 2 / 3000
    assert model.score(model.share + 1e-9) == pytest.approx(model.score(model.share - 1e-9), abs=1e-4)


@pytest.mark.parametrize("shape", [-0.3, -0.1, 0.0, 0.2])
def test_a_law_is_found_again_in_a_large_sample(shape: float) -> None:
    scores = make_pareto(shape=shape, n=40_000)
    fitted = fit_tail(scores, ones_like(scores))
    assert fitted.shape == pytest.approx(shape, abs=0.03)
    # Above its start, which a tenth reaches, a Pareto law has the same shape and this scale.
    assert fitted.scale == pytest.approx(0.02 + shape * genpareto.isf(0.1, shape, scale=0.02), rel=0.05)
    for rate in (0.05, 0.01, 0.001, 0.0002):
        assert genpareto.sf(fitted.score(rate), shape, scale=0.02) == pytest.approx(rate, rel=0.1)


def test_a_small_sample_hardly_bends_the_shape() -> None:
    """With few draws a wild shape is chance; the fit stays near what larger samples showed."""
    wild = make_pareto(shape=0.6, n=60)
    assert abs(fit_tail(wild, ones_like(wild)).shape) < 0.1


def test_rates_rarer_than_the_sample_are_extrapolated_sensibly() -> None:
    """Forty samples of 400: none holds a score that one in a thousand reaches, taken together they know it."""
    thresholds = [fit_tail(scores, ones_like(scores)).score(0.001) for scores in map(_sample_of_400, range(40))]
    assert norm.sf(np.mean(thresholds), 0.4, 0.05) == pytest.approx(0.001, rel=0.5)


def _sample_of_400(seed: int) -> FloatArray:
    return make_normal(n=400, seed=seed)


def test_a_weight_counts_like_so_many_draws() -> None:
    scores = make_normal(n=200)
    weights = np.random.default_rng(1).integers(1, 4, 200).astype(np.float32)
    repeated = np.repeat(scores, weights.astype(int))
    weighted, counted = fit_tail(scores, weights), fit_tail(repeated, ones_like(repeated))
    for rate in (0.8, 0.5, 0.2):
        assert weighted.score(rate) == pytest.approx(counted.score(rate), abs=1e-6)
    assert weighted.score(0.01) == pytest.approx(counted.score(0.01), abs=0.005)


def test_only_the_ratio_of_weights_matters_for_the_bulk() -> None:
    scores = make_normal(n=100)
    one, tiny = fit_tail(scores, ones_like(scores)), fit_tail(scores, ones_like(scores) / 1000)
    assert one.survival == pytest.approx(tiny.survival)
    assert one.score(0.05) == pytest.approx(tiny.score(0.05), abs=1e-6)


@pytest.mark.parametrize("outlier", [0.7, 1.0, 3.0])
def test_one_score_far_out_does_not_carry_the_threshold_away(
    bell: FloatArray, model: TailModel, outlier: float
) -> None:
    scores = np.append(bell, np.float32(outlier))
    fitted = fit_tail(scores, ones_like(scores))
    assert fitted.rate(outlier) > 0  # it was seen
    assert fitted.score(0.01) == pytest.approx(model.score(0.01), abs=0.01)
    assert fitted.rate(fitted.score(0.001)) == pytest.approx(0.001, rel=1e-6)


@pytest.mark.parametrize("n", [20, 21, 35])
def test_the_smallest_samples_can_be_fitted(n: int) -> None:
    scores = make_normal(n=n)
    fitted = fit_tail(scores, ones_like(scores))
    assert fitted.score(0.5) < fitted.score(0.05) < fitted.score(0.001) < 1.0

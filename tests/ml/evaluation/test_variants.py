import numpy as np
import pytest

from ml.evaluation.searches import image_scores, search
from ml.evaluation.variants import (
    PRODUCT,
    TARGET_FPIRS,
    customary_variant,
    effect,
    measure,
    rule_variants,
)
from ml.metrics import fnir, fpir, threshold_at_fpir
from ml.types import ScoreRule
from tests.ml.evaluation.crowd import make_searches

RULE = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)


def test_every_way_of_scoring_is_a_setting_of_the_products_own() -> None:
    variants = rule_variants(RULE)
    assert [variant.name for variant in variants] == [
        "nearest",
        "nearest-margin",
        "centroid",
        "centroid-margin",
        "product-no-floor",
        PRODUCT,
    ]
    searches, _ = make_searches()
    product = variants[-1].scorer(searches.strangers, searches.gallery)
    np.testing.assert_array_equal(product.scores, search(searches.strangers, searches.gallery, RULE).scores)


def test_only_a_backbone_with_a_customary_tolerance_is_held_to_it() -> None:
    variant = customary_variant("dlib-resnet")
    assert variant is not None and variant.fixed_threshold == -0.6
    assert customary_variant("sface") is None


def test_rates_are_those_of_the_metrics_at_each_threshold() -> None:
    searches, _ = make_searches()
    variant = rule_variants(RULE)[-1]
    result = measure(variant, searches, seed=0)
    own = image_scores(search(searches.mated, searches.gallery, RULE), searches.mated).own
    strangers = image_scores(search(searches.strangers, searches.gallery, RULE), searches.strangers).other
    assert result.rank1.value == pytest.approx((own > -np.inf).mean())
    assert [row.target_fpir for row in result.rows] == list(TARGET_FPIRS)
    for row in result.rows:
        assert row.target_fpir is not None
        assert row.threshold == threshold_at_fpir(strangers, row.target_fpir)
        assert row.fpir.value == pytest.approx(fpir(strangers, row.threshold))
        assert row.fnir.value == pytest.approx(fnir(own, own > -np.inf, row.threshold))
        assert row.fnir.low <= row.fnir.value <= row.fnir.high
        assert row.counts.n_misidentified <= row.n_other_named
        assert 1 - row.counts.recall.value == pytest.approx(row.fnir.value)
        assert row.misidentified.value == pytest.approx(row.counts.n_misidentified / row.counts.n_mated)


def test_a_fixed_tolerance_has_a_row_of_its_own() -> None:
    searches, _ = make_searches()
    variant = customary_variant("dlib-resnet")
    assert variant is not None
    result = measure(variant, searches, seed=0)
    fixed = result.rows[-1]
    assert (fixed.target_fpir, fixed.threshold) == (None, -0.6)
    assert fixed.fpir.value == pytest.approx((result.searches.non_mated.scores >= -0.6).mean())
    assert fixed.fnir.value == pytest.approx(1 - fixed.counts.recall.value)


def test_the_effect_is_the_difference_of_the_rates() -> None:
    searches, _ = make_searches()
    nearest, *_, product = (measure(variant, searches, seed=0) for variant in rule_variants(RULE))
    for row, a, b in zip(effect(nearest, product, seed=0), nearest.rows, product.rows, strict=True):
        assert row.target_fpir == a.target_fpir
        assert row.fnir.value == pytest.approx(a.fnir.value - b.fnir.value)
        assert row.fnir.low <= row.fnir.value <= row.fnir.high

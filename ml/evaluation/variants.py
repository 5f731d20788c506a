"""Ways to turn cosines into a score, measured on the same samples: the customary ones and the product's own."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.comparison import (
    Difference,
    MatedSearches,
    NonMatedSearches,
    OpenSetSearches,
    fnir_at_fpir_interval,
    fnir_difference,
)
from ml.evaluation.enrolment import EnrolledPeople
from ml.evaluation.searches import ImageScores, Probes, Scorer, TopHits, image_scores, search, search_by_l2
from ml.metrics import (
    ConfusionCounts,
    DetCurve,
    bootstrap_by_person,
    confusion_counts,
    det_curve,
    fnir_interval,
    fpir_interval,
    misidentification_interval,
    threshold_at_fpir,
)
from ml.types import Interval, ScoreRule

TARGET_FPIRS: Final = (0.05, 0.01, 0.003, 0.001)
DEFAULT_FPIR: Final = 0.01  # the service's
PRODUCT: Final = "product"
# The default tolerance of face_recognition (MIT), on dlib's raw vectors; copied wherever dlib's network is used.
CUSTOMARY_TOLERANCES: Final = {"dlib-resnet": 0.6}
_NO_FLOOR: Final = -1.0  # no cosine is lower


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to score. `fixed_threshold` is one that people use as it is, wherever they are."""

    name: str
    title: str
    scorer: Scorer
    fixed_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class OperatingRow:
    """What one threshold does; `target_fpir` is None for a fixed one.

    `n_other_named` counts mated photos in which any face got a wrong name, also where another got the right one.
    """

    target_fpir: float | None
    threshold: float
    fpir: Interval
    fnir: Interval
    misidentified: Interval
    n_other_named: int
    counts: ConfusionCounts


@dataclass(frozen=True, slots=True, eq=False)
class VariantResult:
    """One variant's rates: rank 1 whatever the score, a row per target FPIR, and the curve through all thresholds.

    `searches` are what they were made from, per photo.
    """

    variant: Variant
    rank1: Interval
    rows: tuple[OperatingRow, ...]
    curve: DetCurve
    searches: OpenSetSearches


@dataclass(frozen=True, slots=True)
class EffectRow:
    """How much more one way misses than another at the same target FPIR, over the same draws of people."""

    target_fpir: float
    fnir: Difference


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """A gallery with everything that is searched in it."""

    gallery: EnrolledPeople
    mated: Probes
    strangers: Probes


def rule_variants(rule: ScoreRule) -> tuple[Variant, ...]:
    """The variants that are settings of the product's own scoring, the product's last."""

    def variant(name: str, title: str, varied: ScoreRule) -> Variant:
        return Variant(name, title, partial(search, rule=varied))

    half = replace(rule, runner_up_weight=0.5, runner_up_floor=_NO_FLOOR)
    alone = replace(rule, runner_up_weight=0.0, runner_up_floor=_NO_FLOOR)
    return (
        variant("nearest", "nearest template", replace(alone, centroid_weight=0.0)),
        variant("nearest-margin", "nearest template − ½ runner-up", replace(half, centroid_weight=0.0)),
        variant("centroid", "centroid", replace(alone, centroid_weight=1.0)),
        variant("centroid-margin", "centroid − ½ runner-up", replace(half, centroid_weight=1.0)),
        variant("product-no-floor", "product's rule without floor", replace(rule, runner_up_floor=_NO_FLOOR)),
        variant(PRODUCT, "product's rule", rule),
    )


def customary_variant(backbone: str) -> Variant | None:
    """Nearest raw vector within a fixed distance, where one is customary for the backbone."""
    tolerance = CUSTOMARY_TOLERANCES.get(backbone)
    if tolerance is None:
        return None
    return Variant("nearest-l2", "nearest template by L2, raw and plain", search_by_l2, -tolerance)


def measure(variant: Variant, searches: Searches, seed: int) -> VariantResult:
    """Search everything with one variant."""
    mated = image_scores(variant.scorer(searches.mated, searches.gallery), searches.mated)
    strangers = wrong_name_scores(variant.scorer(searches.strangers, searches.gallery), searches.strangers)
    thresholds: list[tuple[float | None, float]] = [(t, threshold_at_fpir(strangers, t)) for t in TARGET_FPIRS]
    if variant.fixed_threshold is not None:
        thresholds.append((None, variant.fixed_threshold))
    searched = OpenSetSearches(
        MatedSearches(mated.own, mated.is_found, searches.mated.people),
        NonMatedSearches(strangers, searches.strangers.people),
    )
    return VariantResult(
        variant=variant,
        rank1=bootstrap_by_person(mated.is_found, searches.mated.people, seed=seed),
        rows=tuple(_row(target, threshold, mated, searched, seed) for target, threshold in thresholds),
        curve=det_curve(mated.own, mated.is_found, strangers),
        searches=searched,
    )


def effect(a: VariantResult, b: VariantResult, seed: int) -> tuple[EffectRow, ...]:
    """FNIR of `a` less that of `b`, at each target FPIR."""
    return tuple(EffectRow(t, fnir_difference(a.searches, b.searches, t, seed=seed)) for t in TARGET_FPIRS)


def wrong_name_scores(hits: TopHits, strangers: Probes) -> NDArray[np.float64]:
    """Per photo of a stranger the highest score that gives one of its faces a name."""
    return image_scores(hits, strangers).other


def _row(
    target: float | None, threshold: float, images: ImageScores, searches: OpenSetSearches, seed: int
) -> OperatingRow:
    people, strangers = searches.mated.people, searches.non_mated
    scores, is_right = images.at(threshold)
    return OperatingRow(
        target_fpir=target,
        threshold=threshold,
        fpir=fpir_interval(strangers.scores, threshold, strangers.people),
        fnir=(
            fnir_interval(scores, is_right, threshold, people)
            if target is None
            else fnir_at_fpir_interval(searches, target, seed=seed)
        ),
        misidentified=misidentification_interval(scores, is_right, threshold, people),
        n_other_named=int((images.other >= threshold).sum()),
        counts=confusion_counts(scores, is_right, strangers.scores, threshold),
    )

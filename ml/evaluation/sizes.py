"""The product's rule by gallery size, and what an operating point promised against what it shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.calibration import Calibration, gather
from ml.evaluation.enrolment import NOBODY, EnrolledPeople, Rows
from ml.evaluation.searches import ImageScores, image_scores, search
from ml.evaluation.variants import TARGET_FPIRS, Searches, wrong_name_scores
from ml.evidence import search_gallery
from ml.gallery import GallerySnapshot
from ml.metrics import NO_SCORE, fnir, fnir_interval, fpir, threshold_at_fpir
from ml.priors import ScorePrior
from ml.types import Interval, ScoreRule

GALLERY_SIZES: Final = (1, 3, 10, 20, 60, 150)
_SEARCHED_PEOPLE: Final = 1200  # galleries are drawn until they held about this many people together ...
_MIN_GALLERIES, _MAX_GALLERIES = 8, 100  # ... within these bounds


@dataclass(frozen=True, slots=True)
class Promise:
    """What a calibration says of a target FPIR: the threshold that keeps it, and what FNIR to expect there.

    The intervals are how sure it is of both; None where it does not say.
    """

    threshold: float
    fnir: float
    fpir_interval: Interval | None = None
    fnir_interval: Interval | None = None


Calibrator: TypeAlias = Callable[[GallerySnapshot], Callable[[float], Promise]]
"""A gallery, and nothing else -> what the deployment would promise for a target FPIR."""


@dataclass(frozen=True, slots=True)
class SizeRow:
    """What a target FPIR costs at a gallery size, all `n_galleries` together, next to what the card's prior expects.

    `fnir` at the measured `threshold`; `prior_fpir` and `prior_fnir` are what the prior's threshold does here.
    """

    n_people: int
    n_galleries: int
    target_fpir: float
    threshold: float
    fnir: Interval
    prior_threshold: float
    prior_fpir: float
    prior_fnir: float


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """What a calibration promised, and what strangers and probes that it had not seen made of it.

    Means over `n_galleries` galleries; `least_fpir` and `most_fpir` are the extremes among these. `kept_share` and
    `fnir_kept_share` are the shares of them whose FPIR and FNIR lay in the promised intervals, None where none was
    promised. What a gallery shows is a sample too, of FNIR a small one: a true promise may miss it.
    """

    calibration: str
    n_people: int
    n_galleries: int
    target_fpir: float
    threshold: float
    shown_fpir: float
    least_fpir: float
    most_fpir: float
    kept_share: float | None
    expected_fnir: float
    shown_fnir: float
    fnir_kept_share: float | None


@dataclass(frozen=True, slots=True, eq=False)
class SmallerGallery:
    """A random part of the gallery, with everything searched in it by the product's rule."""

    gallery: EnrolledPeople
    mated: ImageScores
    people: Rows
    stranger_scores: NDArray[np.float64]


Drawn: TypeAlias = Mapping[int, Sequence[SmallerGallery]]
"""Galleries by how many known people they hold."""


def draw_galleries(searches: Searches, known_rows: Rows, rule: ScoreRule, seed: int) -> Drawn:
    """Draw galleries of each size and search them.

    Args:
        searches: the whole gallery; its mated photos' `people` are places in `known_rows`.
        known_rows: `(K,)` row of each known person, or NOBODY: a failure to enrol takes a place here too.
        rule: the product's.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    n_known = len(known_rows)
    drawn: dict[int, list[SmallerGallery]] = {}
    for size in [*(size for size in GALLERY_SIZES if size < n_known), n_known]:
        n = 1 if size == n_known else int(np.clip(_SEARCHED_PEOPLE // size, _MIN_GALLERIES, _MAX_GALLERIES))
        chosen = [np.sort(generator.choice(n_known, size, replace=False)) for _ in range(n)]
        drawn[size] = [_smaller(searches, known_rows, people, rule) for people in chosen]
    return drawn


def size_rows(drawn: Drawn, prior: ScorePrior) -> list[SizeRow]:
    """One row per gallery size and target FPIR, with one threshold for all galleries of that size."""
    rows = []
    for size, galleries in drawn.items():
        strangers = np.concatenate([gallery.stranger_scores for gallery in galleries])
        own = np.concatenate([gallery.mated.own for gallery in galleries])
        people = np.concatenate([gallery.people for gallery in galleries])
        if not len(own):
            continue
        for target in TARGET_FPIRS:
            threshold, expected = threshold_at_fpir(strangers, target), prior.threshold(target, size)
            rows.append(
                SizeRow(
                    n_people=size,
                    n_galleries=len(galleries),
                    target_fpir=target,
                    threshold=threshold,
                    fnir=fnir_interval(own, own > NO_SCORE, threshold, people),
                    prior_threshold=expected,
                    prior_fpir=fpir(strangers, expected),
                    prior_fnir=fnir(own, own > NO_SCORE, expected),
                )
            )
    return rows


def card_alone(prior: ScorePrior) -> Calibrator:
    """The promises of a deployment that has no evidence of its own and trusts its backbone's card."""

    def calibrate(gallery: GallerySnapshot) -> Callable[[float], Promise]:
        n = len(gallery.person_ids)

        def promise(target_fpir: float) -> Promise:
            threshold = prior.threshold(target_fpir, n)
            return Promise(threshold, prior.fnir(threshold, n))

        return promise

    return calibrate


def calibrated(prior: ScorePrior, rule: ScoreRule) -> Calibrator:
    """The promises of the service: its gallery, where the photos of a person are one enrolment, and its card."""

    def calibrate(gallery: GallerySnapshot) -> Callable[[float], Promise]:
        found = search_gallery(gallery, gallery.person_rows, rule)
        calibration = Calibration(gather(found, len(gallery.template_ids), prior), prior)

        def promise(target_fpir: float) -> Promise:
            point = calibration.operating_point(target_fpir, gallery.model)
            return Promise(point.threshold, point.expected_fnir.value, point.expected_fpir, point.expected_fnir)

        return promise

    return calibrate


def calibration_rows(drawn: Drawn, calibrators: Mapping[str, Calibrator], model: str) -> list[CalibrationRow]:
    """Calibrate each drawn gallery, and see what the thresholds do to the searches in it.

    Args:
        drawn: galleries with strangers and probes that no calibration knows anything of.
        calibrators: by the name that the report shows.
        model: word of the backbone.
    """
    rows = []
    for size, galleries in drawn.items():
        searched = [gallery for gallery in galleries if len(gallery.people)]
        for name, calibrate in calibrators.items():
            promises = [calibrate(gallery.gallery.snapshot(model)) for gallery in searched]
            pairs = list(zip(searched, promises, strict=True))
            rows += [_calibration_row(name, size, target, pairs) for target in TARGET_FPIRS if pairs]
    return rows


def _calibration_row(
    name: str, size: int, target: float, pairs: Sequence[tuple[SmallerGallery, Callable[[float], Promise]]]
) -> CalibrationRow:
    promised = [promise(target) for _, promise in pairs]
    shown = [fpir(gallery.stranger_scores, p.threshold) for (gallery, _), p in zip(pairs, promised, strict=True)]
    missed = [fnir(g.mated.own, g.mated.is_found, p.threshold) for (g, _), p in zip(pairs, promised, strict=True)]
    return CalibrationRow(
        calibration=name,
        n_people=size,
        n_galleries=len(pairs),
        target_fpir=target,
        threshold=mean(p.threshold for p in promised),
        shown_fpir=mean(shown),
        least_fpir=min(shown),
        most_fpir=max(shown),
        kept_share=_kept_share([p.fpir_interval for p in promised], shown),
        expected_fnir=mean(p.fnir for p in promised),
        shown_fnir=mean(missed),
        fnir_kept_share=_kept_share([p.fnir_interval for p in promised], missed),
    )


def _kept_share(intervals: Sequence[Interval | None], shown: Sequence[float]) -> float | None:
    """Share of rates that lie in the interval promised for them; None where none was."""
    promised = [(interval, rate) for interval, rate in zip(intervals, shown, strict=True) if interval is not None]
    return mean(interval.low <= rate <= interval.high for interval, rate in promised) if promised else None


def _smaller(searches: Searches, known_rows: Rows, people: Rows, rule: ScoreRule) -> SmallerGallery:
    rows = known_rows[people]
    is_enrolled = rows != NOBODY
    gallery = searches.gallery.only(rows[is_enrolled])
    new_rows = np.full(len(known_rows), NOBODY)
    new_rows[people[is_enrolled]] = np.arange(gallery.n_people)
    is_searched = np.isin(searches.mated.people, people)
    mated = searches.mated.only(is_searched, new_rows[searches.mated.people[is_searched]])
    strangers = searches.strangers
    return SmallerGallery(
        gallery=gallery,
        mated=image_scores(search(mated, gallery, rule), mated),
        people=mated.people,
        stranger_scores=wrong_name_scores(search(strangers, gallery, rule), strangers),
    )

"""What it costs, and saves, that people who look alike need a lead over each other to be named."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ml.backbones.card import ModelCard
from ml.calibration import Calibration, gather
from ml.decision import PairMargins, decide, pair_of
from ml.evaluation.searches import Probes
from ml.evaluation.variants import DEFAULT_FPIR, Searches
from ml.evidence import search_gallery
from ml.findings import find_look_alikes
from ml.gallery import Gallery
from ml.intervals import wilson_by_person
from ml.scoring import rank_candidates
from ml.types import Candidate, Interval, ScoreRule

_Photo: TypeAlias = list[tuple[Candidate, ...]]  # candidates of each face

_N_NEAREST, _N_CANDIDATES = 8, 3  # people that the service searches for, and that it decides between


@dataclass(frozen=True, slots=True)
class MarginRow:
    """What the service's own threshold does where `n_pairs` of look-alikes must lead each other by `margin`."""

    margin: float
    n_pairs: int
    threshold: float
    fpir: Interval
    fnir: Interval
    misidentified: Interval


def margin_rows(searches: Searches, card: ModelCard) -> list[MarginRow]:
    """Decide every photo without margins, then with the card's between all look-alikes found in the gallery itself."""
    snapshot, rule = searches.gallery.snapshot(card.model), card.score_rule
    found = search_gallery(snapshot, snapshot.person_rows, rule)
    threshold = Calibration(gather(found, len(snapshot.template_ids), card.prior), card.prior).threshold(DEFAULT_FPIR)
    pairs = [pair_of(each.person_a, each.person_b) for each in find_look_alikes(found, threshold)]
    gallery = searches.gallery.index(card.model)
    ranked = [_ranked(probes, gallery, rule) for probes in (searches.mated, searches.strangers)]
    rows = []
    for margin in (0.0, card.look_alike_margin):
        margins = dict.fromkeys(pairs, margin)
        names = [_names(photos, threshold, margins) for photos in ranked]
        rows.append(MarginRow(margin, len(pairs), threshold, *_rates(searches, *names)))
    return rows


def _ranked(probes: Probes, gallery: Gallery, rule: ScoreRule) -> list[_Photo]:
    photos: list[_Photo] = [[] for _ in range(probes.n_photos)]
    if len(probes.embeddings):  # without any face their width is unknown
        for photo, hits in zip(probes.photo_rows, gallery.search(probes.embeddings, _N_NEAREST), strict=True):
            photos[photo].append(rank_candidates(hits, rule, _N_CANDIDATES))
    return photos


def _names(photos: Sequence[_Photo], threshold: float, margins: PairMargins) -> list[set[str]]:
    """Who is named in each photo."""
    decided = (decide(faces, [()] * len(faces), threshold, margins) for faces in photos)
    return [{d.person_id for d in decisions if d.person_id is not None} for decisions in decided]


def _rates(
    searches: Searches, mated_names: Sequence[set[str]], stranger_names: Sequence[set[str]]
) -> tuple[Interval, Interval, Interval]:
    """FPIR, FNIR and misidentification."""
    owners, strangers = searches.mated.people, searches.strangers.people
    own = [str(row) for row in searches.mated.own_rows]
    is_right = np.array([name in given for name, given in zip(own, mated_names, strict=True)], dtype=np.bool_)
    is_wrong, is_named = (np.array([bool(g) for g in names], dtype=np.bool_) for names in (mated_names, stranger_names))
    return (
        wilson_by_person(is_named, strangers),
        wilson_by_person(~is_right, owners),
        wilson_by_person(is_wrong & ~is_right, owners),
    )

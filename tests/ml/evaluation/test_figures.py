import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from ml.evaluation.enrolment import NOBODY
from ml.evaluation.figures import det_figure, histogram_figure, size_figure
from ml.evaluation.searches import make_probes
from ml.evaluation.sizes import draw_galleries, size_rows
from ml.evaluation.variants import Searches, VariantResult, customary_variant, measure, rule_variants
from ml.priors import assumed_prior
from ml.types import ScoreRule
from tests.ml.evaluation.crowd import make_searches, make_seen

RULE = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)


def make_results(*, searches: Searches) -> list[VariantResult]:
    customary = customary_variant("dlib-resnet")
    assert customary is not None
    return [measure(variant, searches, seed=0) for variant in (customary, *rule_variants(RULE))]


def make_faceless_searches() -> Searches:
    """Nobody has a face: neither enrolled people's probes nor strangers."""
    searches, _ = make_searches(n_people=2)
    seen = {Path(str(i)): make_seen(embeddings=[]) for i in range(4)}
    mated, _ = make_probes(list(seen), seen, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    strangers, _ = make_probes(list(seen), seen, np.arange(4), np.full(4, NOBODY))
    return Searches(searches.gallery, mated, strangers)


def words_of(svg: str) -> str:
    return " ".join("".join(element.itertext()) for element in ElementTree.fromstring(svg).iter() if element.text)


def test_every_way_of_scoring_has_its_line_and_the_customary_tolerance_its_mark() -> None:
    words = words_of(det_figure(make_results(searches=make_searches()[0])))
    for title in ("nearest template by L2", "centroid", "product's rule", "at the fixed tolerance 0.6"):
        assert title in words
    assert "0.1 %" in words and "FPIR" in words and "FNIR" in words


def test_the_histogram_shows_both_kinds_and_the_threshold() -> None:
    result = make_results(searches=make_searches()[0])[-1]
    words = words_of(histogram_figure(result, result.rows[1]))
    assert "strangers (60)" in words and f"threshold {result.rows[1].threshold:.4f}" in words


def test_a_line_per_target_by_gallery_size() -> None:
    drawn = draw_galleries(make_searches()[0], np.arange(12), RULE, seed=0)
    words = words_of(size_figure(size_rows(drawn, assumed_prior(0.3, 0.1, 0.6))))
    assert all(label in words for label in ("5 %", "1 %", "0.3 %", "0.1 %", "enrolled people"))


def test_where_nobody_has_a_face_there_are_still_figures() -> None:
    searches = make_faceless_searches()
    faceless = make_results(searches=searches)
    rows = size_rows(draw_galleries(searches, np.arange(2), RULE, seed=0), assumed_prior(0.3, 0.1, 0.6))
    assert all(row.fnir.value == 1.0 for row in faceless[-1].rows)
    for svg in (det_figure(faceless), histogram_figure(faceless[-1], faceless[-1].rows[1]), size_figure(rows)):
        ElementTree.fromstring(svg)


def test_figures_of_one_page_share_no_ids() -> None:
    result = make_results(searches=make_searches()[0])[-1]
    ids = [
        {element.get("id") for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("clipPath")}
        for svg in (histogram_figure(result, result.rows[1]), histogram_figure(result, result.rows[1]))
    ]
    assert ids[0] and ids[0].isdisjoint(ids[1])

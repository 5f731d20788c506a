import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from ml.comparison import Difference
from ml.evaluation.cache import ArrayCache
from ml.evaluation.enrolment import NOBODY
from ml.evaluation.figures import fusion_figure
from ml.evaluation.fusion import DEFAULT, Crowd, FusionRow, FusionTable, compare_fusions, frames_of
from ml.evaluation.page import render_page
from ml.evaluation.report import Circumstances, as_json
from ml.evaluation.run import BackboneNetworks, ModelResult, Options, choose_protocol, evaluate, photos_of
from ml.evaluation.samples import PhotoReader
from ml.evaluation.searches import make_probes
from ml.evaluation.variants import PRODUCT, Searches, measure, rule_variants
from ml.types import Interval
from tests.ml.evaluation.conftest import OPTIONS
from tests.ml.evaluation.crowd import DIM, RULE, make_enrolment, make_searches, make_seen
from tests.ml.evaluation.photo_folders import make_empty_photos, make_folder

SINGLE = ("mean", "quality", "max", "direction", "lstm")
LEARNED = {"PCA of the cohort: half the dimensions", "LSTM"}


def make_crowd(*, n_people: int = 12, n_cohort: int = 24, n_strangers: int = 60) -> Crowd:
    searches, enrolment = make_searches(n_people=n_people, n_strangers=n_strangers)
    cohort = frames_of(make_enrolment(n_people=n_cohort, seed=50)[0].people) if n_cohort else []
    return Crowd(searches, frames_of(enrolment.people), cohort)


def make_row(*, fnir: float, difference: tuple[float, float] | None = None) -> FusionRow:
    """A row whose FNIR differs from the default's 0.10 by what the interval is around; the default without one."""
    is_default = difference is None
    return FusionRow(
        fusion="all" if is_default else "mean",
        matcher="product",
        title="ours" if is_default else f"other {fnir}",
        is_default=is_default,
        fnir=Interval(fnir, fnir / 2, fnir * 2),
        difference=None if difference is None else Difference(fnir - 0.10, *difference),
        rank1=Interval(0.9, 0.8, 1.0),
        n_bytes=512.0,
        search_us=10.0,
        fit_s=None,
        setting="",
    )


def make_table(*rows: FusionRow) -> FusionTable:
    return FusionTable(0.01, (make_row(fnir=0.10), *rows), ())


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    return make_crowd()


@pytest.fixture(scope="module")
def table(crowd: Crowd) -> FusionTable:
    return compare_fusions(crowd, RULE, seed=0)


@pytest.fixture
def by_name(table: FusionTable) -> dict[tuple[str, str], FusionRow]:
    return {(row.fusion, row.matcher): row for row in table.rows}


def test_every_way_is_measured_with_the_searches_that_suit_it(table: FusionTable) -> None:
    names = [(row.fusion, row.matcher) for row in table.rows]
    assert names[:5] == [("all", each) for each in ("product", "nearest", "knn", "svm", "logistic")]
    assert sorted(names[5:]) == sorted((way, each) for way in (*SINGLE, "pca") for each in ("product", "nearest"))
    assert table.left_out == ()
    assert [row.is_default for row in table.rows] == [(row.fusion, row.matcher) == DEFAULT for row in table.rows]


def test_the_default_is_what_the_product_measures(crowd: Crowd, by_name: dict[tuple[str, str], FusionRow]) -> None:
    product = measure(rule_variants(RULE)[-1], crowd.searches, seed=0)
    default = by_name[DEFAULT]
    assert product.variant.name == PRODUCT
    assert (default.fnir, default.rank1) == (product.rows[1].fnir, product.rank1)
    nearest = measure(rule_variants(RULE)[0], crowd.searches, seed=0)
    assert by_name["all", "nearest"].fnir == nearest.rows[1].fnir


def test_the_mean_is_the_centroid(crowd: Crowd, by_name: dict[tuple[str, str], FusionRow]) -> None:
    centroid = measure(next(v for v in rule_variants(RULE) if v.name == "centroid"), crowd.searches, seed=0)
    assert by_name["mean", "nearest"].fnir == centroid.rows[1].fnir
    assert by_name["quality", "nearest"].fnir == centroid.rows[1].fnir  # all of one quality


def test_differences_are_those_to_the_default(table: FusionTable) -> None:
    default = table.rows[0]
    assert default.difference is None
    for row in table.rows[1:]:
        assert row.difference is not None
        assert row.difference.value == pytest.approx(row.fnir.value - default.fnir.value)
        assert row.difference.low <= row.difference.value <= row.difference.high


def test_storage_and_time_are_told_and_learning_where_something_is_learned(table: FusionTable) -> None:
    vector = DIM * 4
    for row in table.rows:
        assert row.search_us is not None and row.search_us > 0
        is_learned = row.fusion in ("lstm", "pca") or row.matcher in ("svm", "logistic")
        assert (row.fit_s is not None) == is_learned
        if row.fusion in SINGLE:
            assert row.n_bytes == vector
    assert [row.n_bytes for row in table.rows[:3]] == [4 * vector, 3 * vector, 3 * vector]
    assert all(row.n_bytes > 3 * vector for row in table.rows[3:5])
    halves = {row.matcher: row.n_bytes for row in table.rows if row.fusion == "pca"}
    assert halves == {"product": 4 * vector / 2, "nearest": 3 * vector / 2}


def test_the_same_seed_measures_the_same(crowd: Crowd, table: FusionTable) -> None:
    again = compare_fusions(crowd, RULE, seed=0)
    assert [(r.fnir, r.difference, r.setting) for r in again.rows] == [
        (r.fnir, r.difference, r.setting) for r in table.rows
    ]


def test_other_strangers_move_thresholds_and_nothing_that_is_learned(crowd: Crowd, table: FusionTable) -> None:
    """Rank 1 of enrolled people's photos, whatever the score, would change with anything fitted on strangers."""
    others = make_crowd(n_strangers=90).searches.strangers
    moved = replace(crowd, searches=replace(crowd.searches, strangers=others))
    again = compare_fusions(moved, RULE, seed=0)
    assert [(r.rank1, r.setting) for r in again.rows] == [(r.rank1, r.setting) for r in table.rows]
    assert [r.fnir for r in again.rows] != [r.fnir for r in table.rows]


def test_thresholds_are_those_of_strangers_alone(crowd: Crowd, table: FusionTable) -> None:
    """Strangers who look like nobody let more photos of enrolled people through, who set no threshold themselves."""
    strangers, middle = crowd.searches.strangers, crowd.searches.gallery.centroids.mean(axis=0)
    opposite = np.repeat(-middle[None] / np.linalg.norm(middle), len(strangers.embeddings), axis=0)
    searches = replace(crowd.searches, strangers=replace(strangers, embeddings=opposite))
    row = compare_fusions(replace(crowd, searches=searches, cohort=[]), RULE, seed=0).rows[0]
    product = measure(rule_variants(RULE)[-1], searches, seed=0)
    assert row.fnir == product.rows[1].fnir
    assert row.fnir.value < table.rows[0].fnir.value


def test_without_a_cohort_what_would_be_learned_from_it_is_left_out_with_the_reason() -> None:
    table = compare_fusions(make_crowd(n_cohort=0), RULE, seed=0)
    assert {each.title for each in table.left_out} == LEARNED
    assert all("no cohort" in each.reason for each in table.left_out)
    assert not {row.fusion for row in table.rows} & {"pca", "lstm"}


def test_a_small_cohort_is_told_with_what_it_lacks() -> None:
    reasons = {each.title: each.reason for each in compare_fusions(make_crowd(n_cohort=4), RULE, seed=0).left_out}
    assert reasons == {
        "PCA of the cohort: half the dimensions": "the cohort has 12 usable photos, and 16 dimensions need as many",
        "LSTM": "the cohort has 4 people with 3 usable photos, and learning needs 20",
    }


def test_one_person_needs_no_classifier() -> None:
    table = compare_fusions(make_crowd(n_people=1, n_cohort=0), RULE, seed=0)
    assert {row.matcher for row in table.rows} == {"product", "nearest", "knn"}
    [told] = [each for each in table.left_out if each.title not in LEARNED]
    assert told.title == "linear SVM and logistic regression" and "1 enrolled" in told.reason


def test_nobody_enrolled_is_an_empty_table() -> None:
    crowd = make_crowd(n_people=2, n_cohort=0)
    table = compare_fusions(replace(crowd, people=[]), RULE, seed=0)
    assert (table.rows, table.best, table.is_default_best) == ((), None, False)
    assert table.verdict.startswith("Nobody could be enrolled")


def test_where_no_probe_has_a_face_everybody_is_missed_and_no_time_told() -> None:
    crowd = make_crowd(n_people=4, n_cohort=0)
    seen = {Path(str(i)): make_seen(embeddings=[]) for i in range(4)}
    mated, _ = make_probes(list(seen), seen, np.arange(4), np.arange(4))
    strangers, _ = make_probes(list(seen), seen, np.arange(4), np.full(4, NOBODY))
    faceless = replace(crowd, searches=Searches(crowd.searches.gallery, mated, strangers))
    for row in compare_fusions(faceless, RULE, seed=0).rows:
        assert (row.fnir.value, row.search_us) == (1.0, None)


def test_frames_are_told_with_the_quality_of_their_face() -> None:
    scores = np.linspace(0.1, 0.9, 12, dtype=np.float32)
    people = replace(make_enrolment(n_people=4)[0].people, qualities=scores)
    frames = frames_of(people)
    assert len(frames) == 4
    np.testing.assert_allclose(np.concatenate([each.qualities for each in frames]), scores, atol=1e-6)
    np.testing.assert_array_equal(frames[2].embeddings, people.embeddings[6:9])


def test_a_default_that_misses_least_is_called_the_best_with_what_it_cannot_be_told_from() -> None:
    table = make_table(make_row(fnir=0.11, difference=(-0.01, 0.03)), make_row(fnir=0.30, difference=(0.1, 0.3)))
    assert table.is_default_best and table.beyond_chance == () and table.within_chance == ("other 0.11",)
    assert table.verdict == (
        "The default (ours) is the one that measures best. These photos cannot tell it from other 0.11."
    )


def test_a_default_that_another_way_may_beat_by_chance_is_not_called_the_best() -> None:
    table = make_table(make_row(fnir=0.08, difference=(-0.05, 0.01)))
    assert not table.is_default_best and table.beyond_chance == ()
    assert "is not the lowest: other 0.08 misses 2.0 percentage points less, but not beyond chance" in table.verdict


def test_a_default_that_is_beaten_beyond_chance_is_told() -> None:
    table = make_table(make_row(fnir=0.08, difference=(-0.05, 0.01)), make_row(fnir=0.05, difference=(-0.08, -0.02)))
    assert not table.is_default_best
    assert table.verdict == "The default (ours) is NOT the best: less is missed, beyond chance, by other 0.05."


def test_the_figure_has_a_line_for_every_row(table: FusionTable) -> None:
    svg = fusion_figure(table)
    assert all(row.title in svg for row in table.rows) and "FNIR at FPIR 1 %" in svg


def test_the_report_and_the_page_tell_the_table(
    table: FusionTable, results: list[ModelResult], small_folder: Path, circumstances: Circumstances
) -> None:
    compared = replace(results[0], fusion=table)
    protocol = choose_protocol(small_folder, None, OPTIONS)
    report = as_json(protocol, [compared, results[1]], OPTIONS, circumstances)
    told: dict[str, Any] = json.loads(json.dumps(report, allow_nan=False))["models"][0]["fusion"]
    assert [row["is_default"] for row in told["rows"]] == [True] + [False] * (len(table.rows) - 1)
    assert (told["is_default_best"], told["verdict"]) == (table.is_default_best, table.verdict)
    assert report["models"][1]["fusion"] is None
    page = render_page(report, [compared, results[1]])
    assert page.count("Many templates or one") == 1 and page.count("(default)</td>") == 1
    assert all(row.title in page for row in table.rows if "&" not in row.title and "'" not in row.title)


def test_the_cohort_is_looked_at_when_ways_are_compared(tmp_path: Path) -> None:
    make_empty_photos(tmp_path, counts={"ada": 5, "bob": 2, "cy": 3, "dee": 1, "eve": 1, "fay": 1})
    protocol = choose_protocol(tmp_path, None, Options(is_fusion_compared=True))
    assert len(protocol.cohort) > 0 and len(photos_of(protocol)) == 13


def test_ways_are_compared_as_the_service_runs_the_backbone_alone(
    backbones: list[BackboneNetworks], small_folder: Path, tmp_path: Path
) -> None:
    options = replace(OPTIONS, is_fusion_compared=True)
    networks = [network for backbone in backbones for network in backbone.all]
    reader = PhotoReader(networks, ArrayCache(tmp_path), min_face_px=40)
    protocol = choose_protocol(small_folder, None, options)
    mirrored, plain = evaluate(protocol, backbones, reader, options, lambda n_done, n_new: None)
    assert mirrored.fusion is not None and plain.fusion is None
    assert mirrored.fusion.rows[0].fnir == mirrored.product.rows[1].fnir


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)


def test_the_command_prints_the_table_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "220")
    result = run(make_folder(tmp_path / "faces"), "--fusion")
    assert result.exit_code == 0
    assert "Many templates or one" in result.stdout and "(default)" in result.stdout
    assert "Left out: LSTM, because the protocol has no cohort" in result.stdout
    assert "The default (all templates, product's rule) is the one that measures best." in result.stdout
    assert "Left out: One decision from several frames, because the protocol has no cohort" in result.stdout
    fusion = json.loads((tmp_path / "report" / "report.json").read_text())["models"][0]["fusion"]
    assert fusion["rows"] and fusion["pooling"] is None

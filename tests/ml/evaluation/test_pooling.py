import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from ml.backbones.card import ModelCard
from ml.comparison import Difference
from ml.enrolling import Photo
from ml.evaluation.enrolment import NOBODY, EnrolledPeople, enrol
from ml.evaluation.fusion import FusionTable
from ml.evaluation.fusion_ways import LeftOut
from ml.evaluation.page import render_page
from ml.evaluation.pooling import (
    BEST,
    TITLES,
    Answer,
    PoolingRow,
    PoolingTable,
    Tracks,
    answers,
    as_track,
    compare_pooling,
    paired_difference,
    stand_ins,
)
from ml.evaluation.report import Circumstances, as_json
from ml.evaluation.run import ModelResult, choose_protocol
from ml.evaluation.samples import Analyzed
from ml.evaluation.searches import make_probes
from ml.evaluation.variants import PRODUCT, Searches, measure, rule_variants
from ml.intervals import wilson
from ml.scoring import rank_candidates
from ml.tracking import Track, pool_track
from ml.types import FloatArray, Interval, Sample, ScoreRule
from tests.ml.evaluation.conftest import OPTIONS
from tests.ml.evaluation.crowd import BOUNDS, RULE, make_card, make_enrolment, make_searches, make_seen
from tests.ml.evaluation.photo_folders import make_folder
from tests.ml.factories import make_embeddings, make_near, make_quality, make_sample

COSINE = ScoreRule(centroid_weight=0.0, runner_up_weight=0.0, runner_up_floor=-1.0)
# One crowd for all: who somebody is takes 12 numbers, and what only one photo shows 24 others.
_WHO, _CHANCE = 12, 24
_LIKENESS = 0.75  # the share of a photo's length that says who it is


def make_rated(*, embedding: Sequence[float] | FloatArray, score: float = 0.9) -> Sample:
    quality = replace(make_quality(), score=score)
    return make_sample(embedding=np.asarray(embedding, dtype=np.float32), quality=quality)


def make_axes(*, n_people: int = 2, dim: int = 4) -> EnrolledPeople:
    """People with one template each: the first axes."""
    axes, ones = np.eye(dim, dtype=np.float32)[:n_people], np.ones(n_people, dtype=np.float32)
    return EnrolledPeople(np.arange(n_people), axes, ones, ones, axes)


def make_photos(*, who: FloatArray, n: int, seed: int) -> list[Sample]:
    chance = make_embeddings(n=n, dim=_CHANCE, seed=seed)
    same = np.repeat(_LIKENESS * who[None], n, axis=0)
    return [make_rated(embedding=e) for e in np.hstack([same, np.sqrt(1 - _LIKENESS**2) * chance])]


def make_tracks(*, people: FloatArray, n_frames: int, seed: int, is_enrolled: bool) -> Tracks:
    tracks = [as_track(make_photos(who=who, n=n_frames, seed=seed + i)) for i, who in enumerate(people)]
    rows = np.arange(len(people)) if is_enrolled else np.full(len(people), NOBODY)
    return Tracks(tracks, rows, len(people))


def make_noisy_searches(*, people: FloatArray, n_strangers: int) -> Searches:
    """People enrolled with three photos each, and strangers searched with one; no mated photo is searched."""
    photos = [[Path(f"{person}/{i}") for i in range(3)] for person in range(len(people))]
    seen = {}
    for person, own in enumerate(photos):
        taken = make_photos(who=people[person], n=3, seed=1000 + person)
        seen |= {path: Analyzed(Photo([one], (180, 200)), (1.0,)) for path, one in zip(own, taken, strict=True)}
    strange = {}
    for i, who in enumerate(make_embeddings(n=n_strangers, dim=_WHO, seed=1)):
        [one] = make_photos(who=who, n=1, seed=5000 + i)
        strange[Path(f"stranger/{i}")] = Analyzed(Photo([one], (180, 200)), (1.0,))
    nobody = np.full(n_strangers, NOBODY)
    strangers, _ = make_probes(list(strange), strange, np.arange(n_strangers), nobody)
    mated, _ = make_probes([], {}, np.arange(0), np.arange(0))
    return Searches(enrol(photos, seen, BOUNDS, _WHO + _CHANCE).people, mated, strangers)


def make_noisy_card() -> ModelCard:
    return replace(make_card(), dim=_WHO + _CHANCE)


def make_row(*, way: str, fnir: float, fpir: Interval, difference: Difference | None = None) -> PoolingRow:
    return PoolingRow(way, TITLES[way], way == PRODUCT, fpir, Interval(fnir, fnir / 2, fnir * 2), difference)


def make_table(*, fnir: float, difference: Difference, fpir: Interval) -> PoolingTable:
    """A table whose best single frame misses 5 % of 200 tracks."""
    rows = (
        make_row(way=BEST, fnir=0.05, fpir=Interval(0.01, 0.004, 0.02)),
        make_row(way=PRODUCT, fnir=fnir, fpir=fpir, difference=difference),
    )
    return PoolingTable(0.01, 0.36, 200, 500, rows)


@pytest.fixture(scope="module")
def crowd() -> tuple[Searches, Tracks, Tracks]:
    people = make_embeddings(n=30, dim=_WHO, seed=0)
    return (
        make_noisy_searches(people=people, n_strangers=1000),
        make_tracks(people=people, n_frames=6, seed=20_000, is_enrolled=True),
        make_tracks(people=make_embeddings(n=300, dim=_WHO, seed=2), n_frames=6, seed=30_000, is_enrolled=False),
    )


@pytest.fixture(scope="module")
def table(crowd: tuple[Searches, Tracks, Tracks]) -> PoolingTable:
    made = compare_pooling(*crowd, make_noisy_card(), seed=0)
    assert isinstance(made, PoolingTable)
    return made


def test_ways_worked_out_by_hand() -> None:
    """Cosines with the first person: 0.6 in the best photo, 0.8 and 1 in poorer ones, all otherwise unlike anybody."""
    samples = [
        make_rated(embedding=[0.6, 0, 0.8, 0], score=0.9),
        make_rated(embedding=[0.8, 0, 0, 0.6], score=0.6),
        make_rated(embedding=[1, 0, 0, 0], score=0.3),
    ]
    made = answers(as_track(samples), make_axes().index("m"), COSINE)
    mean = np.array([0.6 + 0.8 + 1, 0, 0.8, 0.6]) / 3
    expected = {
        BEST: 0.6,
        PRODUCT: mean[0],
        "unit": mean[0] / np.linalg.norm(mean),
        "mean": 0.8,
        "median": 0.8,
        "any": 1.0,
    }
    assert list(made) == list(TITLES) == list(expected)
    assert {way: answer.score for way, answer in made.items()} == pytest.approx(expected, abs=1e-6)
    assert {answer.person_id for answer in made.values()} == {"0"}


def test_mean_and_median_name_whom_most_frames_name_and_any_the_surest() -> None:
    frames: list[list[float]] = [[0.6, 0, 0.8, 0], [0.5, 0, 0, 0.75**0.5], [0.28, 0.96, 0, 0]]
    made = answers(as_track([make_rated(embedding=each) for each in frames]), make_axes().index("m"), COSINE)
    assert {way: made[way].person_id for way in ("mean", "median", "any")} == {"mean": "0", "median": "0", "any": "1"}
    assert made["mean"].score == pytest.approx((0.6 + 0.5 + 0.96) / 3) and made["median"].score == pytest.approx(0.6)


def test_among_people_named_equally_often_the_surest_frame_decides() -> None:
    frames: list[list[float]] = [[0.6, 0, 0.8, 0], [0, 0.8, 0, 0.6]]
    made = answers(as_track([make_rated(embedding=each) for each in frames]), make_axes().index("m"), COSINE)
    assert made["mean"] == Answer("1", pytest.approx(0.7))


def test_frames_that_are_all_the_same_are_one_frame_whatever_the_way() -> None:
    probe = make_near(embedding=make_enrolment(n_people=4)[1][2], cosine=0.8)
    gallery = make_enrolment(n_people=4)[0].people.index("m")
    made = answers(as_track([make_rated(embedding=probe)] * 3), gallery, RULE)
    assert {answer.person_id for answer in made.values()} == {"2"}
    assert [answer.score for answer in made.values()] == pytest.approx([made[BEST].score] * 6, abs=1e-6)


def test_the_products_row_is_what_the_product_decides(crowd: tuple[Searches, Tracks, Tracks]) -> None:
    searches, known, strangers = crowd
    gallery = searches.gallery.index("m")
    for track in (*known.tracks, *strangers.tracks[:30]):
        made, pooled = answers(track, gallery, RULE), pool_track(track)
        [hits] = gallery.search(pooled.embedding[None], 50)
        first = rank_candidates(hits, RULE, 50, pooled.agreement)[0]
        assert made[PRODUCT].person_id == first.person_id
        assert made[PRODUCT].score == pytest.approx(first.score, abs=1e-6)
        assert made["unit"].score == pytest.approx(rank_candidates(hits, RULE, 1)[0].score, abs=1e-6)
        [alone] = gallery.search(pooled.best.sample.embedding[None], 50)
        assert made[BEST].score == pytest.approx(rank_candidates(alone, RULE, 1)[0].score, abs=1e-6)


def test_the_threshold_is_the_one_that_single_photos_of_strangers_set(
    crowd: tuple[Searches, Tracks, Tracks], table: PoolingTable
) -> None:
    searches, known, _ = crowd
    probes, _ = make_probes([Path("none")], {Path("none"): make_seen(embeddings=[])}, np.zeros(1), np.zeros(1))
    product = measure(rule_variants(RULE)[-1], replace(searches, mated=probes), seed=0)
    row = next(row for row in product.rows if row.target_fpir == table.target_fpir)
    assert table.threshold == row.threshold
    assert (table.n_mated, table.n_non_mated, len(known.tracks)) == (30, 300, 30)


def test_rates_are_shares_of_tracks(crowd: tuple[Searches, Tracks, Tracks], table: PoolingTable) -> None:
    searches, known, strangers = crowd
    gallery = searches.gallery.index("m")
    for row in table.rows:
        right = [answers(track, gallery, RULE)[row.way] for track in known.tracks]
        missed = [a.score < table.threshold or a.person_id != str(i) for i, a in enumerate(right)]
        named = [answers(track, gallery, RULE)[row.way].score >= table.threshold for track in strangers.tracks]
        assert (row.fnir.value, row.fpir.value) == pytest.approx((np.mean(missed), np.mean(named)))
        assert row.fnir.low <= row.fnir.value <= row.fnir.high and row.fpir.low <= row.fpir.value <= row.fpir.high
        assert (row.difference is None) == (row.way == BEST)
        if row.difference is not None:
            assert row.difference.value == pytest.approx(row.fnir.value - table.best.fnir.value)


def test_fusing_to_unit_length_names_too_many_strangers_and_is_told_so(table: PoolingTable) -> None:
    """What only one photo shows cancels out: the rest, at unit length, is nearer to everybody, strangers included."""
    assert TITLES["unit"] in table.breaking and table.product.title not in table.breaking
    assert table.is_no_worse and table.is_promise_kept
    assert "keeps the promise" in table.verdict
    assert f"named, beyond chance, by {TITLES['unit']}" in table.verdict


def test_a_product_that_fused_to_unit_length_would_be_told_to_break_the_promise(table: PoolingTable) -> None:
    rows = [replace(row, is_product=row.way == "unit") for row in table.rows]
    broken = replace(table, rows=tuple(rows))
    assert not broken.is_promise_kept and "It BREAKS the promise" in broken.verdict


def test_the_same_seed_measures_the_same(crowd: tuple[Searches, Tracks, Tracks], table: PoolingTable) -> None:
    assert compare_pooling(*crowd, make_noisy_card(), seed=0) == table


def test_a_failure_to_enrol_is_a_miss_by_every_way(crowd: tuple[Searches, Tracks, Tracks]) -> None:
    searches, known, strangers = crowd
    failed = replace(known, own_rows=np.full(len(known.tracks), NOBODY))
    made = compare_pooling(searches, failed, strangers, make_noisy_card(), seed=0)
    assert isinstance(made, PoolingTable) and [row.fnir.value for row in made.rows] == [1.0] * len(TITLES)


def test_the_difference_is_paired_by_person() -> None:
    missed, before = np.zeros(100, dtype=np.bool_), np.zeros(100, dtype=np.bool_)
    before[:10] = True
    apart = paired_difference(missed, before, seed=0)
    assert apart.value == pytest.approx(-0.1) and apart.low < -0.1 < apart.high < 0
    missed[5:10], missed[10:15] = True, True
    swapped = paired_difference(missed, before, seed=0)
    assert swapped.value == 0 and swapped.low < 0 < swapped.high


def test_tracks_that_all_end_the_same_do_not_prove_that_nothing_differs() -> None:
    missed = np.arange(50) < 3
    apart = paired_difference(missed, missed, seed=0)
    assert (apart.value, -apart.low, apart.high) == (0.0, apart.high, wilson(0, 50).high)


def test_a_track_is_the_main_faces_of_the_usable_photos_of_one_person_at_most_eight() -> None:
    ada, bystander = make_embeddings(n=2)
    seen = {Path(f"{i}"): make_seen(embeddings=[make_near(embedding=ada, cosine=0.9, seed=i)]) for i in range(10)}
    main = make_sample(embedding=ada)
    passer_by = make_sample(embedding=bystander, box_xyxy=(0, 0, 41, 41))
    seen[Path("two")] = Analyzed(Photo([passer_by, main], (180, 200)), (1.0, 1.0))
    seen[Path("none")] = make_seen(embeddings=[])
    blurred = make_sample(embedding=ada, quality=make_quality(sharpness=0.0))
    seen[Path("blurred")] = Analyzed(Photo([blurred], (180, 200)), (1.0,))
    seen[Path("broken")] = Analyzed(Photo([], (0, 0)), error="image_truncated")
    names = [[str(i) for i in range(10)], ["two", "none", "blurred", "broken", "3"], ["0"], ["blurred", "1"]]
    made = stand_ins([[Path(name) for name in own] for own in names], np.array([4, 2, 1, 0]), seen)
    assert ([len(track.faces) for track in made.tracks], made.own_rows.tolist(), made.n_people) == ([8, 2], [4, 2], 4)
    first, second = made.tracks
    assert [face.sample for face in first.faces] == [seen[Path(f"{i}")].photo.samples[0] for i in range(8)]
    assert second.faces[0].sample is main
    assert second.n_clear == 2 and second.sightings.is_clear.all() and second.sightings.boxes_xyxy.shape == (2, 4)


def no_tracks(*, n_people: int = 0) -> Tracks:
    none: list[Track] = []
    return Tracks(none, np.empty(0, dtype=np.int64), n_people)


def test_the_table_is_left_out_with_the_reason() -> None:
    searches, enrolment = make_searches(n_people=4)
    some = Tracks([as_track([make_rated(embedding=make_embeddings(n=1)[0])] * 2)], np.zeros(1, dtype=np.int64), 1)
    card = make_card()

    def reason(searches: Searches, known: Tracks, strangers: Tracks) -> str:
        made = compare_pooling(searches, known, strangers, card, seed=0)
        assert isinstance(made, LeftOut) and made.title == "One decision from several frames"
        return made.reason

    assert reason(searches, some, no_tracks()).startswith("the protocol has no cohort")
    assert reason(searches, some, no_tracks(n_people=3)) == "nobody in the cohort has 2 usable photos"
    assert reason(searches, no_tracks(n_people=4), some) == "nobody is searched for with 2 usable photos"
    empty = replace(searches, gallery=enrolment.people.only(np.array([], dtype=np.int64)))
    assert reason(empty, some, some) == "nobody could be enrolled"


def test_pooling_that_misses_more_than_the_best_single_frame_is_told() -> None:
    table = make_table(fnir=0.10, difference=Difference(0.05, 0.01, 0.09), fpir=Interval(0.005, 0.0, 0.01))
    assert not table.is_no_worse and table.is_promise_kept
    assert table.verdict == (
        "The product's pooling (mean embedding at its own length) is WORSE than the best single frame: it misses "
        "10.0 % of tracks, that one 5.0 %, a difference beyond chance. It keeps the promise: 0.5 % of strangers' "
        "tracks are named, 1 % were promised."
    )


def test_pooling_that_misses_as_many_is_no_worse() -> None:
    table = make_table(fnir=0.05, difference=Difference(0.0, -0.02, 0.02), fpir=Interval(0.01, 0.005, 0.02))
    assert table.is_no_worse and table.is_promise_kept
    assert "no worse than the best single frame" in table.verdict and "a difference within chance" in table.verdict


def test_a_promise_that_may_be_broken_by_chance_is_neither_kept_nor_broken() -> None:
    table = make_table(fnir=0.0, difference=Difference(-0.05, -0.08, -0.02), fpir=Interval(0.014, 0.006, 0.03))
    assert not table.is_promise_kept and table.breaking == ()
    assert "It is above what is promised, but not beyond chance: 1.4 %" in table.verdict


def test_the_report_and_the_page_tell_the_table(
    table: PoolingTable, results: list[ModelResult], small_folder: Path, circumstances: Circumstances
) -> None:
    compared = replace(results[0], fusion=FusionTable(0.01, (), (), table))
    report = as_json(choose_protocol(small_folder, None, OPTIONS), [compared], OPTIONS, circumstances)
    told: dict[str, Any] = json.loads(json.dumps(report, allow_nan=False))["models"][0]["fusion"]["pooling"]
    assert [row["way"] for row in told["rows"]] == list(TITLES)
    assert (told["is_no_worse"], told["is_promise_kept"], told["verdict"]) == (True, True, table.verdict)
    assert (told["n_mated"], told["n_non_mated"], told["breaking"]) == (30, 300, list(table.breaking))
    page = render_page(report, [compared])
    assert page.count("<h4>One decision from several frames</h4>") == 1 and page.count("(the service)</td>") == 1
    assert "FPIR, 300 tracks" in page and "FNIR, 30 tracks" in page


def test_the_command_prints_the_table_where_there_is_a_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "220")
    faces = make_folder(tmp_path / "faces", n_eileen=2)
    known = {"Grace & <Hopper>": {"gallery": ["0.jpg", "1.jpg", "2.jpg"], "probes": ["3.jpg", "4.jpg"]}}
    protocol = {"known": known, "cohort": ["Eileen/0.jpg", "Eileen/1.jpg"], "strangers": ["Nobody/0.jpg"]}
    (faces / "protocol.json").write_text(json.dumps(protocol))
    result = CliRunner().invoke(app, ["evaluate", str(faces), "--fusion"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "One decision from several frames" in result.stdout and "(the service)" in result.stdout
    assert "is no worse than the best single frame" in result.stdout
    [model] = json.loads((tmp_path / "report" / "report.json").read_text())["models"]
    assert (model["fusion"]["pooling"]["n_mated"], model["fusion"]["pooling"]["n_non_mated"]) == (1, 1)

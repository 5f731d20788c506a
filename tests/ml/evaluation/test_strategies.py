"""The table of strategies: on random vectors with known answers, and on drawn photos where pixels are needed."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from app.cli.strategies_table import print_strategies
from ml.backbones.cards import find_card
from ml.enrolling import Photo
from ml.evaluation.enrolment import NOBODY
from ml.evaluation.matchers import MIN_PEOPLE
from ml.evaluation.report import _strategies
from ml.evaluation.samples import Analyzed
from ml.evaluation.searches import Probes
from ml.evaluation.strategies import (
    Contest,
    SoftmaxMatcher,
    StrategyTable,
    compare_strategies,
    lessons_of,
    self_tuned_threshold,
)
from ml.evaluation.strategies_learned import Base, FacePhotos, Lessons
from ml.evaluation.variants import DEFAULT_FPIR, Searches
from ml.training.scoring import gallery_of, measure_scoring
from ml.types import FloatArray
from tests.ml.evaluation.crowd import make_seen
from tests.ml.evaluation.photo_folders import write_photo
from tests.ml.faces import grace_hopper
from tests.ml.factories import make_embeddings, make_face, make_quality

DIM = 32
N_PEOPLE, N_STRANGERS, N_COHORT = 24, 150, 130
KNOWN = {"product", "nearest-fixed", "knn", "svm", "logistic", "softmax", "projection"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_photos_of(people: FloatArray, *, n_each: int, seed: int) -> FloatArray:
    """Photos in the order of people: dlib's scale, where everything is alike, and noise that is the same everywhere."""
    random = np.random.default_rng(seed)
    common = make_embeddings(n=1, dim=DIM, seed=99)
    noise = random.normal(size=(len(people) * n_each, DIM)) / np.sqrt(DIM)
    mixed = 0.9 * common + 0.4 * np.repeat(people, n_each, axis=0) + 0.16 * noise
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


def make_probes_of(people: FloatArray, *, seed: int, own_rows: np.ndarray, n_each: int = 2) -> Probes:
    photos = np.arange(len(people) * n_each)
    rows = np.repeat(own_rows, n_each)
    numbers = np.repeat(np.arange(len(people)), n_each)
    embeddings = make_photos_of(people, n_each=n_each, seed=seed)
    return Probes(embeddings, np.full(len(photos), 1.4, np.float32), photos, numbers, rows)


def make_contest(*, n_people: int = N_PEOPLE, card_name: str = "dlib-resnet") -> Contest:
    everybody = make_embeddings(n=n_people + N_STRANGERS + N_COHORT, dim=DIM, seed=3)
    known, strangers = everybody[:n_people], everybody[n_people : n_people + N_STRANGERS]
    rows = np.arange(n_people)
    gallery = gallery_of(make_photos_of(known, n_each=3, seed=4), np.repeat(rows, 3))
    gallery = replace(gallery, lengths=np.full(3 * n_people, 1.4, np.float32))
    cohort = make_photos_of(everybody[n_people + N_STRANGERS :], n_each=3, seed=5)
    numbers = np.repeat(np.arange(N_COHORT), 3)
    card = find_card(card_name)
    assert card.scoring is not None
    scoring = measure_scoring(cohort, numbers, np.full(len(cohort), np.nan), card.scoring)
    searches = Searches(
        gallery,
        make_probes_of(known, seed=6, own_rows=rows),
        make_probes_of(strangers, seed=7, own_rows=np.full(N_STRANGERS, NOBODY), n_each=1),
    )
    return Contest(
        searches,
        searches,
        Lessons(cohort, numbers),
        FacePhotos({}),
        Base(replace(card, dim=DIM, scoring=scoring), f"{card.name}/1", None, "cpu"),
    )


@pytest.fixture(scope="module")
def contest() -> Contest:
    return make_contest()


@pytest.fixture(scope="module")
def table(contest: Contest) -> StrategyTable:
    """Without photos: what learns from pixels cannot be measured, and must say so."""
    torch.set_num_threads(1)
    return compare_strategies(contest, seed=0)


def test_every_way_has_a_row_or_a_reason(table: StrategyTable) -> None:
    assert {row.name for row in table.rows} == KNOWN
    assert {each.title for each in table.left_out} == {"last blocks trained further", "small network from nothing"}
    assert all(each.reason for each in table.left_out)
    assert [row.name for row in table.rows if row.is_default] == ["product"] == [table.rows[0].name]


def test_what_recognises_too_few_to_set_a_threshold_has_a_row_that_says_so() -> None:
    """Learned from faces whose names were mixed up."""
    given = make_contest()
    mixed = np.random.default_rng(8).permutation(given.cohort.people)
    searches = replace(given.searches, gallery=given.searches.gallery.only(np.arange(MIN_PEOPLE)))
    contest = replace(given, cohort=Lessons(given.cohort.embeddings, mixed), searches=searches)
    (row,) = (row for row in compare_strategies(contest, seed=0).rows if row.name == "projection")
    assert "recognises too few" in row.note
    assert row.fpir.low <= DEFAULT_FPIR <= row.fpir.high  # chosen on the strangers


def test_a_softmax_classifier_names_every_stranger(table: StrategyTable) -> None:
    row = next(row for row in table.rows if row.name == "softmax")
    assert row.fpir.value == 1.0 and row.counts.n_strangers_rejected == 0
    assert row.fnir is None and "UNKNOWN" in row.note
    assert row.rank1.value > 0.9  # as a classifier of those who enrolled it is not bad at all


def test_the_products_threshold_is_its_own_and_keeps_its_promise(table: StrategyTable, contest: Contest) -> None:
    product = table.rows[0]
    scoring = contest.base.card.scoring
    assert scoring is not None
    assert product.threshold == self_tuned_threshold(contest.searches.gallery, scoring)
    assert product.fpir.low <= DEFAULT_FPIR <= product.fpir.high + 0.02
    assert product.fnir is not None and product.fnir.value < 0.5 and product.rank1.value > 0.95


def test_counts_add_up_for_every_row(table: StrategyTable, contest: Contest) -> None:
    for row in table.rows:
        assert row.counts.n_mated == contest.searches.mated.n_photos
        assert row.counts.n_non_mated == contest.searches.strangers.n_photos
        assert row.search_us is not None and row.search_us > 0
    by_name = {row.name: row for row in table.rows}
    for name in ("svm", "logistic"):  # set on the searches themselves
        assert by_name[name].fpir.value <= DEFAULT_FPIR and "flatters" in by_name[name].note
        assert by_name[name].train_s is not None
    assert by_name["product"].train_s is None


def test_strangers_and_probes_are_not_learned_from(contest: Contest) -> None:
    lessons = lessons_of(contest)
    learned = {face.tobytes() for face in lessons.embeddings}
    for probes in (contest.searches.mated, contest.searches.strangers):
        assert not learned & {face.tobytes() for face in probes.embeddings}
    assert len(np.unique(lessons.people)) == N_PEOPLE + N_COHORT
    assert len(learned) == 3 * (N_PEOPLE + N_COHORT)


def test_lessons_are_cut_between_people() -> None:
    people = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    lessons = Lessons(make_embeddings(n=9), people)
    assert lessons.first_people(9) is lessons
    assert lessons.first_people(7).people.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_tolerance_is_left_out_where_none_is_customary() -> None:
    table = compare_strategies(make_contest(n_people=6, card_name="sface"), seed=0)
    assert "nearest-fixed" not in {row.name for row in table.rows}
    assert any("no tolerance is customary for sface" in each.reason for each in table.left_out)
    assert any("sface cannot be trained further" in each.reason for each in table.left_out)


def test_two_people_are_too_few(contest: Contest) -> None:
    searches = contest.searches
    small = replace(contest, searches=replace(searches, gallery=searches.gallery.only(np.arange(2))))
    table = compare_strategies(small, seed=0)
    assert not table.rows and "2 enrolled" in table.left_out[0].reason


def test_softmax_learns_the_gallery_and_is_the_same_each_time() -> None:
    middles = make_embeddings(n=8, dim=DIM)
    rows = np.repeat(np.arange(8), 3)
    people = gallery_of(make_photos_of(middles, n_each=3, seed=1), rows)
    first, second = (SoftmaxMatcher.fit(people, seed=5) for _ in range(2))
    assert np.array_equal(first.weight, second.weight)
    hits = first.search(make_probes_of(middles, seed=2, own_rows=np.arange(8)))
    assert (hits.rows == np.repeat(np.arange(8), 2)).mean() > 0.9
    assert ((hits.scores > 1 / 8) & (hits.scores <= 1)).all()
    none = Probes(*(np.empty((0, DIM), np.float32), np.empty(0, np.float32)), *(np.empty(0, np.int64),) * 3)
    assert len(first.search(none).rows) == 0


def test_faces_are_found_in_their_photos_again(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.jpg", image=grace_hopper())
    seen = make_seen(embeddings=list(make_embeddings(n=2, dim=DIM)))
    sample = replace(seen.photo.samples[0], face=make_face(), quality=make_quality())
    other = replace(seen.photo.samples[1], face=make_face(box_xyxy=(60, 60, 200, 220)))
    photos = FacePhotos({path: Analyzed(Photo([sample, other], (260, 300)), (1.0, 1.0))})
    card = find_card("sface")
    embeddings = np.array([other.embedding, sample.embedding, other.embedding])
    chips = photos.all_chips(embeddings, card)
    assert chips.shape == (3, 112, 112, 3) and chips.dtype == np.uint8
    assert np.array_equal(chips[0], chips[2]) and not np.array_equal(chips[0], chips[1])
    assert photos.all_chips(embeddings[:0], card).shape == (0, 112, 112, 3)


def test_the_table_is_json_and_is_printed(table: StrategyTable) -> None:
    data = json.loads(json.dumps(_strategies(table), allow_nan=False))
    assert set(data) == {"target_fpir", "rows", "left_out"}
    assert {"accuracy", "precision", "recall", "f1"} <= set(data["rows"][0])
    text = StringIO()
    print_strategies(data, Console(file=text, width=250))
    assert "self-tuned" in text.getvalue() and "(the service)" in text.getvalue()
    assert "refuses" in text.getvalue() and "Left out: small network from nothing" in text.getvalue()
    assert asdict(table)["rows"][0]["is_default"]

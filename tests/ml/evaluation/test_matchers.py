from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from ml.evaluation.enrolment import EnrolledPeople
from ml.evaluation.matchers import C_GRID, KnnMatcher, LinearMatcher, Matcher, RuleMatcher
from ml.evaluation.searches import Probes, search
from ml.evaluation.variants import Searches
from ml.types import FloatArray, ScoreRule
from tests.ml.evaluation.crowd import DIM, make_enrolment, make_searches

RULE = ScoreRule(centroid_weight=2 / 3, runner_up_weight=0.5, runner_up_floor=0.3)
NEAREST = ScoreRule(centroid_weight=0.0, runner_up_weight=0.0, runner_up_floor=-1.0)


@pytest.fixture(scope="module")
def searches() -> Searches:
    return make_searches()[0]


def chosen_c(matcher: LinearMatcher) -> float:
    return float(matcher.setting.removeprefix("C = "))


def make_no_faces() -> Probes:
    none, nobody = np.empty(0, dtype=np.int64), np.array([-1])
    return Probes(np.empty((0, 0), dtype=np.float32), np.empty(0, dtype=np.float32), none, nobody, nobody)


def cosines_as_votes(distances: FloatArray) -> FloatArray:
    return np.maximum(1 - distances, 0)


def test_a_rule_searches_as_the_evaluation_of_the_product_does(searches: Searches) -> None:
    ours = RuleMatcher(searches.gallery, RULE).search(searches.mated)
    theirs = search(searches.mated, searches.gallery, RULE)
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_fused_templates_are_kept_only_where_they_are_searched_besides(searches: Searches) -> None:
    gallery, vector = searches.gallery, DIM * 4
    assert RuleMatcher(gallery, RULE).n_bytes == (3 + 1) * 12 * vector
    assert RuleMatcher(gallery, NEAREST).n_bytes == 3 * 12 * vector
    ones = np.ones(12, dtype=np.float32)
    single = EnrolledPeople(np.arange(12), gallery.centroids, ones, ones, gallery.centroids)
    assert RuleMatcher(single, RULE).n_bytes == 12 * vector


def test_neighbours_name_whom_scikit_learn_names(searches: Searches) -> None:
    gallery, probes = searches.gallery, searches.mated
    theirs = KNeighborsClassifier(3, metric="cosine", algorithm="brute", weights=cosines_as_votes)
    theirs.fit(gallery.embeddings, gallery.person_rows)
    hits = KnnMatcher.fit(gallery).search(probes)
    np.testing.assert_array_equal(hits.rows, theirs.predict(probes.embeddings))


def test_the_score_of_neighbours_is_the_winners_cosines_over_k(searches: Searches) -> None:
    gallery, probes = searches.gallery, searches.strangers
    hits = KnnMatcher.fit(gallery).search(probes)
    for embedding, row, score in zip(probes.embeddings, hits.rows, hits.scores, strict=True):
        cosines = gallery.embeddings @ embedding
        nearest = np.argsort(-cosines)[:3]
        own = gallery.person_rows[nearest] == row
        assert own.any() and score == pytest.approx(cosines[nearest][own].sum() / 3, abs=1e-6)
    assert KnnMatcher.fit(gallery).setting == "k = 3"


def test_a_vector_machine_answers_as_scikit_learns(searches: Searches) -> None:
    gallery, probes = searches.gallery, searches.mated
    matcher = LinearMatcher.fit_svm(gallery)
    theirs = LinearSVC(C=chosen_c(matcher), dual=False).fit(gallery.embeddings, gallery.person_rows)
    hits = matcher.search(probes)
    np.testing.assert_array_equal(hits.rows, theirs.predict(probes.embeddings))
    np.testing.assert_allclose(hits.scores, theirs.decision_function(probes.embeddings).max(axis=1), atol=1e-9)


def test_logistic_regression_answers_as_scikit_learns(searches: Searches) -> None:
    gallery, probes = searches.gallery, searches.mated
    matcher = LinearMatcher.fit_logistic(gallery)
    theirs = LogisticRegression(C=chosen_c(matcher), max_iter=10_000).fit(gallery.embeddings, gallery.person_rows)
    hits = matcher.search(probes)
    np.testing.assert_array_equal(hits.rows, theirs.predict(probes.embeddings))
    highest = theirs.predict_proba(probes.embeddings).max(axis=1).astype(np.float64)
    np.testing.assert_allclose(1 / (1 + np.exp(-hits.scores)), highest, atol=1e-6)


@pytest.mark.parametrize("fit", [LinearMatcher.fit_svm, LinearMatcher.fit_logistic])
def test_c_is_chosen_from_the_grid_and_the_weights_are_counted(fit: object, searches: Searches) -> None:
    matcher: LinearMatcher = fit(searches.gallery)  # type: ignore[operator]
    assert chosen_c(matcher) in C_GRID
    templates = searches.gallery.embeddings.nbytes
    n_weights = 12 * (DIM + 1)
    assert matcher.n_bytes - templates in (4 * n_weights, 8 * n_weights)


def test_people_with_too_few_photos_to_choose_by_are_fitted_all_the_same() -> None:
    whole = make_enrolment(n_people=5)[0].people
    first = np.flatnonzero(np.diff(whole.person_rows, prepend=-1))
    single = replace(
        whole,
        person_rows=np.arange(5),
        embeddings=whole.embeddings[first],
        lengths=whole.lengths[first],
        qualities=whole.qualities[first],
    )
    matcher = LinearMatcher.fit_svm(single)
    assert matcher.setting == "C = 1"
    assert len(matcher.classifier.classes_) == 5
    assert KnnMatcher.fit(single.only(np.array([0, 1]))).setting == "k = 2"


def test_without_any_face_there_is_nothing_to_name(searches: Searches) -> None:
    gallery = searches.gallery
    matchers: list[Matcher] = [
        RuleMatcher(gallery, RULE),
        KnnMatcher.fit(gallery),
        LinearMatcher.fit_logistic(gallery),
    ]
    for matcher in matchers:
        hits = matcher.search(make_no_faces())
        assert (len(hits.rows), len(hits.scores)) == (0, 0)

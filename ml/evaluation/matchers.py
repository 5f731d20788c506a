"""Ways to search templates: the product's own scoring, and the classifiers that are customarily put in its place.

A classifier is fitted on the gallery, as it would be in production, and answers with one of the people whoever is
searched; whether that is a stranger is decided, as everywhere here, by a threshold on its score.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from ml.evaluation.enrolment import EnrolledPeople, Rows
from ml.evaluation.protocol import N_GALLERY_PHOTOS
from ml.evaluation.searches import Probes, TopHits, search
from ml.types import ScoreRule

C_GRID: Final = (0.1, 1.0, 10.0, 100.0, 1000.0)
MIN_PEOPLE: Final = 3  # with two a linear classifier is one line between them, and with one there is none
_DEFAULT_C: Final = 1.0  # scikit-learn's, where people have too few photos to choose by
_N_FOLDS: Final = N_GALLERY_PHOTOS  # each fold leaves out one photo of everybody with the usual number
_N_NEIGHBOURS: Final = N_GALLERY_PHOTOS
# Neither came near it: the slowest of the grid took 163 rounds, with 305 people.
_MAX_ROUNDS: Final = 10_000


class Matcher(Protocol):
    """A gallery made ready for searching; `n_bytes` must be kept for it, `setting` says what was chosen by data."""

    @property
    def n_bytes(self) -> int: ...

    @property
    def setting(self) -> str: ...

    def search(self, probes: Probes) -> TopHits:
        """The best person for every face, with a score that is higher the more alike they are."""


@dataclass(frozen=True, slots=True, eq=False)
class RuleMatcher:
    """Cosines, scored by a rule of `ml.scoring`: range -1..1 less what is taken off for the runner-up."""

    people: EnrolledPeople
    rule: ScoreRule
    setting: str = ""

    @property
    def n_bytes(self) -> int:
        """Templates; and the fused ones where they are others, and count."""
        is_fused_apart = self.rule.centroid_weight > 0 and len(self.people.embeddings) > self.people.n_people
        return self.people.embeddings.nbytes + (self.people.centroids.nbytes if is_fused_apart else 0)

    def search(self, probes: Probes) -> TopHits:
        return search(probes, self.people, self.rule)


@dataclass(frozen=True, slots=True, eq=False)
class KnnMatcher:
    """scikit-learn's k nearest neighbours, each with its cosine as its vote.

    The score is what the winner's votes come to over k, so at most 1: the share of votes alone would be 1 for every
    stranger whose neighbours agree.
    """

    neighbours: KNeighborsClassifier
    person_rows: Rows
    n_bytes: int
    setting: str

    @classmethod
    def fit(cls, people: EnrolledPeople) -> "KnnMatcher":
        """Fit on a gallery that is not empty."""
        k = min(_N_NEIGHBOURS, len(people.embeddings))
        neighbours = KNeighborsClassifier(k, metric="cosine", algorithm="brute")
        neighbours.fit(people.embeddings, people.person_rows)
        return cls(neighbours, people.person_rows, people.embeddings.nbytes, f"k = {k}")

    def search(self, probes: Probes) -> TopHits:
        if not len(probes.embeddings):
            return _no_faces()
        distances, templates = self.neighbours.kneighbors(probes.embeddings)
        votes, rows = 1.0 - distances.astype(np.float64), self.person_rows[templates]
        # For each neighbour, the votes of all neighbours who are the same person.
        shared = (votes[:, None, :] * (rows[:, :, None] == rows[:, None, :])).sum(axis=2)
        faces, winner = np.arange(len(rows)), shared.argmax(axis=1)
        return TopHits(rows[faces, winner], shared[faces, winner] / votes.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class LinearMatcher:
    """A linear classifier of scikit-learn over all people.

    The score is the highest decision value for a support vector machine, and for logistic regression the logarithm of
    the highest probability's odds: in the order of the probability, which itself would be 1.0 for everybody near.
    """

    classifier: LinearSVC | LogisticRegression
    n_bytes: int
    setting: str

    @classmethod
    def fit_svm(cls, people: EnrolledPeople) -> "LinearMatcher":
        """Fit a linear support vector machine, one person against the rest; at least `MIN_PEOPLE`."""
        # The primal problem, because the dual one does not converge for large C.
        return cls._fit(LinearSVC(dual=False, max_iter=_MAX_ROUNDS), people)

    @classmethod
    def fit_logistic(cls, people: EnrolledPeople) -> "LinearMatcher":
        """Fit a multinomial logistic regression; at least `MIN_PEOPLE`."""
        return cls._fit(LogisticRegression(max_iter=_MAX_ROUNDS), people)

    @classmethod
    def _fit(cls, classifier: LinearSVC | LogisticRegression, people: EnrolledPeople) -> "LinearMatcher":
        best_c = _choose_c(classifier, people)
        classifier.set_params(C=best_c).fit(people.embeddings, people.person_rows)
        n_weights = classifier.coef_.nbytes + classifier.intercept_.nbytes
        # Without the templates it could not be fitted again when the next person enrols.
        return cls(classifier, people.embeddings.nbytes + n_weights, f"C = {best_c:g}")

    def search(self, probes: Probes) -> TopHits:
        if not len(probes.embeddings):
            return _no_faces()
        values = np.asarray(self.classifier.decision_function(probes.embeddings), dtype=np.float64)
        faces, rows = np.arange(len(values)), values.argmax(axis=1)
        best = values[faces, rows]
        if isinstance(self.classifier, LinearSVC):
            return TopHits(rows, best)
        values[faces, rows] = -np.inf
        return TopHits(rows, best - logsumexp(values, axis=1))


def _choose_c(classifier: LinearSVC | LogisticRegression, people: EnrolledPeople) -> float:
    """The C that names most of people's own left-out photos right; the smallest of equals."""
    n_photos = np.bincount(people.person_rows)
    is_used = n_photos[people.person_rows] >= _N_FOLDS  # others would be missing in a fold
    if len(np.unique(people.person_rows[is_used])) < MIN_PEOPLE:
        return _DEFAULT_C
    search_c = GridSearchCV(classifier, {"C": C_GRID}, cv=StratifiedKFold(_N_FOLDS), refit=False)
    search_c.fit(people.embeddings[is_used], people.person_rows[is_used])
    return float(search_c.best_params_["C"])


def _no_faces() -> TopHits:
    return TopHits(np.empty(0, np.int64), np.empty(0))

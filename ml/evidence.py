"""A gallery searched with its own templates: what strangers and enrolled people score, without a single new photo.

Non-mated: each template is searched against everybody but its own person. That is a search by somebody who is not
enrolled, at full gallery size, by the deployment's own cameras and people. Mated: each template is searched with
itself left out, and with its whole enrolment left out where the person has another one, because the frames of one
clip are near copies of each other and would flatter the result. Of somebody who has nothing but one clip, no search
is a mated one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.gallery import GallerySnapshot
from ml.scoring import decision_scores, person_scores
from ml.types import FloatArray, ScoreRule

# More searches than this say nothing more about a rate of 0.1 %, and cost minutes in a large gallery. Everybody is
# searched once all the same: a look-alike who was not searched would not be found.
MAX_SEARCHES = 20_000
# Values of one block of the probe-by-template matrix: 64 MB of float32.
_BLOCK_VALUES = 16_000_000


@dataclass(frozen=True, slots=True, eq=False)
class GalleryEvidence:
    """One row per template searched; all arrays `(M,)` unless said otherwise.

    `template_ids` were searched; `person_rows` are places in `person_ids`, everybody in the gallery. `non_mated` is the
    decision score that the template reaches as a stranger, for the person in row `rival_rows` (-1: there is nobody
    else). `mated` is its decision score for its own person and `lead` how far that is ahead of the best other person's,
    both NaN where nothing of theirs is left to compare with, and `mated` also where only frames of the same clip are.
    `n_left` is how many templates of them were left.
    """

    person_ids: tuple[str, ...]
    template_ids: NDArray[np.int64]
    person_rows: NDArray[np.int64]
    non_mated: FloatArray
    rival_rows: NDArray[np.int64]
    mated: FloatArray
    lead: FloatArray
    n_left: NDArray[np.int64]

    @property
    def is_rank1(self) -> NDArray[np.bool_]:
        """Rows whose own person comes first."""
        return np.asarray(self.lead > 0)

    @property
    def is_non_mated(self) -> NDArray[np.bool_]:
        """Rows that are a search by a stranger: somebody else is enrolled."""
        return self.rival_rows >= 0

    @property
    def is_mated(self) -> NDArray[np.bool_]:
        """Rows that are a search by an enrolled person: something of theirs was left that is no near copy."""
        return ~np.isnan(self.mated)


def search_gallery(
    snapshot: GallerySnapshot,
    enrolments: NDArray[np.int64],
    rule: ScoreRule,
    *,
    is_clip: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> GalleryEvidence:
    """Search a gallery with its own templates.

    Args:
        snapshot: the gallery.
        enrolments: `(T,)` which enrolment each template comes from, any numbering, in the snapshot's order.
        rule: the one that decides in production.
        is_clip: `(T,)` whether that enrolment was a video; None: none was.
        seed: for the choice of templates where there are more than `MAX_SEARCHES`.

    Returns:
        Evidence with at most `MAX_SEARCHES` rows, or one for each person where there are more people, ordered by
        template id; memory stays near 200 MB.
    """
    by_person = np.argsort(snapshot.person_rows, kind="stable")
    templates, owners = snapshot.embeddings[by_person], snapshot.person_rows[by_person]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]]) if len(owners) else np.empty(0, np.int64)
    searched = _sample(len(owners), starts, seed)
    centroids = _centroids(templates, starts)
    own = _own_scores(templates, owners, enrolments[by_person], starts, searched, rule)
    others = _best_others(templates, owners, starts, centroids, searched, rule)
    rows = by_person[searched]
    order = np.argsort(rows)
    mated = decision_scores(own.score, others.best, rule)
    if is_clip is not None:
        mated = np.where(own.is_same_enrolment & is_clip[rows], np.float32(np.nan), mated)
    return GalleryEvidence(
        person_ids=snapshot.person_ids,
        template_ids=snapshot.template_ids[rows][order],
        person_rows=owners[searched][order],
        non_mated=decision_scores(others.best, others.second, rule)[order],
        rival_rows=others.best_row[order],
        mated=mated[order],
        lead=(decision_scores(own.score, others.best, rule) - decision_scores(others.best, own.score, rule))[order],
        n_left=own.n_left[order],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """Person score of each template for its own person, NaN without any left; how many were left, and from where."""

    score: FloatArray
    n_left: NDArray[np.int64]
    is_same_enrolment: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Others:
    """The two best person scores among all other people, -inf where there are fewer, and whose the first is."""

    best: FloatArray
    second: FloatArray
    best_row: NDArray[np.int64]


def _sample(n: int, starts: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Rows to search: one of each person, whose rows begin at `starts`, and then any."""
    if n <= MAX_SEARCHES:
        return np.arange(n)
    generator = np.random.default_rng(seed)
    of_each = generator.integers(starts, np.r_[starts[1:], n])
    others = np.setdiff1d(np.arange(n), of_each, assume_unique=True)
    more = generator.choice(others, max(0, MAX_SEARCHES - len(of_each)), replace=False)
    return np.sort(np.r_[of_each, more])


def _centroids(templates: FloatArray, starts: NDArray[np.int64]) -> FloatArray:
    if not len(starts):
        return templates
    sums = np.add.reduceat(templates, starts, axis=0)
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), dtype=np.float32)


def _own_scores(
    templates: FloatArray,
    owners: NDArray[np.int64],
    enrolments: NDArray[np.int64],
    starts: NDArray[np.int64],
    searched: NDArray[np.int64],
    rule: ScoreRule,
) -> _Own:
    ends = np.r_[starts[1:], len(owners)]
    scores = np.full(len(searched), np.nan, dtype=np.float32)
    n_left, is_same_enrolment = np.zeros(len(searched), dtype=np.int64), np.zeros(len(searched), dtype=bool)
    for i, row in enumerate(searched):
        start, end = int(starts[owners[row]]), int(ends[owners[row]])
        left = _left_over(int(row), start, end, enrolments)
        n_left[i] = len(left)
        if len(left):
            is_same_enrolment[i] = enrolments[left[0]] == enrolments[row]
            mean = templates[left].mean(axis=0)
            centroid_score = templates[row] @ mean / np.linalg.norm(mean)
            best_score = (templates[left] @ templates[row]).max()
            scores[i] = person_scores(centroid_score, best_score, rule)
    return _Own(scores, n_left, is_same_enrolment)


def _left_over(row: int, start: int, end: int, enrolments: NDArray[np.int64]) -> NDArray[np.int64]:
    """A person's templates to compare one of them with: other enrolments', or else the other ones."""
    rows = np.arange(start, end)
    elsewhere = rows[enrolments[start:end] != enrolments[row]]
    return np.asarray(elsewhere if len(elsewhere) else rows[rows != row], dtype=np.int64)


def _best_others(
    templates: FloatArray,
    owners: NDArray[np.int64],
    starts: NDArray[np.int64],
    centroids: FloatArray,
    searched: NDArray[np.int64],
    rule: ScoreRule,
) -> _Others:
    n_people = len(starts)
    best = np.full(len(searched), -np.inf, dtype=np.float32)
    second, best_row = best.copy(), np.full(len(searched), -1, dtype=np.int64)
    block = max(1, _BLOCK_VALUES // max(1, len(owners)))
    for at in range(0, len(searched) if n_people > 1 else 0, block):
        rows = searched[at : at + block]
        nearest = np.maximum.reduceat(templates[rows] @ templates.T, starts, axis=1)
        scores = person_scores(templates[rows] @ centroids.T, nearest, rule)
        mine = np.arange(len(rows))
        scores[mine, owners[rows]] = -np.inf
        top = scores.argmax(axis=1)
        best[at : at + block], best_row[at : at + block] = scores[mine, top], top
        scores[mine, top] = -np.inf
        second[at : at + block] = scores.max(axis=1)
    return _Others(best, second, best_row)

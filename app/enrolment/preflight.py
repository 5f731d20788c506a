"""Would this person be recognised? Each new template is searched for with the person's others, before all is stored."""

from dataclasses import dataclass

import numpy as np

from app.gallery.replica import GalleryReplica
from ml.enrolling import fuse
from ml.scoring import decision_scores, person_scores
from ml.types import FloatArray, ScoreRule

# The best of the others decides; of the nearest people one may be the person themselves.
_N_NEAREST = 4


@dataclass(frozen=True, slots=True)
class Preflight:
    """How many of the new templates would be recognised by the others, at the operating point in force."""

    n_searched: int
    n_recognised: int

    @property
    def is_doubtful(self) -> bool:
        return 2 * self.n_recognised < self.n_searched


def preflight(
    new: FloatArray,
    enrolled: FloatArray,
    person_id: str | None,
    gallery: GalleryReplica,
    rule: ScoreRule,
    threshold: float,
) -> Preflight:
    """Leave each of the new templates `(n, D)` out in turn; `enrolled (m, D)` are those the person has already.

    `person_id` is None for somebody new. With a single template there is nothing to search, so nothing is known.
    """
    everything = np.concatenate([new, enrolled])
    if len(everything) < 2:
        return Preflight(0, 0)
    hits, _ = gallery.search(new, _N_NEAREST)
    n_recognised = 0
    for number, near in enumerate(hits):
        rest = np.delete(everything, number, axis=0)
        own = person_scores(np.atleast_1d(new[number] @ fuse(rest)), np.max(rest @ new[number], keepdims=True), rule)
        others = near if person_id is None else near.without(person_id)
        scores = person_scores(others.centroid_scores, others.best_scores, rule)
        best_other = np.max(scores, initial=-np.inf, keepdims=True)
        n_recognised += bool(own > best_other and decision_scores(own, best_other, rule) >= threshold)
    return Preflight(n_searched=len(new), n_recognised=n_recognised)

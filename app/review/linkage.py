"""Which unknown faces show one stranger; pure.

Faces come one after the other, and none is ever moved: what an operator saw in a cluster stays in it. A face joins the
cluster whose faces it is most like on average, so that a face between two strangers does not make one of them. Faces of
one picture are different people whatever they look like.

Two strangers in one cluster are worse than one in two: assigned, they would be one person's attendance. The more
strangers there are, the more often two of them are as alike as photos of one person, so that more is asked than of a
pair. Measured with `dlib-resnet` on 535 people with 2 or 3 photos, chosen there: of the faces 98.4 % are in a cluster
that is mostly their own person's, and 93.0 % in their person's largest one; with the bound for a pair, 78.8 and 92.0 %.
On other people: 98.7 and 92.3 % of 305 with 4 photos, 100 and 90.0 % of 40 with 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.types import FloatArray, PairBounds

# How much of the way from `PairBounds.same` to 1 the likeness must go: to 0.94 with `dlib-resnet`.
_STRICTER: Final = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """`embeddings (N, D)` unit-norm, and by face the `pictures (N,)` it was in: equal numbers for one picture."""

    embeddings: FloatArray
    pictures: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Faces that are in clusters already: `clusters (N,)` numbers them from 0."""

    faces: Faces
    clusters: NDArray[np.int64]


def link(new: Faces, known: Members, bounds: PairBounds) -> NDArray[np.int64]:
    """Put new faces, in their order, to known clusters or to new ones.

    Args:
        new: faces that are in no cluster yet.
        known: those to compare them with.
        bounds: of the backbone that made the embeddings.

    Returns:
        `(N,)` cluster numbers; those that `known` does not have are new clusters, numbered on.
    """
    bound = bounds.same + _STRICTER * (1 - bounds.same)
    n_new, n_known = len(new.embeddings), len(known.clusters)
    likeness = new.embeddings @ np.concatenate([known.faces.embeddings, new.embeddings]).T
    pictures = np.concatenate([known.faces.pictures, new.pictures])
    clusters = np.concatenate([known.clusters, np.full(n_new, -1)])
    n_clusters = int(known.clusters.max(initial=-1)) + 1
    for number in range(n_new):
        before = slice(0, n_known + number)
        is_same_picture = pictures[before] == new.pictures[number]
        joined = _most_alike(likeness[number, before], clusters[before], is_same_picture, n_clusters, bound)
        clusters[n_known + number] = n_clusters if joined is None else joined
        n_clusters += joined is None
    return clusters[n_known:]


def _most_alike(
    likeness: FloatArray, clusters: NDArray[np.int64], is_same_picture: NDArray[np.bool_], n_clusters: int, bound: float
) -> int | None:
    """The cluster that one face belongs to, by its likeness `(N,)` to the faces of clusters `(N,)`."""
    if not n_clusters:
        return None
    sizes = np.bincount(clusters, minlength=n_clusters)
    mean = np.bincount(clusters, weights=likeness, minlength=n_clusters) / sizes
    mean[clusters[is_same_picture]] = -np.inf
    best = int(mean.argmax())
    return best if mean[best] >= bound else None


def first_of_presence(seen: Sequence[tuple[str, float]], windows_s: Sequence[float]) -> dict[str, str | None]:
    """By event the first one of its visit, or None for that one itself.

    Args:
        seen: id and time, in seconds, of each event of one cluster, in order of time.
        windows_s: of each, how far apart two events may be to be one visit.
    """
    first_of: dict[str, str | None] = {}
    first: str | None = None
    last_s = -np.inf
    for (event_id, at_s), window_s in zip(seen, windows_s, strict=True):
        first = first if first is not None and at_s - last_s <= window_s else None
        first_of[event_id] = first
        first, last_s = first or event_id, at_s
    return first_of

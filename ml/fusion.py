"""A person's frames -> the templates that stand for them: all of them, or one made of all.

`ml.lstm_fusion` has the way that is learned; `ml.evaluation.fusion` measures them against each other. The service
keeps all templates and scores them by `ml.scoring`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ml.errors import GalleryError
from ml.types import FloatArray

# Vectors shorter than this point nowhere: frames that cancel out are not of one person.
_SHORTEST = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """One person's unit-norm `embeddings (n, D)`, n >= 1, and `qualities (n,)` 0..1 as `Quality.score`."""

    embeddings: FloatArray
    qualities: FloatArray


Fusion: TypeAlias = Callable[[Frames], FloatArray]
"""Makes `(m, D)` unit-norm float32 templates of a person's frames, m >= 1.

Raises GalleryError where the frames cancel out and no direction is left.
"""


def keep_all(frames: Frames) -> FloatArray:
    """Every frame is a template: `(n, D)`, in the order given; a search takes the best match."""
    return np.array(frames.embeddings, dtype=np.float32)


def mean(frames: Frames) -> FloatArray:
    """The mean of the frames, of unit length: `(1, D)`, the same in any order; one frame stays as it is.

    Raises:
        GalleryError: the frames cancel out.
    """
    return _unit(frames.embeddings.mean(axis=0))


def quality_weighted_mean(frames: Frames) -> FloatArray:
    """As `mean`, each frame weighted by its quality; where none is worth anything, all count the same.

    Raises:
        GalleryError: the frames cancel out.
    """
    if not frames.qualities.sum() > 0:
        return mean(frames)
    return _unit(frames.qualities @ frames.embeddings)


def max_pool(frames: Frames) -> FloatArray:
    """The largest value of each element over the frames, of unit length: `(1, D)`, the same in any order.

    Signs are kept: one frame stays as it is. The largest value, not the largest magnitude, as in pooling layers.

    Raises:
        GalleryError: every element is at most 0 in all frames, so that nothing is left.

    Source: pooling over a person's views as in Su et al., Multi-view Convolutional Neural Networks, 2015.
    """
    return _unit(frames.embeddings.max(axis=0))


def principal_direction(frames: Frames) -> FloatArray:
    """PCA of one person's frames: the direction that holds most of their squared length, `(1, D)`, in any order.

    Not centred, because the mean is what frames of one person have in common; frames that agree count more than in
    the mean, a single odd one less. One frame stays as it is. Of the two directions, the one that the frames point in.

    Raises:
        GalleryError: the frames cancel out along it.
    """
    direction = np.linalg.svd(frames.embeddings, full_matrices=False)[2][0]
    along = float((frames.embeddings @ direction).sum())
    if abs(along) < _SHORTEST:
        raise GalleryError("these frames cancel out, so they are not of one person: enrol others")
    return _unit(np.sign(along) * direction)


@dataclass(frozen=True, slots=True, eq=False)
class PcaBasis:
    """PCA over many people: `directions (k, D)`, orthonormal, that hold most of their embeddings' squared length.

    Not centred: cosines keep their meaning, and with it the floor of a ScoreRule. Probes are projected like templates.
    """

    directions: FloatArray

    @classmethod
    def fit(cls, embeddings: FloatArray, n_dims: int) -> "PcaBasis":
        """Find the basis.

        Args:
            embeddings: `(n, D)` unit-norm, of people who are neither enrolled nor searched.
            n_dims: 1..min(n, D).

        Raises:
            ValueError: so many directions cannot be found.
        """
        if not 1 <= n_dims <= min(embeddings.shape):
            raise ValueError(f"{n_dims} directions of {embeddings.shape} embeddings: give 1 to {min(embeddings.shape)}")
        directions = np.linalg.svd(embeddings, full_matrices=False)[2][:n_dims]
        return cls(np.asarray(directions, dtype=np.float32))

    def project(self, embeddings: FloatArray) -> FloatArray:
        """Project `(n, D)` onto the basis: `(n, k)` of unit length.

        Raises:
            GalleryError: an embedding has no part in it.
        """
        inside = embeddings @ self.directions.T
        lengths = np.linalg.norm(inside, axis=1, keepdims=True)
        if (lengths < _SHORTEST).any():
            raise GalleryError("an embedding is at right angles to all that the basis was fitted on")
        return np.asarray(inside / lengths, dtype=np.float32)

    def keep_all(self, frames: Frames) -> FloatArray:
        """Every frame, projected: `(n, k)` templates."""
        return self.project(frames.embeddings)


def _unit(vector: FloatArray) -> FloatArray:
    """One template `(1, D)`; refuses a vector without a direction, which would be a zero template."""
    length = float(np.linalg.norm(vector))
    if not length >= _SHORTEST:  # also for NaN
        raise GalleryError("these frames cancel out, so they are not of one person: enrol others")
    return np.asarray(vector[None] / length, dtype=np.float32)

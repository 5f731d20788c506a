"""Made-up people whose templates lie as those of a real network do."""

import numpy as np
from numpy.typing import NDArray

MODEL, DIM = "dlib-resnet/1", 128
# Shares of what all faces, one person's photos and one photo have in common: cosines as dlib's network gives them.
COMMON, OWN, PHOTO = 0.80, 0.14, 0.06


def embeddings(number: int, n_photos: int) -> NDArray[np.float32]:
    """`(n_photos, DIM)` of the person of this number, the same each time."""
    generator = np.random.default_rng([1, abs(number)])
    common, own = _directions(np.random.default_rng(0), 1), _directions(generator, 1)
    mixed = COMMON**0.5 * common + OWN**0.5 * own + PHOTO**0.5 * _directions(generator, n_photos)
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype="<f4")


def _directions(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    vectors = generator.normal(size=(n, DIM))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

"""Who is learned from, who decides when to stop, who judges: by people; and of one person the old before the new."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.training.types import Rows, Split

SHARES: Final = (0.6, 0.15, 0.25)
"""Of the people: to learn from, to stop by, to judge by."""
_PARTS: Final = (0, 1, 2)


def split_people(keys: Sequence[str], seed: int, shares: tuple[float, float, float] = SHARES) -> NDArray[np.int64]:
    """Give every person a part, by a hash of their key alone: who else is there changes nothing.

    So a person who was learned from yesterday never judges tomorrow, as long as the seed and the shares stay.

    Args:
        keys: P words, one for each person, that stay the same from training to training.
        seed: another one deals the people out anew.
        shares: of the three parts, each >= 0, together 1.

    Returns:
        `(P,)` int64: 0 train, 1 validation, 2 test. Empty case: `(0,)`.
    """
    places = np.array([_place(key, seed) for key in keys], dtype=np.float64)
    return np.searchsorted(np.cumsum(shares)[:2], places, side="right").astype(np.int64)


def make_split(people: Rows, seed: int, shares: tuple[float, float, float] = SHARES) -> Split:
    """Split faces by whose they are.

    Nothing can be told apart by a person's only face: such a face is left out of what is learned from, and is a
    stranger's in the other two parts.

    Args:
        people: `(N,)` int64, a number for whose face it is; numbers that stay the same give parts that stay the same.
        seed: as `split_people`.
        shares: as `split_people`.
    """
    numbers, faces, n_faces = np.unique(people, return_inverse=True, return_counts=True)
    parts = split_people([str(number) for number in numbers], seed, shares)[faces]
    is_single = n_faces[faces] < 2
    train, validation, test = (np.flatnonzero(parts == part).astype(np.int64) for part in _PARTS)
    return Split(train[~is_single[train]], validation, test)


def time_split(people: Rows, times_s: NDArray[np.float64], rows: Rows) -> tuple[Rows, Rows]:
    """Enrol the older half of each person's faces and search the newer: cameras and faces change with time.

    Args:
        people: `(N,)` int64, whose faces they are.
        times_s: `(N,)` float64, when they were taken; where one of a person's is NaN, their order of rows counts.
        rows: `(n,)` which of the faces to split.

    Returns:
        Rows to enrol, by person, and rows to search. Of an odd number one more is searched; a person with one face is
        a stranger, who is only searched. Empty case: `(0,)` twice.
    """
    none = np.empty(0, dtype=np.int64)
    gallery, probes = [none], [none]
    for person in np.unique(people[rows]):
        own = _by_time(np.sort(rows[people[rows] == person]), times_s)
        n_enrolled = len(own) // 2
        gallery.append(own[:n_enrolled])
        probes.append(own[n_enrolled:])
    return np.concatenate(gallery), np.concatenate(probes)


def _place(key: str, seed: int) -> float:
    """Where a person stands between 0 and 1."""
    return int.from_bytes(sha256(f"{seed} {key}".encode()).digest()[:8]) / 2**64


def _by_time(own: Rows, times_s: NDArray[np.float64]) -> Rows:
    times = times_s[own]
    return own if np.isnan(times).any() else own[np.argsort(times, kind="stable")]

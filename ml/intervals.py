"""Hits -> a share with its 95 % interval, when one person's searches go wrong together."""

from collections.abc import Iterator
from math import isfinite, sqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.errors import MlError
from ml.types import Interval

_Z95: Final = 1.959963984540054  # 97.5 % point of the normal distribution
_CHUNK_VALUES: Final = 4_000_000  # resampled weights held at once: 32 MB

_Doubles: TypeAlias = NDArray[np.float64]


class MetricsError(MlError, ValueError):
    """Numbers that no error rate can be made of: NaN, lists of different lengths, no searches at all."""


def wilson(n_hits: float, n: float) -> Interval:
    """Share of hits with Wilson's 95 % interval, which stays sensible for no hits and for few searches.

    Args:
        n_hits: 0..n; may be a fraction, for an effective size.
        n: number of searches, or their effective number. With 0 nothing is known: the interval is 0..1, and its value
            of 0 means nothing.

    Raises:
        MetricsError: not finite, negative, or more hits than searches.

    Source: E. B. Wilson, 1927; compared with other intervals by Newcombe, 1998 (method 3).
    """
    if not (isfinite(n_hits) and isfinite(n) and 0 <= n_hits <= n):
        raise MetricsError(f"{n_hits} hits in {n} searches: give finite numbers with 0 <= hits <= searches")
    if n == 0:
        return Interval(0.0, 0.0, 1.0)
    p, squared = n_hits / n, _Z95**2
    middle = (p + squared / (2 * n)) / (1 + squared / n)
    half = _Z95 / (1 + squared / n) * sqrt(p * (1 - p) / n + squared / (4 * n * n))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Interval(p, 0.0 if n_hits == 0 else low, 1.0 if n_hits == n else high)


def bootstrap_by_person(hits: ArrayLike, people: ArrayLike, *, n_resamples: int = 2000, seed: int = 0) -> Interval:
    """Share of hits with the 95 % interval of a bootstrap that draws whole people, because one person's searches go
    wrong together.

    Args:
        hits: `(M,)` bool.
        people: `(M,)` ids.
        n_resamples: >= 1.
        seed: of the draw.

    Returns:
        Interval. Where every search, or none, is a hit, drawing again shows no spread: then Wilson's over the people,
        as if each had been searched once. Empty case: as `wilson(0, 0)`.
    """
    n_hits, n_searches = _per_person(hits, people)
    n_people = len(n_searches)
    if n_hits.sum() in (0, n_searches.sum()):
        return wilson(n_people if n_hits.sum() else 0, n_people)
    generator, shares = np.random.default_rng(seed), []
    for n in chunks(n_resamples, n_people):
        weights = draw_people(generator, n_people, n)
        shares.append((weights @ n_hits) / (weights @ n_searches))
    return percentile_interval(float(n_hits.sum() / n_searches.sum()), np.concatenate(shares))


def effective_n(hits: ArrayLike, people: ArrayLike) -> float:
    """How many independent searches the given ones are worth: their number over the design effect.

    Args:
        hits: `(M,)` bool.
        people: `(M,)` ids.

    Returns:
        1..M; the number of people where every search, or none, is a hit, and no spread shows; 0 for no searches.

    Source: variance of a ratio over clusters, Kish, Survey Sampling, 1965.
    """
    n_hits, n_searches = _per_person(hits, people)
    n, n_people = float(n_searches.sum()), len(n_searches)
    if n_people < 2 or n_hits.sum() in (0, n):
        return float(n_people)
    share = n_hits.sum() / n
    variance = n_people / (n_people - 1) * ((n_hits - share * n_searches) ** 2).sum() / n**2
    if variance == 0:
        return n
    return float(np.clip(share * (1 - share) / variance, 1.0, n))


def wilson_by_person(hits: NDArray[np.bool_], people: ArrayLike) -> Interval:
    """Wilson's interval over the effective size: for shares with too few hits to bootstrap; arguments as there."""
    n = effective_n(hits, people)
    return wilson(float(hits.mean()) * n, n) if n else wilson(0, 0)


def numbered(people: ArrayLike) -> tuple[NDArray[np.int64], int]:
    """Number the people from 0: `(M,)` numbers and how many people there are."""
    known, numbers = np.unique(np.asarray(people), return_inverse=True)
    return np.asarray(numbers, dtype=np.int64), len(known)


def draw_people(generator: np.random.Generator, n_people: int, n_resamples: int) -> _Doubles:
    """How often each person is drawn, `(n_resamples, n_people)`, when as many are drawn as there are."""
    return generator.multinomial(n_people, np.full(n_people, 1 / n_people), size=n_resamples).astype(np.float64)


def percentile_interval(value: float, resampled: ArrayLike) -> Interval:
    """A value with the middle 95 % of what resampling made of it."""
    low, high = np.quantile(np.asarray(resampled), [0.025, 0.975])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def chunks(n_resamples: int, n_values: int) -> Iterator[int]:
    """Split resamples of `n_values` numbers each into runs that fit into memory; their lengths."""
    longest = max(1, _CHUNK_VALUES // max(1, n_values))
    for start in range(0, n_resamples, longest):
        yield min(longest, n_resamples - start)


def _per_person(hits: ArrayLike, people: ArrayLike) -> tuple[_Doubles, _Doubles]:
    """Hits and searches of each person."""
    flags = np.asarray(hits, dtype=np.bool_)
    numbers, n_people = numbered(people)
    if flags.shape != numbers.shape:
        raise MetricsError(f"{flags.shape} hits of {numbers.shape} people: give one person per search")
    n_hits = np.bincount(numbers, weights=flags, minlength=n_people).astype(np.float64)
    return n_hits, np.bincount(numbers, minlength=n_people).astype(np.float64)

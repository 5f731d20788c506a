"""Judged decisions -> how often strangers are named and enrolled people missed, with intervals; pure.

There are two strata: faces that were given a name, and faces that were not. What was judged is known, and counted as
it is. What nobody judged gets the shares of what operators said of its stratum, as if that had been said of faces drawn
by chance: whoever judges only what looks odd will see worse rates than there are. From these numbers of strangers and
of enrolled people that came by follow the rates:

    FPIR = strangers named / all strangers
    FNIR = (enrolled people not named + named as somebody else) / all enrolled people

One word about a cluster tells what all its faces were, also those that join it later, but for the shares it is one
word: a postman who comes six hundred times and was dismissed once says no more about the other unnamed faces than
somebody who came once. The faces of one cluster that were not all the same count for the shares by parts of the word.

The intervals come from draws with a fixed seed: first what the faces were that nobody judged, by the shares' posterior
under Jeffreys' prior, then the rates that such numbers of faces may come from, under the same prior. Each face counts
as one draw; where a few people make most of the traffic, the truth may lie outside more often than 1 in 20.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml.types import Interval

_Doubles: TypeAlias = NDArray[np.float64]

FEWEST_JUDGED: Final = 20
"""Of each stratum. With fewer, "none of them wrong" would still allow one in seven to be wrong."""
_N_DRAWS: Final = 20_000
_JEFFREYS: Final = 0.5


@dataclass(frozen=True, slots=True)
class NamedFaces:
    """All faces that were named, and what those were that somebody judged."""

    n: int
    n_right: int = 0
    n_stranger: int = 0
    n_somebody_else: int = 0

    @property
    def n_judged(self) -> int:
        return self.n_right + self.n_stranger + self.n_somebody_else


@dataclass(frozen=True, slots=True)
class Words:
    """What operators said of unnamed faces; what was said of a cluster is one word, or parts that make one."""

    stranger: float
    missed: float

    @property
    def n(self) -> int:
        return round(self.stranger + self.missed)


@dataclass(frozen=True, slots=True)
class UnnamedFaces:
    """All faces that were not named, what those were that were judged, and by which words (None: one for each)."""

    n: int
    n_stranger: int = 0
    n_missed: int = 0
    words: Words | None = None

    @property
    def n_judged(self) -> int:
        return self.n_stranger + self.n_missed

    @property
    def said(self) -> Words:
        return self.words or Words(self.n_stranger, self.n_missed)


@dataclass(frozen=True, slots=True)
class Rates:
    """None where nobody of that kind can have come by, or too little was judged."""

    fpir: Interval | None
    fnir: Interval | None
    misidentification: Interval | None


@dataclass(frozen=True, slots=True)
class _Stratum:
    """Of its kinds of faces how many are known, and how many words there are; and how many faces nobody judged."""

    known: _Doubles
    n_left: int
    words: _Doubles


@dataclass(frozen=True, slots=True)
class _Numbers:
    """How many faces were what, kinds of named faces first: numbers, or arrays of draws."""

    right: _Doubles
    stranger_named: _Doubles
    somebody_else: _Doubles
    stranger_unnamed: _Doubles
    missed: _Doubles


def n_to_judge(n: int, n_judged: int, n_words: int) -> int:
    """How many more faces of a stratum have to be judged, one by one, before anything is said."""
    return max(0, min(n - n_judged, FEWEST_JUDGED - n_words))


def estimate(named: NamedFaces, unnamed: UnnamedFaces) -> Rates:
    """FPIR, FNIR and misidentification, or None for each while too few faces are judged."""
    too_few_named = n_to_judge(named.n, named.n_judged, named.n_judged)
    if too_few_named or n_to_judge(unnamed.n, unnamed.n_judged, unnamed.said.n):
        return Rates(None, None, None)
    strata = _strata(named, unnamed)
    seen, drawn = _rates(_seen(strata)), _rates(_draw(strata))
    return Rates(*(_interval(value, draws) for value, draws in zip(seen, drawn, strict=True)))


def _rates(faces: _Numbers) -> tuple[_Doubles, _Doubles, _Doubles]:
    strangers = faces.stranger_named + faces.stranger_unnamed
    enrolled = faces.right + faces.somebody_else + faces.missed
    with np.errstate(invalid="ignore"):  # nobody of a kind: not a number, which is told as None
        return (
            faces.stranger_named / strangers,
            (faces.missed + faces.somebody_else) / enrolled,
            faces.somebody_else / enrolled,
        )


def _strata(named: NamedFaces, unnamed: UnnamedFaces) -> tuple[_Stratum, _Stratum]:
    known_named = np.array([named.n_right, named.n_stranger, named.n_somebody_else], dtype=np.float64)
    known_unnamed = np.array([unnamed.n_stranger, unnamed.n_missed], dtype=np.float64)
    words = np.array([unnamed.said.stranger, unnamed.said.missed], dtype=np.float64)
    return (
        _Stratum(known_named, named.n - named.n_judged, known_named),
        _Stratum(known_unnamed, unnamed.n - unnamed.n_judged, words),
    )


def _seen(strata: Sequence[_Stratum]) -> _Numbers:
    numbers = [each.known + each.n_left * each.words / max(each.words.sum(), 1) for each in strata]
    return _Numbers(*np.concatenate(numbers))


def _draw(strata: Sequence[_Stratum]) -> _Numbers:
    generator = np.random.default_rng(0)
    numbers = []
    for each in strata:
        shares = generator.dirichlet(each.words + _JEFFREYS, _N_DRAWS)
        numbers.append(each.known + generator.multinomial(each.n_left, shares))
    # Gamma draws, divided by their sum, are draws of the shares.
    return _Numbers(*generator.standard_gamma(np.concatenate(numbers, axis=1).T + _JEFFREYS))


def _interval(value: _Doubles, draws: _Doubles) -> Interval | None:
    """The draws' middle 95 %, stretched to what was seen: none of 50 is 0 and not a little more."""
    if not np.isfinite(value) or not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))

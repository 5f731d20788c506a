"""Judged decisions -> how often strangers are named and enrolled people missed, with intervals; pure.

There are two strata: faces that were given a name, and faces that were not. What operators said of some faces of a
stratum is taken to hold for all of it, as if those had been drawn by chance: whoever judges only what looks odd will
see worse rates than there are. From the shares follow the numbers of strangers and of enrolled people that
came by, and of these the rates:

    FPIR = strangers named / all strangers
    FNIR = (enrolled people not named + named as somebody else) / all enrolled people

The intervals come from the shares' posterior distributions under Jeffreys' prior, sampled with a fixed seed. Each face
counts as one draw; where a few people make most of the traffic, the truth may lie outside more often than 1 in 20.
"""

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
class UnnamedFaces:
    """All faces that were not named, and what those were that somebody judged."""

    n: int
    n_stranger: int = 0
    n_missed: int = 0

    @property
    def n_judged(self) -> int:
        return self.n_stranger + self.n_missed


@dataclass(frozen=True, slots=True)
class Rates:
    """None where nobody of that kind can have come by, or too little was judged."""

    fpir: Interval | None
    fnir: Interval | None
    misidentification: Interval | None


@dataclass(frozen=True, slots=True)
class _Shares:
    """`named` of all faces, and the others of their stratum: numbers, or arrays of draws."""

    named: float | _Doubles
    right: float | _Doubles
    stranger_named: float | _Doubles
    somebody_else: float | _Doubles
    stranger_unnamed: float | _Doubles
    missed: float | _Doubles


def n_to_judge(n: int, n_judged: int) -> int:
    """How many more faces of a stratum have to be judged before anything is said."""
    return max(0, min(n, FEWEST_JUDGED) - n_judged)


def estimate(named: NamedFaces, unnamed: UnnamedFaces) -> Rates:
    """FPIR, FNIR and misidentification, or None for each while too few faces are judged."""
    if n_to_judge(named.n, named.n_judged) or n_to_judge(unnamed.n, unnamed.n_judged):
        return Rates(None, None, None)
    seen, drawn = _rates(_seen(named, unnamed)), _rates(_draw(named, unnamed))
    return Rates(*(_interval(value, draws) for value, draws in zip(seen, drawn, strict=True)))


def _rates(shares: _Shares) -> tuple[_Doubles, _Doubles, _Doubles]:
    named = np.asarray(shares.named)
    strangers_named = named * shares.stranger_named
    strangers = strangers_named + (1 - named) * shares.stranger_unnamed
    confused, missed = named * shares.somebody_else, (1 - named) * shares.missed
    enrolled = named * shares.right + confused + missed
    with np.errstate(invalid="ignore"):  # nobody of a kind: not a number, which is told as None
        return strangers_named / strangers, (missed + confused) / enrolled, confused / enrolled


def _seen(named: NamedFaces, unnamed: UnnamedFaces) -> _Shares:
    of_named, of_unnamed = max(named.n_judged, 1), max(unnamed.n_judged, 1)
    return _Shares(
        named=named.n / max(named.n + unnamed.n, 1),
        right=named.n_right / of_named,
        stranger_named=named.n_stranger / of_named,
        somebody_else=named.n_somebody_else / of_named,
        stranger_unnamed=unnamed.n_stranger / of_unnamed,
        missed=unnamed.n_missed / of_unnamed,
    )


def _draw(named: NamedFaces, unnamed: UnnamedFaces) -> _Shares:
    generator = np.random.default_rng(0)
    is_named = generator.beta(named.n + _JEFFREYS, unnamed.n + _JEFFREYS, _N_DRAWS)
    judged = np.array([named.n_right, named.n_stranger, named.n_somebody_else])
    right, stranger, somebody_else = generator.dirichlet(judged + _JEFFREYS, _N_DRAWS).T
    missed = generator.beta(unnamed.n_missed + _JEFFREYS, unnamed.n_stranger + _JEFFREYS, _N_DRAWS)
    return _Shares(is_named, right, stranger, somebody_else, 1 - missed, missed)


def _interval(value: _Doubles, draws: _Doubles) -> Interval | None:
    """The draws' middle 95 %, stretched to what was seen: none of 50 is 0 and not a little more."""
    if not np.isfinite(value) or not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))

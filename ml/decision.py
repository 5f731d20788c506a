"""Candidates + operating point -> decisions, for all faces of one image together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ml.types import Candidate, Decision, Outcome, Reason

PairMargins = Mapping[tuple[str, str], float]
"""The lead that two people must have over each other to be named; keys are the two ids in order."""


def pair_of(a: str, b: str) -> tuple[str, str]:
    """The key of two people in `PairMargins`."""
    return (a, b) if a < b else (b, a)


def decide(
    candidates: Sequence[tuple[Candidate, ...]],
    reasons: Sequence[tuple[Reason, ...]],
    threshold: float,
    margins: PairMargins | None = None,
    is_seen_with: NDArray[np.bool_] | None = None,
) -> list[Decision]:
    """Decide who each face of one image is, or each tracked face of one clip.

    One person stands in one place: when two faces seen together reach the threshold for the same person, the higher
    score keeps the name and the other face becomes unknown. A face with a quality reason is never named, nor is one
    that cannot be told from a look-alike by the margin that their pair needs.

    Args:
        candidates: per face, best first, as `ml.scoring.rank_candidates` returns them.
        reasons: per face, what stands against searching it (`ml.quality.reasons_against`); empty: nothing.
        threshold: smallest decision score that names somebody.
        margins: for pairs of people who are easily confused.
        is_seen_with: `(n, n)` which faces are seen together; None: all of them, as in one image.

    Returns:
        One Decision per face, in the same order.
    """
    needed = margins or {}
    decisions = [
        _decide_face(ranked, against, threshold, needed) for ranked, against in zip(candidates, reasons, strict=True)
    ]
    return _one_place_per_person(decisions, is_seen_with)


def _decide_face(
    ranked: tuple[Candidate, ...], against: tuple[Reason, ...], threshold: float, margins: PairMargins
) -> Decision:
    best = ranked[0] if ranked else None
    score = best.score if best else None
    margin = best.score - ranked[1].score if best and len(ranked) > 1 else None
    if against:
        return Decision(Outcome.LOW_QUALITY, None, score, margin, ranked)
    if best is None or best.score < threshold or not _is_told_apart(ranked, margins):
        return Decision(Outcome.UNKNOWN, None, score, margin, ranked)
    return Decision(Outcome.IDENTIFIED, best.person_id, score, margin, ranked)


def _is_told_apart(ranked: tuple[Candidate, ...], margins: PairMargins) -> bool:
    best = ranked[0]
    return all(
        best.score - other.score >= margins.get(pair_of(best.person_id, other.person_id), 0.0) for other in ranked[1:]
    )


def _one_place_per_person(decisions: list[Decision], is_seen_with: NDArray[np.bool_] | None) -> list[Decision]:
    kept = list(decisions)
    places: dict[str, list[int]] = {}
    for face in sorted(range(len(decisions)), key=lambda face: -(decisions[face].score or 0.0)):
        decision = decisions[face]
        if decision.person_id is None:
            continue
        others = places.setdefault(decision.person_id, [])
        if any(is_seen_with is None or is_seen_with[face, other] for other in others):
            kept[face] = replace(decision, outcome=Outcome.UNKNOWN, person_id=None)
        else:
            others.append(face)
    return kept

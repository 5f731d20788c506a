"""Candidates + operating point -> decisions, for all faces of one image together."""

from collections.abc import Mapping, Sequence

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
) -> list[Decision]:
    """Decide who each face of one image is.

    One person stands in one place: when two faces of an image reach the threshold for the same person, the higher
    score keeps the name and the other face becomes unknown. A face with a quality reason is never named, nor is one
    that cannot be told from a look-alike by the margin that their pair needs.

    Args:
        candidates: per face, best first, as `ml.scoring.rank_candidates` returns them.
        reasons: per face, what stands against searching it (`ml.quality.reasons_against`); empty: nothing.
        threshold: smallest decision score that names somebody.
        margins: for pairs of people who are easily confused.

    Returns:
        One Decision per face, in the same order.
    """
    needed = margins or {}
    decisions = [
        _decide_face(ranked, against, threshold, needed) for ranked, against in zip(candidates, reasons, strict=True)
    ]
    return _one_face_per_person(decisions)


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


def _one_face_per_person(decisions: list[Decision]) -> list[Decision]:
    best_face: dict[str, int] = {}
    for face, decision in enumerate(decisions):
        if decision.person_id is None:
            continue
        rival = best_face.get(decision.person_id)
        if rival is None or (decision.score or 0.0) > (decisions[rival].score or 0.0):
            best_face[decision.person_id] = face
    return [
        decision
        if decision.person_id is None or best_face[decision.person_id] == face
        else Decision(Outcome.UNKNOWN, None, decision.score, decision.margin, decision.candidates)
        for face, decision in enumerate(decisions)
    ]

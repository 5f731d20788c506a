"""Candidates + operating point -> decisions, for all faces of one image together."""

from collections.abc import Sequence

from ml.types import Candidate, Decision, Outcome, Reason


def decide(
    candidates: Sequence[tuple[Candidate, ...]], reasons: Sequence[tuple[Reason, ...]], threshold: float
) -> list[Decision]:
    """Decide who each face of one image is.

    One person stands in one place: when two faces of an image reach the threshold for the same person, the higher
    score keeps the name and the other face becomes unknown. A face with a quality reason is never named.

    Args:
        candidates: per face, best first, as `ml.scoring.rank_candidates` returns them.
        reasons: per face, what stands against searching it (`ml.quality.reasons_against`); empty: nothing.
        threshold: smallest decision score that names somebody.

    Returns:
        One Decision per face, in the same order.
    """
    decisions = [_decide_face(ranked, against, threshold) for ranked, against in zip(candidates, reasons, strict=True)]
    return _one_face_per_person(decisions)


def _decide_face(ranked: tuple[Candidate, ...], against: tuple[Reason, ...], threshold: float) -> Decision:
    best = ranked[0] if ranked else None
    score = best.score if best else None
    margin = best.score - ranked[1].score if best and len(ranked) > 1 else None
    if against:
        return Decision(Outcome.LOW_QUALITY, None, score, margin, ranked)
    if best is None or best.score < threshold:
        return Decision(Outcome.UNKNOWN, None, score, margin, ranked)
    return Decision(Outcome.IDENTIFIED, best.person_id, score, margin, ranked)


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

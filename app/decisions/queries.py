"""All SQL about stored decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, distinct, func, insert, or_, select
from sqlalchemy.orm import Session

from app.db.tables import DecisionCandidate, DecisionRow, Person

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What another threshold would have made of stored decisions: counts of all, and the newest that change.

    A change comes with the person of rank 1, None when they were erased.
    """

    n_decisions: int
    n_named: int
    n_no_longer_named: int
    n_newly_named: int
    changes: list[tuple[DecisionRow, str | None]]


def insert_decisions(
    session: Session, decisions: Sequence[dict[str, Any]], candidates: Sequence[dict[str, Any]]
) -> None:
    """Stores decisions and their candidates; people who were erased meanwhile are left out."""
    named = {row["person_id"] for row in (*decisions, *candidates) if row["person_id"]}
    present = set(session.scalars(select(Person.id).where(Person.id.in_(named)))) if named else set()
    session.execute(
        insert(DecisionRow),
        [{**row, "person_id": row["person_id"] if row["person_id"] in present else None} for row in decisions],
    )
    kept = [row for row in candidates if row["person_id"] in present]
    if kept:
        session.execute(insert(DecisionCandidate), [dict(row) for row in kept])


def delete_older(session: Session, before: datetime, at_most: int) -> int:
    """Deletes the oldest decisions made before a time; returns how many."""
    oldest = select(DecisionRow.id).where(DecisionRow.at < before).order_by(DecisionRow.at).limit(at_most)
    ids = list(session.scalars(oldest))
    for start in range(0, len(ids), 500):
        session.execute(delete(DecisionRow).where(DecisionRow.id.in_(ids[start : start + 500])))
    return len(ids)


def decision(session: Session, decision_id: str) -> DecisionRow | None:
    return session.get(DecisionRow, decision_id)


def candidates(session: Session, decision_id: str) -> list[DecisionCandidate]:
    """Best first; without those who were erased."""
    of = select(DecisionCandidate).where(DecisionCandidate.decision_id == decision_id)
    return list(session.scalars(of.order_by(DecisionCandidate.rank)))


def count_about(session: Session, person_id: str) -> int:
    """Stored decisions that name a person or list them as a candidate."""
    listed = select(DecisionCandidate.decision_id).where(DecisionCandidate.person_id == person_id)
    about = or_(DecisionRow.person_id == person_id, DecisionRow.true_person_id == person_id, DecisionRow.id.in_(listed))
    return session.scalars(select(func.count(distinct(DecisionRow.id))).where(about)).one()


def replay(session: Session, threshold: float, model: str, n_changes: int) -> Replayed:
    """Decide every stored decision of this backbone again, at another threshold.

    A face that was held back although its score reached the threshold (a look-alike too near, or a better face of the
    same person in the picture) stays held back, and one of low quality stays unnamed.
    """
    of_model = DecisionRow.model == model
    was_named = and_(of_model, DecisionRow.outcome == "identified")
    no_longer = and_(was_named, DecisionRow.score < threshold)
    newly = and_(
        of_model,
        DecisionRow.outcome == "unknown",
        DecisionRow.score < DecisionRow.threshold,
        DecisionRow.score >= threshold,
    )
    best = and_(DecisionCandidate.decision_id == DecisionRow.id, DecisionCandidate.rank == 1)
    changed = (
        select(DecisionRow, DecisionCandidate.person_id)
        .outerjoin(DecisionCandidate, best)
        .where(or_(no_longer, newly))
        .order_by(DecisionRow.at.desc(), DecisionRow.id)
        .limit(n_changes)
    )
    return Replayed(
        n_decisions=_count(session, of_model),
        n_named=_count(session, was_named),
        n_no_longer_named=_count(session, no_longer),
        n_newly_named=_count(session, newly),
        changes=[(row, person_id) for row, person_id in session.execute(changed)],
    )


def _count(session: Session, condition: ColumnElement[bool]) -> int:
    return session.scalars(select(func.count()).select_from(DecisionRow).where(condition)).one()

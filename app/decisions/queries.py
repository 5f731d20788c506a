"""All SQL about stored decisions."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, bindparam, delete, insert, select
from sqlalchemy.orm import Session

from app.db.tables import DecisionCandidate, DecisionRow, Event, Person
from app.decisions.rules import StoredFace

# Ids in one IN (...): below every database's limit on bound values.
_IDS_AT_ONCE = 500

# Run with every picture: built once, and of the tables, they cost half of what the ORM takes for the same.
_TABLES: Final = DecisionRow.metadata.tables
_NEW_DECISION: Final = insert(_TABLES[DecisionRow.__tablename__])
_NEW_CANDIDATE: Final = insert(_TABLES[DecisionCandidate.__tablename__])
_PERSON_ID: Final = _TABLES[Person.__tablename__].c.id
_PRESENT: Final = select(_PERSON_ID).where(_PERSON_ID.in_(bindparam("ids", expanding=True)))


def insert_decisions(
    session: Session, decisions: Sequence[dict[str, Any]], candidates: Sequence[dict[str, Any]]
) -> None:
    """Stores decisions and their candidates; people who were erased meanwhile are left out."""
    named = {row["person_id"] for row in (*decisions, *candidates) if row["person_id"]}
    present = set(session.scalars(_PRESENT, {"ids": list(named)})) if named else set()
    session.execute(
        _NEW_DECISION,
        [{**row, "person_id": row["person_id"] if row["person_id"] in present else None} for row in decisions],
    )
    kept = [row for row in candidates if row["person_id"] in present]
    if kept:
        session.execute(_NEW_CANDIDATE, [dict(row) for row in kept])


def has_older(session: Session, since: datetime | None, before: datetime) -> bool:
    """Whether decisions of that time are left that no event in the ledger stands on."""
    return session.scalars(_purgeable(since, before).limit(1)).first() is not None


def delete_older(session: Session, since: datetime | None, before: datetime, at_most: int) -> int:
    """Deletes the oldest decisions of that time that no event in the ledger stands on; returns how many."""
    ids = list(session.scalars(_purgeable(since, before).order_by(DecisionRow.at).limit(at_most)))
    for start in range(0, len(ids), _IDS_AT_ONCE):
        session.execute(delete(DecisionRow).where(DecisionRow.id.in_(ids[start : start + _IDS_AT_ONCE])))
    return len(ids)


def _purgeable(since: datetime | None, before: datetime) -> Select[str]:
    is_evidence = select(Event.id).where(Event.id == DecisionRow.id).exists()
    old = select(DecisionRow.id).where(DecisionRow.at < before, ~is_evidence)
    return old if since is None else old.where(DecisionRow.at >= since)


def decision(session: Session, decision_id: str) -> DecisionRow | None:
    return session.get(DecisionRow, decision_id)


def candidates(session: Session, decision_id: str) -> list[DecisionCandidate]:
    """Best first; without those who were erased."""
    of = select(DecisionCandidate).where(DecisionCandidate.decision_id == decision_id)
    return list(session.scalars(of.order_by(DecisionCandidate.rank)))


def newest(session: Session, model: str, limit: int) -> list[StoredFace]:
    """Decisions of this backbone, newest first, the faces of one image together."""
    of_model = select(DecisionRow).where(DecisionRow.model == model)
    rows = session.scalars(of_model.order_by(DecisionRow.at.desc(), DecisionRow.id).limit(limit)).all()
    found: dict[str, list[DecisionCandidate]] = {}
    for candidate in _candidates_of(session, [row.id for row in rows]):
        found.setdefault(candidate.decision_id, []).append(candidate)
    return [StoredFace(row, found.get(row.id, [])) for row in rows]


def _candidates_of(session: Session, decision_ids: Sequence[str]) -> Iterator[DecisionCandidate]:
    for start in range(0, len(decision_ids), _IDS_AT_ONCE):
        among = DecisionCandidate.decision_id.in_(decision_ids[start : start + _IDS_AT_ONCE])
        yield from session.scalars(select(DecisionCandidate).where(among).order_by(DecisionCandidate.rank))

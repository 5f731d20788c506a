"""All SQL about operating points and what calibrations found."""

from collections.abc import Collection, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from app.db.tables import (
    DecisionCandidate,
    DecisionRow,
    OperatingPointRow,
    PairMargin,
    Person,
    SuspiciousTemplateRow,
    Template,
    ThresholdState,
)
from app.db.types import utc_now
from ml.calibration import ConfirmedSearches
from ml.decision import PairMargins, pair_of
from ml.findings import LookAlikes, SuspiciousTemplate

LOOK_ALIKE, FEEDBACK = "look_alike", "feedback"
# Newest confirmed searches that count per person: somebody confirmed every day must not stand for everybody.
_CONFIRMED_PER_PERSON = 5


def version(session: Session) -> int:
    """Grows with everything that changes decisions."""
    return session.scalars(select(ThresholdState.version).where(ThresholdState.id == 1)).one()


def state(session: Session) -> ThresholdState:
    return session.scalars(select(ThresholdState).where(ThresholdState.id == 1)).one()


def lock_state(session: Session) -> ThresholdState:
    """The state, with the writers' turn until commit, and its version already the next one."""
    session.execute(update(ThresholdState).where(ThresholdState.id == 1).values(version=ThresholdState.version + 1))
    return state(session)


def point(session: Session, point_id: str) -> OperatingPointRow | None:
    return session.get(OperatingPointRow, point_id)


def points(session: Session, *, before: tuple[datetime, str] | None, limit: int) -> list[OperatingPointRow]:
    """Newest first, older than the point with this `(created_at, id)`."""
    order = OperatingPointRow.created_at.desc(), OperatingPointRow.id.desc()
    statement = select(OperatingPointRow).order_by(*order).limit(limit)
    if before is not None:
        statement = statement.where(tuple_(OperatingPointRow.created_at, OperatingPointRow.id) < before)
    return list(session.scalars(statement))


def pair_margins(session: Session) -> PairMargins:
    """The margin that each pair needs, from whatever source asks most."""
    margins = select(PairMargin.person_a, PairMargin.person_b, func.max(PairMargin.margin))
    rows = session.execute(margins.group_by(PairMargin.person_a, PairMargin.person_b))
    return {(a, b): float(margin) for a, b, margin in rows}


def look_alikes(session: Session, *, limit: int) -> list[PairMargin]:
    """Pairs that need a margin, the most alike first, then those that an operator complained of."""
    order = PairMargin.source.desc(), PairMargin.score.desc(), PairMargin.person_a, PairMargin.person_b
    return list(session.scalars(select(PairMargin).order_by(*order).limit(limit)))


def replace_look_alikes(session: Session, found: Sequence[LookAlikes], margin: float) -> None:
    """What the latest calibration found takes the place of what the one before did."""
    session.execute(delete(PairMargin).where(PairMargin.source == LOOK_ALIKE))
    present = _present(session, {person for pair in found for person in (pair.person_a, pair.person_b)})
    now = utc_now()
    for each in found:
        a, b = pair_of(each.person_a, each.person_b)
        if a in present and b in present:
            session.add(
                PairMargin(person_a=a, person_b=b, source=LOOK_ALIKE, margin=margin, score=each.score, created_at=now)
            )
    session.flush()


def raise_margin(session: Session, person_a: str, person_b: str, margin: float) -> float:
    """A complaint about two people: their margin grows to at least this; returns what it is now."""
    a, b = pair_of(person_a, person_b)
    row = session.get(PairMargin, (a, b, FEEDBACK))
    if row is None:
        row = PairMargin(person_a=a, person_b=b, source=FEEDBACK, margin=margin, score=None, created_at=utc_now())
        session.add(row)
    row.margin = max(row.margin, margin)
    session.flush()
    return row.margin


def forget_margin(session: Session, person_a: str, person_b: str) -> bool:
    """Takes back every complaint about two people; False when there was none."""
    a, b = pair_of(person_a, person_b)
    row = session.get(PairMargin, (a, b, FEEDBACK))
    if row is not None:
        session.delete(row)
        session.flush()
    return row is not None


def suspicious_templates(session: Session, *, limit: int) -> list[tuple[SuspiciousTemplateRow, Template]]:
    """The worst first."""
    statement = select(SuspiciousTemplateRow, Template).join(Template, Template.id == SuspiciousTemplateRow.template_id)
    rows = session.execute(statement.order_by(SuspiciousTemplateRow.lead.desc()).limit(limit))
    return [(suspicious, template) for suspicious, template in rows]


def replace_suspicious(session: Session, found: Sequence[SuspiciousTemplate]) -> None:
    """What the latest calibration found takes the place of what the one before did."""
    session.execute(delete(SuspiciousTemplateRow))
    people = _present(session, {each.nearer_to for each in found})
    ids = [each.template_id for each in found]
    templates = set(session.scalars(select(Template.id).where(Template.id.in_(ids))))
    kept = [each for each in found if each.nearer_to in people and each.template_id in templates]
    rows = [{"template_id": each.template_id, "nearer_to": each.nearer_to, "lead": each.lead} for each in kept]
    if rows:
        session.execute(insert(SuspiciousTemplateRow), rows)


def enrolment_numbers(session: Session, template_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(T,)` which enrolment each template comes from, as any number; one deleted meanwhile counts as its own."""
    numbers: dict[str, int] = {}
    stored = session.execute(select(Template.id, Template.enrolment_id))
    of = {template_id: numbers.setdefault(enrolment_id, len(numbers)) for template_id, enrolment_id in stored}
    return np.array([of.get(int(each), -1 - row) for row, each in enumerate(template_ids)], dtype=np.int64)


def confirmed_searches(session: Session) -> ConfirmedSearches:
    """What operators confirmed of past decisions: who it was, and what that person scored."""
    true_person = func.coalesce(DecisionRow.true_person_id, DecisionRow.person_id)
    newest = func.row_number().over(partition_by=true_person, order_by=DecisionRow.judged_at.desc())
    judged = (
        select(DecisionRow.id, true_person.label("person_id"), newest.label("age"))
        .where(DecisionRow.is_correct.is_not(None), true_person.is_not(None))
        .where(DecisionRow.is_correct | DecisionRow.true_person_id.is_not(None))
        .subquery()
    )
    best = (DecisionCandidate.decision_id == judged.c.id) & (DecisionCandidate.rank == 1)
    rows = session.execute(
        select(judged.c.person_id, DecisionCandidate.person_id, DecisionCandidate.score)
        .join(DecisionCandidate, best)
        .where(judged.c.age <= _CONFIRMED_PER_PERSON)
    ).all()
    scores = [score if first == person_id else -np.inf for person_id, first, score in rows]
    return ConfirmedSearches(tuple(row[0] for row in rows), np.array(scores, dtype=np.float32))


def last_judged_at(session: Session) -> datetime | None:
    return session.scalars(select(func.max(DecisionRow.judged_at))).one()


def _present(session: Session, person_ids: Collection[str]) -> set[str]:
    return set(session.scalars(select(Person.id).where(Person.id.in_(person_ids))))

"""All SQL about operating points and what calibrations found."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select, tuple_, union_all, update
from sqlalchemy.orm import Session

from app.db.tables import (
    DecisionCandidate,
    DecisionRow,
    Enrolment,
    LookAlikeRow,
    OperatingPointRow,
    PairComplaint,
    Person,
    RecalibrationRequest,
    SuspiciousTemplateRow,
    Template,
    ThresholdState,
)
from app.db.types import utc_now
from ml.calibration import ConfirmedSearches
from ml.decision import PairMargins, pair_of
from ml.findings import LookAlikes, SuspiciousTemplate

# Newest confirmed searches that count per person: somebody confirmed every day must not stand for everybody.
_CONFIRMED_PER_PERSON = 5

# Asked with every picture: built once, and of the table, it costs half of what the ORM takes for the same.
_STATE: Final = ThresholdState.metadata.tables[ThresholdState.__tablename__].c
_VERSION: Final = select(_STATE.version).where(_STATE.id == 1)


@dataclass(frozen=True, slots=True)
class ComplainedPair:
    """Two people of whom operators said that one was named in place of the other, and what the worst case asks for."""

    person_a: str
    person_b: str
    margin: float
    n_complaints: int


@dataclass(frozen=True, slots=True, eq=False)
class Origins:
    """Where templates come from: `enrolments (T,)` numbered in any way, `is_clip (T,)` whether that was a video."""

    enrolments: NDArray[np.int64]
    is_clip: NDArray[np.bool_]


def version(session: Session) -> int:
    """Grows with everything that changes decisions."""
    number: int = session.execute(_VERSION).scalar_one()
    return number


def state(session: Session) -> ThresholdState:
    return session.scalars(select(ThresholdState).where(ThresholdState.id == 1)).one()


def lock_state(session: Session) -> ThresholdState:
    """The state, with the writers' turn until commit, and its version already the next one."""
    session.execute(update(ThresholdState).where(ThresholdState.id == 1).values(version=ThresholdState.version + 1))
    return state(session)


def latest_in_force(session: Session, model: str) -> OperatingPointRow | None:
    """The newest point of a model that was more than a suggestion."""
    of = select(OperatingPointRow).where(OperatingPointRow.model == model, OperatingPointRow.is_suggestion.is_(False))
    newest = of.order_by(OperatingPointRow.created_at.desc(), OperatingPointRow.id.desc()).limit(1)
    return session.scalars(newest).one_or_none()


def point(session: Session, point_id: str) -> OperatingPointRow | None:
    return session.get(OperatingPointRow, point_id)


def pending_requests(session: Session) -> list[str]:
    """Ids of the calibrations that somebody waits for, the oldest first."""
    order = RecalibrationRequest.created_at, RecalibrationRequest.id
    return list(session.scalars(select(RecalibrationRequest.id).order_by(*order)))


def take_requests(session: Session, ids: Sequence[str]) -> list[str]:
    """Delete those of these requests that are still there; returns who made them, the oldest first, each once."""
    row = RecalibrationRequest
    deleted = delete(row).where(row.id.in_(ids)).returning(row.created_at, row.id, row.requested_by)
    rows = sorted(session.execute(deleted), key=lambda taken: (taken.created_at, taken.id))
    return list(dict.fromkeys(taken.requested_by for taken in rows))


def threshold_in_force(session: Session) -> float | None:
    """None before the first start was over."""
    joined = select(OperatingPointRow.threshold).join(ThresholdState, ThresholdState.current_id == OperatingPointRow.id)
    return session.scalars(joined).one_or_none()


def points(session: Session, *, before: tuple[datetime, str] | None, limit: int) -> list[OperatingPointRow]:
    """Newest first, older than the point with this `(created_at, id)`."""
    order = OperatingPointRow.created_at.desc(), OperatingPointRow.id.desc()
    statement = select(OperatingPointRow).order_by(*order).limit(limit)
    if before is not None:
        statement = statement.where(tuple_(OperatingPointRow.created_at, OperatingPointRow.id) < before)
    return list(session.scalars(statement))


def pair_margins(session: Session) -> PairMargins:
    """The margin that each pair needs, from whatever source asks most."""
    asked = union_all(
        *(select(table.person_a, table.person_b, table.margin) for table in (LookAlikeRow, PairComplaint))
    ).subquery()
    pair = asked.c.person_a, asked.c.person_b
    rows = session.execute(select(*pair, func.max(asked.c.margin)).group_by(*pair))
    return {(a, b): float(margin) for a, b, margin in rows}


def look_alikes(session: Session, *, limit: int) -> list[LookAlikeRow]:
    """The most alike first."""
    order = LookAlikeRow.score.desc(), LookAlikeRow.person_a, LookAlikeRow.person_b
    return list(session.scalars(select(LookAlikeRow).order_by(*order).limit(limit)))


def complained_pairs(session: Session, *, limit: int) -> list[ComplainedPair]:
    """Those whose margin was raised most come first."""
    pair, margin = (PairComplaint.person_a, PairComplaint.person_b), func.max(PairComplaint.margin)
    order = margin.desc(), *pair
    rows = session.execute(select(*pair, margin, func.count()).group_by(*pair).order_by(*order).limit(limit))
    return [ComplainedPair(a, b, float(most), n) for a, b, most, n in rows]


def replace_look_alikes(session: Session, found: Sequence[LookAlikes], margin: float) -> None:
    """What the latest calibration found takes the place of what the one before did."""
    session.execute(delete(LookAlikeRow))
    present = _present(session, {person for pair in found for person in (pair.person_a, pair.person_b)})
    for each in found:
        a, b = pair_of(each.person_a, each.person_b)
        if a in present and b in present:
            session.add(LookAlikeRow(person_a=a, person_b=b, margin=margin, score=each.score))
    session.flush()


def complain(session: Session, event_id: str, person_a: str, person_b: str, margin: float) -> None:
    """From now on the two need at least this margin; one complaint per event."""
    a, b = pair_of(person_a, person_b)
    session.add(PairComplaint(event_id=event_id, person_a=a, person_b=b, margin=margin, created_at=utc_now()))
    session.flush()


def take_back(session: Session, event_id: str) -> None:
    """Forgets the complaint of one event, if there is one."""
    session.execute(delete(PairComplaint).where(PairComplaint.event_id == event_id))


def forget_complaints(session: Session, person_a: str, person_b: str) -> int:
    """Forgets every complaint about two people; returns how many there were."""
    a, b = pair_of(person_a, person_b)
    about = PairComplaint.person_a == a, PairComplaint.person_b == b
    n_complaints = session.scalars(select(func.count()).select_from(PairComplaint).where(*about)).one()
    session.execute(delete(PairComplaint).where(*about))
    return n_complaints


def empty_curves(session: Session, point_id: str) -> None:
    """Takes the curves, nearly all of a row's size, from a point that nobody will ask for them."""
    session.execute(update(OperatingPointRow).where(OperatingPointRow.id == point_id).values(curves={}))


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


def origins(session: Session, template_ids: NDArray[np.int64]) -> Origins:
    """Where each template comes from; one deleted meanwhile counts as an enrolment of its own."""
    numbers: dict[str, int] = {}
    stored = session.execute(
        select(Template.id, Template.enrolment_id, Enrolment.kind).join(
            Enrolment, Enrolment.id == Template.enrolment_id
        )
    )
    of = {id_: (numbers.setdefault(enrolment_id, len(numbers)), kind == "video") for id_, enrolment_id, kind in stored}
    found = [of.get(int(each), (-1 - row, False)) for row, each in enumerate(template_ids)]
    return Origins(
        np.array([number for number, _ in found], dtype=np.int64),
        np.array([is_clip for _, is_clip in found], dtype=bool),
    )


def confirmed_searches(session: Session, model: str) -> ConfirmedSearches:
    """What operators confirmed of past decisions by this backbone: who it was, and what that person scored."""
    true_person = func.coalesce(DecisionRow.true_person_id, DecisionRow.person_id)
    newest = func.row_number().over(partition_by=true_person, order_by=DecisionRow.judged_at.desc())
    judged = (
        select(DecisionRow.id, true_person.label("person_id"), newest.label("age"))
        .where(DecisionRow.model == model, DecisionRow.is_correct.is_not(None), true_person.is_not(None))
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


def forget_findings(session: Session) -> None:
    """Look-alikes and suspicious templates were found by another model."""
    session.execute(delete(LookAlikeRow))
    session.execute(delete(SuspiciousTemplateRow))


def scale_complaints(session: Session, ratio: float) -> None:
    session.execute(update(PairComplaint).values(margin=PairComplaint.margin * ratio))

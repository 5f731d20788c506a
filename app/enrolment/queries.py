"""All SQL about enrolments and their templates."""

from collections.abc import Collection, Sequence

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from app.db.tables import Enrolment, Job, Template

# Ids in one IN (...): below every database's limit on bound values.
_IDS_AT_ONCE = 500


def enrolment_by_id(session: Session, enrolment_id: str) -> Enrolment | None:
    return session.get(Enrolment, enrolment_id)


def templates_of(session: Session, enrolment_id: str) -> Sequence[Template]:
    statement = select(Template).where(Template.enrolment_id == enrolment_id).order_by(Template.id)
    return session.scalars(statement).all()


def latest_of(session: Session, person_id: str, limit: int) -> Sequence[Enrolment]:
    """A person's enrolments, newest first."""
    of = select(Enrolment).where(Enrolment.person_id == person_id)
    return session.scalars(of.order_by(Enrolment.created_at.desc(), Enrolment.id.desc()).limit(limit)).all()


def n_templates_by_enrolment(session: Session, person_id: str) -> dict[str, int]:
    """How many templates each of a person's enrolments has left; those without any are left out."""
    of = select(Template.enrolment_id, func.count()).where(Template.person_id == person_id)
    return {enrolment_id: n for enrolment_id, n in session.execute(of.group_by(Template.enrolment_id))}


def clips_of(session: Session, person_id: str) -> Sequence[Enrolment]:
    """A person's enrolments by video."""
    return session.scalars(select(Enrolment).where(Enrolment.person_id == person_id, Enrolment.kind == "video")).all()


def n_templates_of(session: Session, person_id: str) -> int:
    return session.scalars(select(func.count()).select_from(Template).where(Template.person_id == person_id)).one()


def existing(session: Session, enrolment_ids: Collection[str]) -> set[str]:
    """Those of these enrolments that (still) exist."""
    return _of(session, enrolment_ids, select(Enrolment.id))


def waiting(session: Session, enrolment_ids: Collection[str]) -> set[str]:
    """Those of these enrolments whose job is still to read their clip."""
    statement = select(Enrolment.id).join(Job, Job.id == Enrolment.job_id)
    is_waiting = Enrolment.status == "queued", Job.status.in_(("queued", "running"))
    return _of(session, enrolment_ids, statement.where(*is_waiting))


def n_waiting(session: Session) -> int:
    """How many clips wait for their job, or are being read."""
    joined = select(func.count()).select_from(Enrolment).join(Job, Job.id == Enrolment.job_id)
    return session.scalars(joined.where(Enrolment.status == "queued", Job.status.in_(("queued", "running")))).one()


def _of(session: Session, enrolment_ids: Collection[str], statement: Select[str]) -> set[str]:
    ids, found = list(enrolment_ids), set[str]()
    for start in range(0, len(ids), _IDS_AT_ONCE):
        found |= set(session.scalars(statement.where(Enrolment.id.in_(ids[start : start + _IDS_AT_ONCE]))))
    return found


def delete_enrolment(session: Session, enrolment_id: str) -> None:
    """The database deletes its templates with it."""
    session.execute(delete(Enrolment).where(Enrolment.id == enrolment_id))

"""All SQL about enrolments and their templates."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db.tables import Enrolment, Job, Template


def enrolment_by_id(session: Session, enrolment_id: str) -> Enrolment | None:
    return session.get(Enrolment, enrolment_id)


def templates_of(session: Session, enrolment_id: str) -> Sequence[Template]:
    statement = select(Template).where(Template.enrolment_id == enrolment_id).order_by(Template.id)
    return session.scalars(statement).all()


def n_templates_of(session: Session, person_id: str) -> int:
    return session.scalars(select(func.count()).select_from(Template).where(Template.person_id == person_id)).one()


def n_templates_in(session: Session, enrolment_id: str) -> int:
    return session.scalars(
        select(func.count()).select_from(Template).where(Template.enrolment_id == enrolment_id)
    ).one()


def existing(session: Session, enrolment_ids: Collection[str]) -> set[str]:
    """Those of these enrolments that (still) exist."""
    return set(session.scalars(select(Enrolment.id).where(Enrolment.id.in_(enrolment_ids))))


def waiting(session: Session, enrolment_ids: Collection[str]) -> set[str]:
    """Those of these enrolments whose job is still to read their clip."""
    statement = select(Enrolment.id).join(Job, Job.id == Enrolment.job_id).where(Enrolment.id.in_(enrolment_ids))
    return set(session.scalars(statement.where(Enrolment.status == "queued", Job.status.in_(("queued", "running")))))


def delete_enrolment(session: Session, enrolment_id: str) -> None:
    """The database deletes its templates with it."""
    session.execute(delete(Enrolment).where(Enrolment.id == enrolment_id))

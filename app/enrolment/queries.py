"""All SQL about enrolments and their templates."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db.tables import Enrolment, Template


def enrolment_by_id(session: Session, enrolment_id: str) -> Enrolment | None:
    return session.get(Enrolment, enrolment_id)


def templates_of(session: Session, enrolment_id: str) -> Sequence[Template]:
    statement = select(Template).where(Template.enrolment_id == enrolment_id).order_by(Template.id)
    return session.scalars(statement).all()


def n_templates_of(session: Session, person_id: str) -> int:
    return session.scalars(select(func.count()).select_from(Template).where(Template.person_id == person_id)).one()


def delete_enrolment(session: Session, enrolment_id: str) -> None:
    """The database deletes its templates with it."""
    session.execute(delete(Enrolment).where(Enrolment.id == enrolment_id))

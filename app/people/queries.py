"""All SQL about people."""

import unicodedata
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Row, Select, case, delete, exists, func, insert, literal, select, tuple_
from sqlalchemy.orm import Session

from app.db.tables import Person, SuspiciousTemplateRow, Template
from ml.pose import FRONTAL_WITHIN_DEG

POSES: dict[str, ColumnElement[bool]] = {
    "frontal": (func.abs(Template.yaw_deg) < FRONTAL_WITHIN_DEG) & (func.abs(Template.pitch_deg) < FRONTAL_WITHIN_DEG),
    "left": Template.yaw_deg <= -FRONTAL_WITHIN_DEG,
    "right": Template.yaw_deg >= FRONTAL_WITHIN_DEG,
    "up": Template.pitch_deg >= FRONTAL_WITHIN_DEG,
    "down": Template.pitch_deg <= -FRONTAL_WITHIN_DEG,
}

# Whoever is enrolled in fewer of these poses is recognised less reliably from the side or from above.
ENOUGH_POSES: Final = 3

FaceLack = Literal["none", "poor"]
"""Who has no templates at all, and whose templates show fewer than `ENOUGH_POSES` poses."""


def search_text(*words: str) -> str:
    """Words without case, accents and compatibility forms, so that `jose` finds `José` on every database."""
    decomposed = unicodedata.normalize("NFKD", " ".join(words))
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()


def person_by_id(session: Session, person_id: str) -> Person | None:
    return session.get(Person, person_id)


def person_by_code(session: Session, employee_code: str) -> Person | None:
    return session.scalars(select(Person).where(Person.employee_code == employee_code)).one_or_none()


def people_by_codes(session: Session, employee_codes: Collection[str]) -> dict[str, Person]:
    query = select(Person).where(Person.employee_code.in_(employee_codes))
    return {person.employee_code: person for person in session.scalars(query)}


def ids_of_codes(session: Session, employee_codes: Collection[str]) -> list[str]:
    return list(session.scalars(select(Person.id).where(Person.employee_code.in_(employee_codes))))


def list_people(
    session: Session,
    *,
    query: str | None = None,
    department: str | None = None,
    active: bool | None = None,
    lacks: FaceLack | None = None,
    newest_first: bool = False,
    after: tuple[datetime, str] | None = None,
    limit: int,
) -> list[Person]:
    """Oldest first, or newest, after the person with this `(created_at, id)`."""
    statement = select(Person).limit(limit)
    if query:
        statement = statement.where(Person.search_text.contains(search_text(query), autoescape=True))
    if department is not None:
        statement = statement.where(Person.department == department)
    if active is not None:
        statement = statement.where(Person.active == active)
    if lacks is not None:
        statement = statement.where(_lacks(lacks))
    return list(session.scalars(_from(statement, after, newest_first=newest_first)))


def departments(session: Session, limit: int) -> list[str]:
    """All that somebody is in, by name."""
    named = select(Person.department).where(Person.department.is_not(None)).distinct()
    return [name for name in session.scalars(named.order_by(Person.department).limit(limit)) if name]


def enrolment_counts(session: Session, person_ids: Collection[str]) -> dict[str, dict[str, int]]:
    """By person with templates: `n_templates`, and how many show each pose."""
    counts = [func.sum(case((pose, 1), else_=0)).label(name) for name, pose in POSES.items()]
    statement = (
        select(Template.person_id, func.count().label("n_templates"), *counts)
        .where(Template.person_id.in_(person_ids))
        .group_by(Template.person_id)
    )
    rows = session.execute(statement).mappings()
    return {row["person_id"]: {name: int(row[name]) for name in ("n_templates", *POSES)} for row in rows}


def templates_to_show(session: Session, person_id: str, limit: int) -> Sequence[Row[Any]]:
    """A person's templates without their embeddings, newest first: all columns to show, and `is_suspicious`."""
    columns = (
        Template.id,
        Template.enrolment_id,
        Template.quality,
        Template.yaw_deg,
        Template.pitch_deg,
        Template.roll_deg,
        Template.source,
        Template.created_at,
    )
    is_suspicious = SuspiciousTemplateRow.template_id.is_not(None).label("is_suspicious")
    statement = (
        select(*columns, is_suspicious)
        .outerjoin(SuspiciousTemplateRow, SuspiciousTemplateRow.template_id == Template.id)
        .where(Template.person_id == person_id)
        .order_by(Template.id.desc())
        .limit(limit)
    )
    return session.execute(statement).all()


def template_ids(session: Session, person_id: str) -> list[int]:
    return list(session.scalars(select(Template.id).where(Template.person_id == person_id).order_by(Template.id)))


def insert_people(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    session.execute(insert(Person), rows)


def delete_person(session: Session, person_id: str) -> None:
    """The database deletes the enrolments and templates with it."""
    session.execute(delete(Person).where(Person.id == person_id))


def _from(statement: Select[Person], after: tuple[datetime, str] | None, *, newest_first: bool) -> Select[Person]:
    key = tuple_(Person.created_at, Person.id)
    if newest_first:
        ordered = statement.order_by(Person.created_at.desc(), Person.id.desc())
        return ordered.where(key < after) if after else ordered
    ordered = statement.order_by(Person.created_at, Person.id)
    return ordered.where(key > after) if after else ordered


def _lacks(lack: FaceLack) -> ColumnElement[bool]:
    if lack == "none":
        return ~exists().where(Template.person_id == Person.id)
    n_poses = sum((func.max(case((pose, 1), else_=0)) for pose in POSES.values()), start=literal(0))
    shown = select(n_poses).where(Template.person_id == Person.id).scalar_subquery()  # null without templates
    return shown < ENOUGH_POSES

"""All SQL about people."""

import unicodedata
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, insert, select, tuple_
from sqlalchemy.orm import Session

from app.db.tables import Person, Template
from ml.pose import FRONTAL_WITHIN_DEG

POSES: dict[str, ColumnElement[bool]] = {
    "frontal": (func.abs(Template.yaw_deg) < FRONTAL_WITHIN_DEG) & (func.abs(Template.pitch_deg) < FRONTAL_WITHIN_DEG),
    "left": Template.yaw_deg <= -FRONTAL_WITHIN_DEG,
    "right": Template.yaw_deg >= FRONTAL_WITHIN_DEG,
    "up": Template.pitch_deg >= FRONTAL_WITHIN_DEG,
    "down": Template.pitch_deg <= -FRONTAL_WITHIN_DEG,
}


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
    after: tuple[datetime, str] | None = None,
    limit: int,
) -> list[Person]:
    """Oldest first, after the person with this `(created_at, id)`."""
    statement = select(Person).order_by(Person.created_at, Person.id).limit(limit)
    if query:
        statement = statement.where(Person.search_text.contains(search_text(query), autoescape=True))
    if department is not None:
        statement = statement.where(Person.department == department)
    if active is not None:
        statement = statement.where(Person.active == active)
    if after is not None:
        statement = statement.where(tuple_(Person.created_at, Person.id) > after)
    return list(session.scalars(statement))


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


def template_ids(session: Session, person_id: str) -> list[int]:
    return list(session.scalars(select(Template.id).where(Template.person_id == person_id).order_by(Template.id)))


def insert_people(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    session.execute(insert(Person), rows)


def delete_person(session: Session, person_id: str) -> None:
    """The database deletes the enrolments and templates with it."""
    session.execute(delete(Person).where(Person.id == person_id))

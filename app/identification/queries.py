"""All SQL of identification."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.tables import Person
from app.identification.schemas import PersonRef


def person_refs(session: Session, person_ids: Collection[str]) -> dict[str, PersonRef]:
    """Id, code and name of those of these people who exist."""
    if not person_ids:
        return {}
    rows = session.execute(select(Person.id, Person.employee_code, Person.name).where(Person.id.in_(person_ids)))
    return {row.id: PersonRef(id=row.id, employee_code=row.employee_code, name=row.name) for row in rows}

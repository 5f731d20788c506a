"""Makes the things that tests of the service are about. Every argument is a keyword."""

import secrets
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.auth.scopes import Principal, Scope
from app.auth.service import create_key
from app.db.engine import Database
from app.db.tables import Enrolment, Person, Template
from app.db.types import new_id, utc_now
from app.gallery.changes import record_additions
from app.people.schemas import PersonCreate
from app.people.service import row_of

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def make_headers(
    *, database: Database, scope: str = "admin", expires_at: datetime | None = None, name: str = "test"
) -> dict[str, str]:
    """Headers that carry a new key."""
    with database.write() as session:
        return {"X-API-Key": create_key(session, name, Scope(scope), expires_at)[1]}


def make_principal(*, scope: str = "operator") -> Principal:
    return Principal("key_test", Scope(scope))


def make_person(
    *, session: Session, employee_code: str | None = None, name: str = "Ada Byron", **fields: Any
) -> Person:
    new = PersonCreate(employee_code=employee_code or secrets.token_hex(4), name=name, **fields)
    person = Person(**row_of(new))
    session.add(person)
    session.flush()
    return person


def make_enrolment(*, session: Session, person: Person, kind: str = "images", status: str = "done") -> Enrolment:
    enrolment = Enrolment(id=new_id("enr"), person_id=person.id, kind=kind, status=status, created_at=utc_now())
    session.add(enrolment)
    session.flush()
    return enrolment


def make_embedding(*, seed: int = 0, dim: int = 128) -> bytes:
    """A unit vector as it is stored."""
    vector = np.random.default_rng(seed).normal(size=dim)
    return (vector / np.linalg.norm(vector)).astype("<f4").tobytes()


def make_template(
    *,
    session: Session,
    person: Person,
    enrolment: Enrolment | None = None,
    embedding: bytes | None = None,
    model: str = "dlib-resnet/1",
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
) -> Template:
    """A template with its entry in the gallery's log."""
    template = Template(
        person_id=person.id,
        enrolment_id=(enrolment or make_enrolment(session=session, person=person)).id,
        model=model,
        embedding=embedding or make_embedding(seed=secrets.randbits(32)),
        quality=0.9,
        yaw_deg=yaw_deg,
        pitch_deg=pitch_deg,
        roll_deg=0.0,
        source={"file": "a.jpg", "frame": None, "time_s": None},
        created_at=utc_now(),
    )
    session.add(template)
    session.flush()
    record_additions(session, [(template.id, person.id)])
    return template

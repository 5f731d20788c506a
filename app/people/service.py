"""What can be done to people, inside a session that the caller commits."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.attendance import erasure
from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import Person
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.gallery.changes import record_additions, record_removals
from app.gallery.queries import lock_gallery
from app.http.idempotency import forget_answers_about
from app.people import queries, schemas
from app.shifts import roster
from app.sites import service as sites


def get(session: Session, person_id: str) -> Person:
    """The person, or 404."""
    person = queries.person_by_id(session, person_id)
    if person is None:
        raise ProblemError(404, "person_not_found", "There is no person with this id.")
    return person


def create(session: Session, new: schemas.PersonCreate, caller: Principal) -> Person:
    _refuse_unknown_site(session, new.site_id)
    person = Person(**row_of(new))
    session.add(person)
    _flush(session)
    roster.assign_first(session, person.id, new.shift_id, caller.actor)
    record(session, caller.actor, "person.created", person.id)
    return person


def update(
    session: Session, person_id: str, update: schemas.PersonUpdate, caller: Principal, default_zone: str
) -> Person:
    """`default_zone` is that of sites without one: where the person may be, another shift counts from today on."""
    lock_gallery(session)  # before the person, as an erasure does: else each could wait for the other
    person = get(session, person_id)
    changes, left_at, before = update.changes, person.deactivated_at, person.shift_id
    was_active = person.active
    _refuse_unknown_site(session, update.site_id)
    apply(person, changes)
    _flush(session)
    if person.active != was_active:
        _enter_or_leave_gallery(session, person)
        person.deactivated_at = None if person.active else person.updated_at
    if person.active and left_at is not None:
        roster.resume(session, person.id, left_at, caller.actor, default_zone)
    replan(session, person, before, caller, default_zone)
    record(session, caller.actor, "person.updated", person.id, {"fields": sorted(changes)})
    return person


def replan(session: Session, person: Person, shift_before: str | None, caller: Principal, default_zone: str) -> None:
    """After a change that is flushed: assigns another shift from today on.

    Another zone or site counts for what is recorded from then on; days that are worked out stay as they are.
    """
    if person.shift_id != shift_before:
        roster.assign_standing(session, person.id, person.shift_id, caller.actor, default_zone)


def apply(person: Person, changes: dict[str, Any]) -> bool:
    """Sets the fields; True when any was different."""
    columns = _columns(changes)
    if all(getattr(person, name) == value for name, value in columns.items()):
        return False
    for name, value in columns.items():
        setattr(person, name, value)
    person.search_text = queries.search_text(person.employee_code, person.name)
    person.updated_at = utc_now()
    return True


def erase(session: Session, person_id: str, caller: Principal) -> schemas.ErasureReceipt:
    """Deletes the person with everything that shows who they are; leaves ids and counts."""
    lock_gallery(session)  # nobody enrols or judges meanwhile, and would leave a row about somebody who is gone
    get(session, person_id)
    template_ids = queries.template_ids(session, person_id)
    revision = record_removals(session, [(template_id, person_id) for template_id in template_ids])
    forgotten = erasure.forget(session, person_id)
    queries.delete_person(session, person_id)
    forget_answers_about(session, person_id)
    record(session, caller.actor, "person.erased", person_id, {"templates_deleted": len(template_ids)})
    return schemas.ErasureReceipt(
        person_id=person_id,
        templates_deleted=len(template_ids),
        crops_deleted=forgotten.n_crops,
        events_anonymised=forgotten.n_events,
        gallery_revision=revision,
    )


def _refuse_unknown_site(session: Session, site_id: str | None) -> None:
    if site_id is not None:
        sites.named(session, site_id)


def _enter_or_leave_gallery(session: Session, person: Person) -> None:
    """Deactivated people keep their templates but are recognised no more."""
    templates = [(template_id, person.id) for template_id in queries.template_ids(session, person.id)]
    (record_additions if person.active else record_removals)(session, templates)


def views(session: Session, people: Sequence[Person]) -> list[schemas.Person]:
    """People as the API shows them."""
    counts = queries.enrolment_counts(session, [person.id for person in people])
    return [_view(person, counts.get(person.id, {})) for person in people]


def row_of(new: schemas.PersonCreate) -> dict[str, Any]:
    """The columns of a new person."""
    now = utc_now()
    return {
        "id": new_id("per"),
        "search_text": queries.search_text(new.employee_code, new.name),
        "active": True,
        "created_at": now,
        "updated_at": now,
        **_columns({name: getattr(new, name) for name in schemas.PersonCreate.model_fields}),
    }


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    columns = {name: value for name, value in fields.items() if name != "consent"}
    if "consent" in fields:
        consent: schemas.Consent | None = fields["consent"]
        columns["consent_given_at"] = consent.given_at if consent else None
        columns["consent_method"] = consent.method if consent else None
    return columns


def _view(person: Person, counts: dict[str, int]) -> schemas.Person:
    consent = None
    if person.consent_given_at is not None:
        consent = schemas.Consent(given_at=person.consent_given_at, method=person.consent_method or "")
    return schemas.Person(
        id=person.id,
        employee_code=person.employee_code,
        name=person.name,
        department=person.department,
        timezone=person.timezone,
        shift_id=person.shift_id,
        site_id=person.site_id,
        active=person.active,
        consent=consent,
        n_templates=counts.get("n_templates", 0),
        coverage=schemas.Coverage.model_validate(counts),
        created_at=person.created_at,
        updated_at=person.updated_at,
    )


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError:
        raise ProblemError(409, "employee_code_taken", "Another person has this employee_code.") from None

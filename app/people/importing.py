"""Importing people: every row is judged by itself, and all good rows are written together."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import Person
from app.errors import RETRY_AFTER_S, ProblemError
from app.people import queries, schemas, service
from app.people.csv_file import Row

# People looked up per statement: well under the number of parameters either database takes.
CHUNK = 500


def import_people(session: Session, rows: Sequence[Row], caller: Principal) -> schemas.ImportResult:
    """Creates or updates a person per row, by employee_code; columns the file lacks are left as they are."""
    errors: list[schemas.ImportProblem] = []
    people = list(_valid(rows, errors))
    result = schemas.ImportResult(created=0, updated=0, unchanged=0, errors=errors)
    for chunk in _chunks(people):
        _write(session, chunk, result)
    counts = result.model_dump(exclude={"errors"}) | {"refused": len(errors)}
    record(session, caller.actor, "people.imported", None, counts)
    return result


def _valid(
    rows: Sequence[Row], errors: list[schemas.ImportProblem]
) -> Iterator[tuple[schemas.PersonCreate, dict[str, Any]]]:
    seen: set[str] = set()
    for row in rows:
        try:
            person = schemas.PersonCreate.model_validate(row.cells)
        except ValidationError as exc:
            errors.append(schemas.ImportProblem(line=row.line, code="fields_invalid", detail=_describe(exc)))
            continue
        if person.employee_code in seen:
            detail = "employee_code: an earlier row of this file has the same"
            errors.append(schemas.ImportProblem(line=row.line, code="employee_code_repeated", detail=detail))
            continue
        seen.add(person.employee_code)
        yield person, {name: getattr(person, name) for name in row.cells}


def _write(
    session: Session, chunk: Sequence[tuple[schemas.PersonCreate, dict[str, Any]]], result: schemas.ImportResult
) -> None:
    known = queries.people_by_codes(session, [person.employee_code for person, _ in chunk])
    new = []
    for person, changes in chunk:
        stored: Person | None = known.get(person.employee_code)
        if stored is None:
            new.append(service.row_of(person))
        elif service.apply(stored, changes):
            result.updated += 1
        else:
            result.unchanged += 1
    result.created += len(new)
    _insert(session, new)


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    try:
        if rows:
            queries.insert_people(session, rows)
        session.flush()
    except (IntegrityError, StaleDataError):
        detail = "Somebody else created or erased one of these people meanwhile; nothing was changed. Send it again."
        raise ProblemError(409, "import_conflict", detail, headers={"Retry-After": str(RETRY_AFTER_S)}) from None


def _chunks(
    people: Sequence[tuple[schemas.PersonCreate, dict[str, Any]]],
) -> Iterator[list[tuple[schemas.PersonCreate, dict[str, Any]]]]:
    rest = iter(people)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _describe(exc: ValidationError) -> str:
    return "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in exc.errors())

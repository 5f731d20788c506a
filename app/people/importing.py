"""Importing people: every row is judged by itself, and all good rows are written together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.attendance.queries import lock_people
from app.audit.service import record
from app.auth.scopes import Principal
from app.db.tables import Person
from app.errors import RETRY_AFTER_S, ProblemError
from app.people import queries, schemas, service
from app.people.csv_file import Row
from app.shifts.queries import assignable_ids
from app.shifts.roster import assign_first
from app.sites.queries import all_site_ids

T = TypeVar("T")

# People looked up per statement: well under the number of parameters either database takes.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class _Import:
    """One import: who sends it, and what its rows may name."""

    caller: Principal
    default_zone: str
    site_ids: set[str]
    shift_ids: set[str]

    def refusal(self, person: schemas.PersonCreate) -> tuple[str, str] | None:
        """Code and words, where a row names what is not there."""
        if person.site_id is not None and person.site_id not in self.site_ids:
            return "site_not_found", "site_id: there is no such site"
        if person.shift_id is not None and person.shift_id not in self.shift_ids:
            return "shift_not_found", "shift_id: there is no such shift, or it is retired"
        return None


@dataclass(frozen=True, slots=True)
class _Good:
    """A row that can be taken: its line of the file, the person, and the columns that the file has."""

    line: int
    person: schemas.PersonCreate
    changes: dict[str, Any]


def import_people(session: Session, rows: Sequence[Row], caller: Principal, default_zone: str) -> schemas.ImportResult:
    """Creates or updates a person per row, by employee_code; columns the file lacks are left as they are."""
    errors: list[schemas.ImportProblem] = []
    this = _Import(caller, default_zone, all_site_ids(session), assignable_ids(session))
    people = list(_valid(rows, this, errors))
    lines = schemas.ImportLines()
    _lock(session, people)
    for chunk in _chunks(people):
        _write(session, chunk, this, lines)
    counts = {name: len(numbers) for name, numbers in lines}
    record(session, caller.actor, "people.imported", None, counts | {"refused": len(errors)})
    return schemas.ImportResult(**counts, errors=errors, lines=lines)


def _valid(rows: Sequence[Row], this: _Import, errors: list[schemas.ImportProblem]) -> Iterator[_Good]:
    seen: set[str] = set()
    for row in rows:
        try:
            person = schemas.PersonCreate.model_validate(row.cells)
        except ValidationError as exc:
            errors.append(schemas.ImportProblem(line=row.line, code="fields_invalid", detail=_describe(exc)))
            continue
        if (wrong := this.refusal(person)) is not None:
            errors.append(schemas.ImportProblem(line=row.line, code=wrong[0], detail=wrong[1]))
            continue
        if person.employee_code in seen:
            detail = "employee_code: an earlier row of this file has the same"
            errors.append(schemas.ImportProblem(line=row.line, code="employee_code_repeated", detail=detail))
            continue
        seen.add(person.employee_code)
        yield _Good(row.line, person, {name: getattr(person, name) for name in row.cells})


def _lock(session: Session, people: Sequence[_Good]) -> None:
    """Everybody who is there already, before anybody is changed: in the order in which everybody locks people."""
    codes = [good.person.employee_code for good in people]
    known = sorted(id_ for some in _chunks(codes) for id_ in queries.ids_of_codes(session, some))
    for some in _chunks(known):
        lock_people(session, some)


def _write(session: Session, chunk: Sequence[_Good], this: _Import, lines: schemas.ImportLines) -> None:
    known = queries.people_by_codes(session, [good.person.employee_code for good in chunk])
    new: list[dict[str, Any]] = []
    changed: list[tuple[Person, str | None]] = []
    for good in chunk:
        stored: Person | None = known.get(good.person.employee_code)
        if stored is None:
            new.append(service.row_of(good.person))
            lines.created.append(good.line)
            continue
        shift_before = stored.shift_id
        if service.apply(stored, good.changes):
            changed.append((stored, shift_before))
            lines.updated.append(good.line)
        else:
            lines.unchanged.append(good.line)
    _insert(session, new)
    _plan(session, new, changed, this)


def _plan(
    session: Session, new: Sequence[dict[str, Any]], changed: Sequence[tuple[Person, str | None]], this: _Import
) -> None:
    for row in new:
        assign_first(session, row["id"], row["shift_id"], this.caller.actor)
    for person, shift_before in changed:
        service.replan(session, person, shift_before, this.caller, this.default_zone)


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    try:
        if rows:
            queries.insert_people(session, rows)
        session.flush()
    except (IntegrityError, StaleDataError):
        detail = "Somebody else created or erased one of these people meanwhile; nothing was changed. Send it again."
        raise ProblemError(409, "import_conflict", detail, headers={"Retry-After": str(RETRY_AFTER_S)}) from None


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _describe(exc: ValidationError) -> str:
    return "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: {_words(error)}" for error in exc.errors())


def _words(error: ErrorDetails) -> str:
    is_empty = error["type"] in ("too_short", "string_too_short")
    return "must not be empty" if is_empty else error["msg"]

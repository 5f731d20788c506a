"""`/v1/shifts` and `/v1/roster`."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth.dependencies import OperatorDep
from app.db.tables import Shift, ShiftAssignment
from app.http.dependencies import DatabaseDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep
from app.http.pagination import CursorCodec, Page, PageDep, cut_page
from app.shifts import queries, roster, schemas, service

router = APIRouter(prefix="/v1/shifts", tags=["Attendance"])
roster_router = APIRouter(prefix="/v1/roster", tags=["Attendance"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])


@router.post("", status_code=201, response_model=schemas.Shift)
def create_shift(new: schemas.ShiftCreate, caller: OperatorDep, idempotency: IdempotencyDep) -> Response:
    """Adds a shift. It never changes, so that days of the past stay as they were judged: to work differently, make
    another one and assign that from some day on.
    """

    def work(session: Session) -> Answer:
        shift = service.create(session, new, caller)
        return Answer(201, service.view(shift), {"Location": f"/v1/shifts/{shift.id}"})

    return idempotency.write(work)


@router.get("")
def list_shifts(
    database: DatabaseDep,
    page: PageDep,
    _caller: OperatorDep,
    retired: Annotated[bool | None, Query(description="Left out: both kinds.")] = None,
) -> Page[schemas.Shift]:
    """Shifts, oldest first."""
    after = CURSOR.decode(page.cursor)
    with database.read() as session:
        rows = queries.list_shifts(session, is_retired=retired, after=after, limit=page.limit + 1)
    shown, next_cursor = cut_page(rows, page.limit, _cursor_of)
    return Page(items=[service.view(shift) for shift in shown], next_cursor=next_cursor)


@router.get("/{shift_id}")
def get_shift(shift_id: str, database: DatabaseDep, _caller: OperatorDep) -> schemas.Shift:
    """One shift, retired or not."""
    with database.read() as session:
        return service.view(service.get(session, shift_id))


@router.delete("/{shift_id}", status_code=204)
def retire_shift(shift_id: str, database: DatabaseDep, caller: OperatorDep) -> None:
    """Retires a shift: it can be assigned no more, and days of the past keep it. Refused while somebody works it."""
    with database.write() as session:
        service.retire(session, shift_id, caller)


@roster_router.post("", status_code=201, response_model=schemas.RosterEntry)
def add_roster_entry(new: schemas.RosterEntryCreate, caller: OperatorDep, idempotency: IdempotencyDep) -> Response:
    """Lets somebody work a shift on some days, in place of their standing one; a second shift on the same days is
    worked too. Days of the past that it touches are worked out anew within moments.
    """

    def work(session: Session) -> Answer:
        entry = roster.add_entry(session, new, caller)
        return Answer(201, roster.view(entry), {"Location": f"/v1/roster/{entry.id}"})

    return idempotency.write(work)


@roster_router.get("")
def list_roster(
    database: DatabaseDep,
    page: PageDep,
    _caller: OperatorDep,
    person_id: Annotated[str | None, Query(max_length=40)] = None,
    first: Annotated[date | None, Query(alias="from", description="First day.")] = None,
    last: Annotated[date | None, Query(alias="to", description="Last day.")] = None,
) -> Page[schemas.RosterEntry]:
    """Who works which shift on these days, in the order in which it was entered, standing shifts included."""
    after = CURSOR.decode(page.cursor)
    with database.read() as session:
        rows = queries.list_assignments(
            session, person_id=person_id, first=first, last=last, after=after, limit=page.limit + 1
        )
    shown, next_cursor = cut_page(rows, page.limit, _cursor_of)
    return Page(items=[roster.view(row) for row in shown], next_cursor=next_cursor)


@roster_router.delete("/{entry_id}", status_code=204)
def remove_roster_entry(entry_id: str, database: DatabaseDep, caller: OperatorDep) -> None:
    """Takes an entry back; days of the past that it touched are worked out anew within moments."""
    with database.write() as session:
        roster.remove_entry(session, entry_id, caller)


def _cursor_of(row: Shift | ShiftAssignment) -> str:
    return CURSOR.encode((row.created_at, row.id))

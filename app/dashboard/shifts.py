"""Shifts, and who works them."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import AdminVisitorDep, Visitor
from app.http.dependencies import DatabaseDep
from app.http.fields import Moment
from app.http.pagination import CursorCodec, PageRequest, cut_page
from app.shifts import queries, schemas, service
from app.shifts.routes import list_shifts

router = APIRouter(include_in_schema=False)

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])
_SHIFTS_AT_ONCE: Final = 100
_WORKERS_AT_ONCE: Final = 50


@router.get("/settings/shifts")
def shifts_page(
    request: Request,
    visitor: AdminVisitorDep,
    database: DatabaseDep,
    retired: bool = False,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = list_shifts(database, PageRequest(_SHIFTS_AT_ONCE, cursor), visitor.principal, retired)
    with database.read() as session:
        n_people = queries.n_assigned_by_shift(
            session, [shift.id for shift in page.items], service.first_day_that_counts()
        )
    return render(
        request,
        visitor,
        "settings_shifts.html",
        page=page,
        is_retired=retired,
        n_people=n_people,
        defaults=schemas.Rules(),
        bar_of=_bar_of,
        weekdays=_weekdays(visitor, "wide"),
        short_weekdays=_weekdays(visitor, "abbreviated"),
    )


@router.get("/settings/shifts/{shift_id}")
def shift_page(
    request: Request,
    visitor: AdminVisitorDep,
    database: DatabaseDep,
    shift_id: str,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    after = CURSOR.decode(cursor)
    with database.read() as session:
        shift = service.view(service.get(session, shift_id))
        rows = queries.list_workers(
            session, shift_id, service.first_day_that_counts(), after=after, limit=_WORKERS_AT_ONCE + 1
        )
    workers, next_cursor = cut_page(rows, _WORKERS_AT_ONCE, lambda row: CURSOR.encode((row[0].created_at, row[0].id)))
    return render(
        request,
        visitor,
        "settings_shift.html",
        shift=shift,
        workers=workers,
        next_cursor=next_cursor,
        bar_of=_bar_of,
        weekdays=_weekdays(visitor, "wide"),
    )


def _bar_of(shift: schemas.Shift) -> dict[str, Any]:
    """What `shift-bar.js` draws."""
    return shift.model_dump(mode="json", include={"starts", "ends", "breaks", "early_window_s", "late_window_s"})


def _weekdays(visitor: Visitor, width: str) -> list[str]:
    """Their names from Monday on."""
    names = visitor.taste.locale.days["stand-alone"][width]
    return [names[number] for number in range(7)]

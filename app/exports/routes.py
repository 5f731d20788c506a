"""`/v1/attendance…`: days for spreadsheets, for payroll and for Odoo."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import StreamingResponse

from app.attendance.days import DayRange, range_of
from app.attendance.dependencies import WhoDep
from app.attendance.schemas import Day
from app.auth.dependencies import OPERATOR, OperatorDep
from app.exports import schemas, service
from app.http.content_type import CSV
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.fields import CalendarDay, Moment
from app.http.pagination import CursorCodec, Page, PageDep, cut_page
from app.people import queries as people_queries
from app.people.service import get as get_person

router = APIRouter(prefix="/v1", tags=["Attendance"])

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])
CSV_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: {"schema": {"type": "string"}}}}}
XLSX_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {XLSX: {"schema": {"type": "string", "contentMediaType": XLSX}}}}
}


def days_asked_for(
    database: DatabaseDep,
    settings: SettingsDep,
    who: WhoDep,
    first: Annotated[CalendarDay | None, Query(alias="from", description="Included; else 30 days before `to`.")] = None,
    last: Annotated[CalendarDay | None, Query(alias="to", description="Included; else today.")] = None,
    person_id: Annotated[str | None, Query(max_length=40)] = None,
) -> tuple[DayRange, Iterator[Day]]:
    """Which days, and the days themselves, which are read when they are wanted."""
    wanted = range_of(first, last, person_id, who)
    if person_id is not None:
        with database.read() as session:
            get_person(session, person_id)
    return wanted, service.days_in(database, wanted, settings.timezone)


DaysDep = Annotated[tuple[DayRange, Iterator[Day]], Depends(days_asked_for)]


@router.get("/attendance.csv", response_class=StreamingResponse, responses=CSV_ANSWER, dependencies=[OPERATOR])
def attendance_csv(asked: DaysDep) -> StreamingResponse:
    """Days as CSV, one row per person and day, with local times. Cells that a spreadsheet would run get an apostrophe.

    The dates are those of `/v1/days`: at most 366 at once.
    """
    wanted, days = asked
    headers = _named(f"attendance_{wanted.first}_{wanted.last}.csv")
    return StreamingResponse(service.csv_lines(days), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/attendance.xlsx", response_class=StreamingResponse, responses=XLSX_ANSWER, dependencies=[OPERATOR])
def attendance_xlsx(asked: DaysDep) -> StreamingResponse:
    """Days as an Excel workbook with real dates, times and numbers, and a sheet of each person's totals.

    It is put together while it is sent, like the CSV file, and for as many days.
    """
    wanted, days = asked
    headers = _named(f"attendance_{wanted.first}_{wanted.last}.xlsx")
    return StreamingResponse(service.xlsx_pieces(days), media_type=XLSX, headers=headers)


@router.get("/attendance/odoo.csv", response_class=StreamingResponse, responses=CSV_ANSWER, dependencies=[OPERATOR])
def attendance_odoo(asked: DaysDep) -> StreamingResponse:
    """Times of presence as CSV that Odoo's Attendances import: who, check-in and check-out in UTC.

    Whoever has not checked out, or not in, is left out: Odoo would refuse the rest of the file.
    """
    wanted, days = asked
    headers = _named(f"odoo_{wanted.first}_{wanted.last}.csv")
    return StreamingResponse(service.odoo_lines(days), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/attendance/summary")
def month_summary(
    database: DatabaseDep,
    settings: SettingsDep,
    page: PageDep,
    _caller: OperatorDep,
    month: Annotated[str, Query(pattern=r"^20\d\d-(0[1-9]|1[0-2])$", examples=["2026-11"])],
) -> Page[schemas.MonthSummary]:
    """What each person's month comes to; people in the order in which they were added.

    A page may be shorter than asked for: people who have left and did not come that month are passed over.
    """
    after = CURSOR.decode(page.cursor)
    with database.read() as session:
        rows = people_queries.list_people(session, after=after, limit=page.limit + 1)
        shown, next_cursor = cut_page(rows, page.limit, lambda row: CURSOR.encode((row.created_at, row.id)))
        return Page(items=service.summaries(session, shown, month, settings.timezone), next_cursor=next_cursor)


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}

"""Timesheets: a month of many people, and everything about one person's day."""

from datetime import date, datetime, timedelta
from typing import Annotated, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_time
from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from app.attendance.day_queries import departments
from app.dashboard.day_sheet import day_sheet
from app.dashboard.frame.pages import render
from app.dashboard.frame.taste import Taste
from app.dashboard.frame.visitor import VisitorDep
from app.dashboard.statuses import LOOKS, METHODS, Speaker, span
from app.dashboard.timesheet import Month, rows_of
from app.db.tables import Person
from app.db.types import utc_now
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.fields import CalendarDay
from app.http.pagination import cut_page
from app.people import queries as people_queries
from app.people import service as people
from app.people.routes import CURSOR

router = APIRouter(include_in_schema=False)

_FRIDAY: Final = 4
PEOPLE_PER_PAGE: Final = 25


@router.get("/attendance")
def month_page(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    settings: SettingsDep,
    month: Annotated[str, Query(pattern=r"^(20\d\d-(0[1-9]|1[0-2]))?$")] = "",
    query: Annotated[str, Query(max_length=200)] = "",
    department: Annotated[str, Query(max_length=200)] = "",
    person_id: Annotated[str, Query(max_length=40)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    shown = Month.named(month or None, utc_now(), settings.timezone)
    filters = {"query": query, "department": department, "person_id": person_id}
    with database.read() as session:
        if person_id:
            found, next_cursor = [people.get(session, person_id)], None
        else:
            found, next_cursor = _page_of_people(session, query, department, cursor)
        speaker = Speaker(visitor.taste.language)
        rows = rows_of(session, found, shown, settings.timezone, speaker)
        return render(
            request,
            visitor,
            "attendance.html",
            rows=rows,
            person=found[0] if person_id else None,
            month=shown,
            title=format_date(shown.first, "LLLL yyyy", locale=visitor.taste.locale),
            heads=_heads(shown, visitor.taste),
            looks=speaker.looks,
            span=span,
            departments=departments(session),
            filters=filters,
            exported=_query({"from": str(shown.first), "to": str(shown.last)} | filters),
            link=lambda **changes: f"/attendance?{_query({'month': month} | filters | changes)}".rstrip("?"),
            day_name=lambda day: format_date(day, "EEE d MMM", locale=visitor.taste.locale),
            wall=lambda at, day: _wall(at, day.date, ZoneInfo(day.timezone), visitor.taste),
            next_cursor=next_cursor,
            is_first_page=cursor is None,
        )


@router.get("/attendance/{person_id}/{day}")
def day_page(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    settings: SettingsDep,
    person_id: str,
    day: CalendarDay,
) -> HTMLResponse:
    with database.read() as session:
        sheet = day_sheet(session, person_id, day, settings.timezone)
        zone, taste = ZoneInfo(sheet.zone), visitor.taste
        return render(
            request,
            visitor,
            "day.html",
            sheet=sheet,
            title=format_date(day, "full", locale=taste.locale),
            before=day - timedelta(days=1),
            after=day + timedelta(days=1),
            is_future=day > utc_now().astimezone(zone).date(),
            looks=LOOKS,
            span=span,
            methods=METHODS,
            wall=lambda at: _wall(at, day, zone, taste),
            theirs=lambda at: _theirs(at, zone, taste),
        )


def _page_of_people(
    session: Session, query: str, department: str, cursor: str | None
) -> tuple[list[Person], str | None]:
    rows = people_queries.list_people(
        session,
        query=query,
        department=department or None,
        after=CURSOR.decode(cursor),
        limit=PEOPLE_PER_PAGE + 1,
    )
    return cut_page(rows, PEOPLE_PER_PAGE, lambda person: CURSOR.encode((person.created_at, person.id)))


def _heads(month: Month, taste: Taste) -> list[tuple[date, str, str, str]]:
    """Of each day its date, the letter of its weekday, its full name, and how its column looks."""
    return [
        (
            day,
            format_date(day, "EEEEE", locale=taste.locale),
            format_date(day, "full", locale=taste.locale),
            ("weekend " if day.weekday() > _FRIDAY else "") + ("today" if day == month.today else ""),
        )
        for day in month.days
    ]


def _query(parameters: dict[str, str]) -> str:
    """As it stands in a URL, without what is empty."""
    return urlencode({name: value for name, value in parameters.items() if value})


def _wall(at: datetime | None, day: date, zone: ZoneInfo, taste: Taste) -> str:
    """The time on the wall where it happened; of a night shift's other date, with that date."""
    if at is None:
        return "–"
    local = at.astimezone(zone)
    words = format_time(local, "HH:mm", locale=taste.locale)
    return words if local.date() == day else f"{words} ({format_date(local, 'd MMM', locale=taste.locale)})"


def _theirs(at: datetime | None, zone: ZoneInfo, taste: Taste) -> str:
    """The same on the viewer's own clock; nothing where both show the same."""
    if at is None or at.astimezone(zone).utcoffset() == at.astimezone(taste.zone).utcoffset():
        return ""
    return format_time(at.astimezone(taste.zone), "HH:mm", locale=taste.locale)

"""People: the list with its filters, and importing a file of them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from app.dashboard.face_words import words_in
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import VisitorDep
from app.db.tables import Person
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.fields import Moment
from app.http.pagination import CursorCodec, cut_page
from app.people import queries, service
from app.shifts import queries as shifts
from app.sites import queries as sites
from app.time_zones import time_zones

router = APIRouter(include_in_schema=False)

# The API's list is oldest first; here whoever was added last stands on top, so the cursors are other ones.
CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])
_PAGE: Final = 50
# As many as a menu can hold; whoever has more of them searches by name.
MOST_CHOICES: Final = 500

Filter = Annotated[str, Query(max_length=200)]


@router.get("/people")
def people_page(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    query: Filter = "",
    department: Filter = "",
    state: Annotated[Literal["", "active", "inactive"], Query(alias="status")] = "",
    face: Literal["", "none", "poor"] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    with database.read() as session:
        rows = queries.list_people(
            session,
            query=query.strip() or None,
            department=department or None,
            active=None if state == "" else state == "active",
            lacks=face or None,
            newest_first=True,
            after=CURSOR.decode(cursor),
            limit=_PAGE + 1,
        )
        shown, next_cursor = cut_page(rows, _PAGE, _cursor_of)
        people = service.views(session, shown)
        names = shifts.names_of(session, {person.shift_id for person in people if person.shift_id})
        data = choices(session) | {"departments": queries.departments(session, MOST_CHOICES)}
    wanted: dict[str, Any] = {"query": query, "department": department, "state": state, "face": face}
    is_filtered = any(wanted.values()) or cursor is not None
    return render(
        request,
        visitor,
        "people.html",
        people=people,
        next_cursor=next_cursor,
        names_of_shifts=names,
        is_filtered=is_filtered,
        **wanted,
        **data,
    )


@router.get("/people/import")
def import_page(request: Request, visitor: VisitorDep, settings: SettingsDep) -> HTMLResponse:
    words = words_in(visitor.taste.language)
    return render(request, visitor, "people_import.html", words=words, max_rows=settings.max_import_rows)


def choices(session: Session) -> dict[str, Any]:
    """What a person's fields can be chosen from: shifts that are not retired, sites, time zones."""
    return {
        "shifts": shifts.list_shifts(session, is_retired=False, after=None, limit=MOST_CHOICES),
        "sites": sites.list_sites(session, after=None, limit=MOST_CHOICES),
        "zones": sorted(time_zones()),
    }


def _cursor_of(person: Person) -> str:
    return CURSOR.encode((person.created_at, person.id))

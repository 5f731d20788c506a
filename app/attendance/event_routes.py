"""`/v1/events`: who was where and when, and what was wrong about that."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.attendance import corrections, queries, schemas, views
from app.attendance.dependencies import BookkeeperDep
from app.attendance.queries import EventFilter
from app.auth.dependencies import OperatorDep
from app.db.tables import Event
from app.http.dependencies import DatabaseDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep
from app.http.pagination import CursorCodec, Page, PageDep, cut_page

router = APIRouter(prefix="/v1/events", tags=["Attendance"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])

PersonId = Annotated[str | None, Query(max_length=40)]


@router.get("")
def list_events(
    database: DatabaseDep,
    page: PageDep,
    _caller: OperatorDep,
    since: Annotated[Moment | None, Query(alias="from", description="Included.")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="Not included.")] = None,
    person_id: PersonId = None,
    camera_id: Annotated[str | None, Query(max_length=40)] = None,
    site_id: Annotated[str | None, Query(max_length=40)] = None,
    outcome: Literal["identified", "unknown", "attack_suspected"] | None = None,
    with_deleted: Annotated[bool, Query(description="Those that were deleted too.")] = False,
    order: Annotated[Literal["asc", "desc"], Query(description="By time.")] = "desc",
) -> Page[schemas.EventView]:
    """Events, newest first. Repeats within one presence are among them, with `duplicate_of`."""
    wanted = EventFilter(since, until, person_id, camera_id, site_id, outcome, with_deleted)
    with database.read() as session:
        rows = queries.list_events(session, wanted, order=order, after=CURSOR.decode(page.cursor), limit=page.limit + 1)
        shown, next_cursor = cut_page(rows, page.limit, _cursor_of)
        return Page(items=views.event_views(session, shown), next_cursor=next_cursor)


@router.get("/{event_id}")
def get_event(event_id: str, database: DatabaseDep, _caller: OperatorDep) -> schemas.EventDetail:
    """One event: on what evidence it stands, and what was changed about it, by whom and why."""
    with database.read() as session:
        return views.event_detail(session, corrections.get_event(session, event_id))


@router.post("", status_code=201, response_model=schemas.EventDetail)
def write_event(
    new: schemas.ManualEvent, caller: OperatorDep, bookkeeper: BookkeeperDep, idempotency: IdempotencyDep
) -> Response:
    """Writes by hand that somebody was there, such as for a check-out that was forgotten."""

    def work(session: Session) -> Answer:
        event = corrections.write_event(session, new, caller, bookkeeper)
        return Answer(201, views.event_detail(session, event), {"Location": f"/v1/events/{event.id}"})

    return idempotency.write(work)


@router.patch("/{event_id}")
def change_event(
    event_id: str,
    change: schemas.EventChange,
    database: DatabaseDep,
    caller: OperatorDep,
    bookkeeper: BookkeeperDep,
) -> schemas.EventDetail:
    """Corrects an event: what it was is kept, with who changed it and why, and the days it touches are worked out anew.

    `person_id: null` says that it was nobody we know; `direction: null` leaves it to the rules; `is_deleted: true`
    takes the event out of the days, and `false` brings it back.
    """
    with database.write() as session:
        event = corrections.change_event(session, event_id, change, caller, bookkeeper)
        session.flush()
        return views.event_detail(session, event)


def _cursor_of(event: Event) -> str:
    return CURSOR.encode((event.occurred_at, event.id))

"""`/v1/days`: what the rules make of people's events."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.attendance import corrections, days, schemas
from app.attendance.dependencies import WhoDep
from app.auth.dependencies import OperatorDep
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.fields import CalendarDay
from app.http.idempotency import Answer, IdempotencyDep
from app.http.pagination import CursorCodec, Page, PageDep

router = APIRouter(prefix="/v1/days", tags=["Attendance"])

CURSOR: CursorCodec[tuple[str, date]] = CursorCodec(tuple[str, CalendarDay])


@router.get("")
def list_days(
    database: DatabaseDep,
    settings: SettingsDep,
    page: PageDep,
    _caller: OperatorDep,
    who: WhoDep,
    first: Annotated[CalendarDay | None, Query(alias="from", description="Included; else 30 days before `to`.")] = None,
    last: Annotated[CalendarDay | None, Query(alias="to", description="Included; else today.")] = None,
    person_id: Annotated[str | None, Query(max_length=40)] = None,
) -> Page[schemas.Day]:
    """Days, by date and then by person: those on which something happened, and those on which somebody was absent.

    Somebody is absent who was expected, is active and had been added by then; days that have not begun are not listed.
    Until a day is over, a missing check-out, or person, reads `open`. A page may have fewer days than `limit`, and yet
    a `next_cursor`, where most people are off. At most 366 days at once.
    """
    wanted = days.range_of(first, last, person_id, who)
    with database.read() as session:
        after = CURSOR.decode(page.cursor)
        shown, place = days.page_of_days(session, wanted, after, page.limit, settings.timezone)
    return Page(items=shown, next_cursor=CURSOR.encode(place) if place else None)


@router.post("/{person_id}/{day}/approve", status_code=201, response_model=schemas.Day)
def approve_day(
    person_id: str,
    day: CalendarDay,
    approval: schemas.ApprovalNote,
    settings: SettingsDep,
    caller: OperatorDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Approves a day as it is now. If it changes later, `approval.is_current` is false, and it can be approved again.

    409 `day_open` before the day is over; 404 `day_not_found` where there is nothing to approve.
    """

    def work(session: Session) -> Answer:
        return Answer(201, corrections.approve_day(session, person_id, day, approval, caller, settings.timezone))

    return idempotency.write(work)

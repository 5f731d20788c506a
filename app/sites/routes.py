"""`/v1/sites` and `/v1/holidays`."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth.dependencies import AdminDep, OperatorDep
from app.db.tables import Holiday, Site
from app.http.dependencies import DatabaseDep
from app.http.fields import Moment
from app.http.idempotency import Answer, IdempotencyDep
from app.http.pagination import CursorCodec, Page, PageDep, cut_page
from app.sites import queries, schemas, service

router = APIRouter(prefix="/v1/sites", tags=["Attendance"])
holidays_router = APIRouter(prefix="/v1/holidays", tags=["Attendance"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])
HOLIDAY_CURSOR: CursorCodec[tuple[date, str]] = CursorCodec(tuple[date, str])


@router.post("", status_code=201, response_model=schemas.Site)
def create_site(new: schemas.SiteCreate, caller: AdminDep, idempotency: IdempotencyDep) -> Response:
    """Adds a site. There is no way to delete one, because events name it for ever; it can be renamed."""

    def work(session: Session) -> Answer:
        site = service.create(session, new, caller)
        return Answer(201, schemas.Site.model_validate(site), {"Location": f"/v1/sites/{site.id}"})

    return idempotency.write(work)


@router.get("")
def list_sites(database: DatabaseDep, page: PageDep, _caller: OperatorDep) -> Page[schemas.Site]:
    """Sites, oldest first. The first one, `site_default`, is where whatever names no other site belongs."""
    with database.read() as session:
        rows = queries.list_sites(session, after=CURSOR.decode(page.cursor), limit=page.limit + 1)
    shown, next_cursor = cut_page(rows, page.limit, _cursor_of)
    return Page(items=[schemas.Site.model_validate(site) for site in shown], next_cursor=next_cursor)


@router.get("/{site_id}")
def get_site(site_id: str, database: DatabaseDep, _caller: OperatorDep) -> schemas.Site:
    """One site."""
    with database.read() as session:
        return schemas.Site.model_validate(service.get(session, site_id))


@router.patch("/{site_id}")
def update_site(site_id: str, update: schemas.SiteUpdate, database: DatabaseDep, caller: AdminDep) -> schemas.Site:
    """Changes the fields that are sent, for what is captured from now on; a null time zone is the deployment's."""
    with database.write() as session:
        return schemas.Site.model_validate(service.update(session, site_id, update, caller))


@holidays_router.post("", status_code=201, response_model=schemas.Holiday)
def add_holiday(new: schemas.HolidayCreate, caller: AdminDep, idempotency: IdempotencyDep) -> Response:
    """Adds a day on which nobody is expected; days of the past that it touches are worked out anew within moments."""
    return idempotency.write(
        lambda session: Answer(201, service.holiday_view(service.add_holiday(session, new, caller)))
    )


@holidays_router.get("")
def list_holidays(
    database: DatabaseDep,
    page: PageDep,
    _caller: OperatorDep,
    first: Annotated[date | None, Query(alias="from", description="First day.")] = None,
    last: Annotated[date | None, Query(alias="to", description="Last day.")] = None,
    site_id: Annotated[str | None, Query(max_length=40, description="Those that count at this site.")] = None,
) -> Page[schemas.Holiday]:
    """Holidays, earliest first."""
    after = HOLIDAY_CURSOR.decode(page.cursor)
    with database.read() as session:
        rows = queries.list_holidays(
            session, first=first, last=last, site_id=site_id, after=after, limit=page.limit + 1
        )
    shown, next_cursor = cut_page(rows, page.limit, _holiday_cursor_of)
    return Page(items=[service.holiday_view(holiday) for holiday in shown], next_cursor=next_cursor)


@holidays_router.delete("/{holiday_id}", status_code=204)
def remove_holiday(holiday_id: str, database: DatabaseDep, caller: AdminDep) -> None:
    """Takes a holiday back; days that it touched are worked out anew within moments."""
    with database.write() as session:
        service.remove_holiday(session, holiday_id, caller)


def _cursor_of(site: Site) -> str:
    return CURSOR.encode((site.created_at, site.id))


def _holiday_cursor_of(holiday: Holiday) -> str:
    return HOLIDAY_CURSOR.encode((holiday.local_date, holiday.id))

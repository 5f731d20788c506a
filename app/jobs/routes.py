"""`/v1/jobs`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from app.auth.dependencies import OperatorDep
from app.http.dependencies import DatabaseDep
from app.http.fields import Moment
from app.http.pagination import CursorCodec, Page, PageDep, cut_page
from app.jobs import queries, schemas, service

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])

CURSOR: CursorCodec[tuple[datetime, str]] = CursorCodec(tuple[Moment, str])


@router.get("")
def list_jobs(
    database: DatabaseDep,
    page: PageDep,
    _caller: OperatorDep,
    status: schemas.Status | None = None,
    kind: Annotated[str | None, Query(max_length=50)] = None,
) -> Page[schemas.Job]:
    """Long work that was asked for, newest first."""
    before = CURSOR.decode(page.cursor)
    with database.read() as session:
        rows = queries.list_jobs(session, status=status, kind=kind, before=before, limit=page.limit + 1)
        shown, next_cursor = cut_page(rows, page.limit, lambda row: CURSOR.encode((row.created_at, row.id)))
        return Page(items=service.views(session, shown), next_cursor=next_cursor)


@router.get("/{job_id}")
def get_job(job_id: str, database: DatabaseDep, _caller: OperatorDep) -> schemas.Job:
    """One job and how far it is."""
    with database.read() as session:
        return service.views(session, [service.get(session, job_id)])[0]


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, database: DatabaseDep, caller: OperatorDep) -> schemas.Job:
    """Cancels a queued job at once and a running one within a second or so; 409 `job_finished` when it is over."""
    with database.write() as session:
        return service.views(session, [service.cancel(session, job_id, caller.actor)])[0]

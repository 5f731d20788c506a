"""`GET /v1/audit`."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.audit import queries
from app.audit.schemas import AuditItem
from app.auth.dependencies import AdminDep
from app.db.tables import AuditEntry
from app.http.dependencies import DatabaseDep
from app.http.pagination import MAX_ID, CursorCodec, Page, PageDep, cut_page

router = APIRouter(prefix="/v1/audit", tags=["Operations"])

CURSOR: CursorCodec[int] = CursorCodec(Annotated[int, Field(ge=0, le=MAX_ID)])


@router.get("")
def list_audit(
    database: DatabaseDep,
    page: PageDep,
    _caller: AdminDep,
    action: Annotated[str | None, Query(max_length=100)] = None,
    target: Annotated[str | None, Query(max_length=100, description="Id of the person, key, … acted upon.")] = None,
) -> Page[AuditItem]:
    """Who did what, newest first."""
    before = CURSOR.decode(page.cursor)
    with database.read() as session:
        rows = queries.entries(session, action=action, target=target, before_id=before, limit=page.limit + 1)

    def cursor_of(row: AuditEntry) -> str:
        return CURSOR.encode(row.id)

    shown, next_cursor = cut_page(rows, page.limit, cursor_of)
    return Page(items=[AuditItem.model_validate(row) for row in shown], next_cursor=next_cursor)

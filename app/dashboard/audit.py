"""Audit: who did what, when."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from app.audit.routes import list_audit
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import AdminVisitorDep
from app.http.dependencies import DatabaseDep
from app.http.pagination import PageRequest
from app.users import queries as users

router = APIRouter(include_in_schema=False)


@router.get("/audit")
def audit_page(
    request: Request,
    visitor: AdminVisitorDep,
    database: DatabaseDep,
    action: Annotated[str, Query(max_length=100)] = "",
    target: Annotated[str, Query(max_length=100)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = list_audit(database, PageRequest(cursor=cursor), visitor.principal, action or None, target or None)
    with database.read() as session:
        names = {f"user:{user.id}": user.name for user in users.all_users(session)}
    return render(request, visitor, "audit.html", page=page, names=names, action=action, target=target)

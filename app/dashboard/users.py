"""Users: who may sign in, and as what."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import AdminVisitorDep
from app.db.types import utc_now
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.pagination import PageRequest
from app.users import queries
from app.users.dependencies import TriesDep
from app.users.routes import list_users
from app.users.sessions import SessionLimits

router = APIRouter(include_in_schema=False)

_AT_ONCE: Final = 100


@router.get("/users")
def users_page(
    request: Request,
    visitor: AdminVisitorDep,
    database: DatabaseDep,
    settings: SettingsDep,
    tries: TriesDep,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = list_users(database, PageRequest(_AT_ONCE, cursor), visitor.principal)
    now = utc_now()
    with database.read() as session:
        n_sessions = queries.n_sessions(session, now, now - SessionLimits.of(settings).idle)
        locked = tries.locked(session, [user.username for user in page.items])
        is_only_admin = queries.active_admins(session, limit=2) == [visitor.signed_in.user_id]
    return render(
        request,
        visitor,
        "users.html",
        page=page,
        n_sessions=n_sessions,
        locked=locked,
        is_only_admin=is_only_admin,
    )

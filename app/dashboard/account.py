"""Account: one's own password, and the browsers one is signed in with."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from app.dashboard.frame.formats import Formats
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import VisitorDep
from app.db.types import utc_now
from app.http.dependencies import DatabaseDep, SettingsDep
from app.users import queries
from app.users.sessions import SessionLimits

router = APIRouter(include_in_schema=False)


@router.get("/account")
def account_page(request: Request, visitor: VisitorDep, database: DatabaseDep, settings: SettingsDep) -> HTMLResponse:
    limits, now, formats = SessionLimits.of(settings), utc_now(), Formats(visitor.taste)
    with database.read() as session:
        sessions = queries.sessions_of(session, visitor.signed_in.user_id, now, now - limits.idle)
    idle, longest = formats.lasting(limits.idle), formats.lasting(limits.longest)
    return render(request, visitor, "account.html", sessions=sessions, idle=idle, longest=longest)

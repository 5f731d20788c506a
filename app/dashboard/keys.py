"""Keys: what cameras and programs call the interface with."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse

from app.auth import queries
from app.auth.routes import list_keys
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import AdminVisitorDep
from app.http.dependencies import DatabaseDep
from app.http.pagination import PageRequest

router = APIRouter(include_in_schema=False)

SCOPES: Final = {
    "camera": N_("Identify and capture"),
    "operator": N_("Operate"),
    "admin": N_("Everything"),
}


@router.get("/keys")
def keys_page(
    request: Request,
    visitor: AdminVisitorDep,
    database: DatabaseDep,
    show: Literal["active", "all"] = "active",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = list_keys(database, PageRequest(cursor=cursor), visitor.principal, active=show == "active")
    with database.read() as session:
        cameras = queries.names_of_cameras(session, {key.camera_id for key in page.items if key.camera_id})
    return render(request, visitor, "keys.html", page=page, show=show, cameras=cameras, scopes=SCOPES)

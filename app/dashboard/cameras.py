"""Cameras: what stands where, whether it is there, and what it sees."""

from typing import Annotated, Final

import segno
from fastapi import APIRouter, Form, Header, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse, Response

from app.attendance.event_routes import list_events
from app.cameras.queries import keys_of
from app.cameras.routes import list_cameras
from app.cameras.service import ONLINE_S, get, views
from app.cameras.snapshots import ANSWER_S
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import AdminVisitorDep, VisitorDep
from app.db.tables import ApiKey
from app.db.types import utc_now
from app.http.dependencies import DatabaseDep, SettingsDep
from app.http.pagination import PageRequest
from app.sites.queries import list_sites, sites_by_ids
from app.users import sessions

router = APIRouter(include_in_schema=False)

DIRECTIONS: Final = {"in": N_("In"), "out": N_("Out"), "both": N_("In and out")}
UNKNOWN: Final = {
    "keep": N_("Record them, and keep their faces for review"),
    "record": N_("Record that somebody unknown was there"),
    "ignore": N_("Ignore them"),
}
_CAMERAS_SHOWN: Final = 100
_EVENTS_SHOWN: Final = 10
# Sites to choose from; who has more finds the others by the API.
_SITES_SHOWN: Final = 500


@router.get("/cameras")
def cameras_page(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    settings: SettingsDep,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> HTMLResponse:
    page = list_cameras(database, settings, PageRequest(_CAMERAS_SHOWN, cursor), visitor.principal)
    with database.read() as session:
        sites = list_sites(session, after=None, limit=_SITES_SHOWN)
        names = {id_: site.name for id_, site in sites_by_ids(session, {item.site_id for item in page.items}).items()}
        keys = _keys(session, [item.id for item in page.items])
    return render(
        request,
        visitor,
        "cameras.html",
        page=page,
        sites=sites,
        site_names=names,
        keys=keys,
        now=utc_now(),
        directions=DIRECTIONS,
        online_s=ONLINE_S,
        is_first_page=cursor is None,
    )


@router.get("/cameras/{camera_id}")
def camera_page(
    camera_id: str, request: Request, visitor: VisitorDep, database: DatabaseDep, settings: SettingsDep
) -> HTMLResponse:
    with database.read() as session:
        camera = views(session, [get(session, camera_id)], settings.timezone)[0]
        sites = list_sites(session, after=None, limit=_SITES_SHOWN)
        site = sites_by_ids(session, {camera.site_id})[camera.site_id]
        keys = _keys(session, [camera.id]).get(camera.id, [])
    events = list_events(
        database, PageRequest(_EVENTS_SHOWN), visitor.principal, camera_id=camera.id, with_deleted=False, order="desc"
    )
    return render(
        request,
        visitor,
        "camera.html",
        camera=camera,
        site=site,
        sites=sites,
        keys=keys,
        events=events.items,
        now=utc_now(),
        directions=DIRECTIONS,
        unknown_choices=UNKNOWN,
        usual_px=settings.min_face_px,
        answer_s=ANSWER_S,
        online_s=ONLINE_S,
    )


@router.post("/cameras/kiosk-code")
def kiosk_code(
    visitor: AdminVisitorDep,
    link: Annotated[str, Form(max_length=500)],
    csrf_token: Annotated[str, Header(alias=sessions.CSRF_HEADER)] = "",
) -> Response:
    """The link of a kiosk, key and all, as a picture for a tablet's camera. Nothing of it is kept."""
    sessions.require_csrf(visitor.signed_in, "POST", csrf_token)
    picture = segno.make(link, error="m", micro=False).svg_inline(scale=4, border=3, dark="#000", light="#fff")
    return Response(_with_namespace(picture), media_type="image/svg+xml", headers={"Cache-Control": "no-store"})


def _with_namespace(inline: str) -> str:
    """What stands inside a page needs no namespace; a picture of its own does."""
    return inline.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _keys(session: Session, camera_ids: list[str]) -> dict[str, list[ApiKey]]:
    """Those that count, of each camera, the newest first."""
    found: dict[str, list[ApiKey]] = {}
    for key in keys_of(session, camera_ids, utc_now()):
        found.setdefault(key.camera_id or "", []).append(key)
    return found

"""Today: how the day stands, who comes and goes as it happens, and what needs somebody."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import HTMLResponse

from app.cameras.service import ONLINE_S
from app.dashboard import figure_queries as queries
from app.dashboard import sightings
from app.dashboard.feed import START
from app.dashboard.figures import FigureBook
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render
from app.dashboard.frame.visitor import VisitorDep
from app.dashboard.sightings import Wanted
from app.db.tables import Camera, Site
from app.db.types import utc_now
from app.errors import ProblemError
from app.http.dependencies import DatabaseDep
from app.operating_points import queries as points
from app.sites import queries as sites
from app.sites.service import DEFAULT_SITE

router = APIRouter(include_in_schema=False)

SHOWN: Final = 40
OUTCOMES: Final = {
    "identified": N_("Recognised"),
    "unknown": N_("Unknown faces"),
    "attack_suspected": N_("Suspected attacks"),
}
METHODS: Final = {"pin": N_("PIN"), "badge": N_("Badge"), "manual": N_("By hand")}
# Where few events are wanted of many, how far back they are looked for: a page must not read the whole ledger.
_LOOKED_BACK: Final = timedelta(days=2)
_MOST_SITES: Final = 200
_MOST_CAMERAS: Final = 200
_MOST_STRANGERS: Final = 100
_SILENT_SHOWN: Final = 3
_MODEL_CARD: Final = "model card"
# One person cannot be taken for another: nothing to calibrate on.
_FEWEST_TO_CALIBRATE: Final = 2

SiteId = Annotated[str, Query(max_length=40)]


@dataclass(frozen=True, slots=True)
class Needs:
    """What somebody should look at; `n_strangers` counts no further than a bound."""

    silent: list[Camera]
    n_strangers: int
    has_suggestion: bool
    is_uncalibrated: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One of the first things to do, and whether it is done."""

    title: str
    text: str
    path: str
    action: str
    icon: str
    is_done: bool


@router.get("/")
def today_page(
    request: Request,
    visitor: VisitorDep,
    database: DatabaseDep,
    site: SiteId = "",
    camera: Annotated[str, Query(max_length=40)] = "",
    outcome: Literal["", "identified", "unknown", "attack_suspected"] = "",
) -> HTMLResponse:
    """Figures of one site; the list shows all of them unless one is chosen."""
    book: FigureBook = request.app.state.figure_book
    since = utc_now() - _LOOKED_BACK if site or outcome else None
    wanted = Wanted(camera_id=camera, site_id=site, outcome=outcome, since=since)
    with database.read() as session:
        here, newest = _site(session, site), queries.newest_event(session)
        data: dict[str, Any] = {
            "figures": book.read(session, here),
            "items": sightings.latest(session, wanted, SHOWN, request.app.state.odds_book),
            "newest": newest or START,
            "needs": _needs(session),
            "steps": _steps(session) if newest is None else [],
            "sites": sites.list_sites(session, after=None, limit=_MOST_SITES),
            "cameras": queries.cameras(session, _MOST_CAMERAS),
        }
    chosen = {"site": site, "camera": camera, "outcome": outcome}
    words: dict[str, Any] = {"outcomes": OUTCOMES, "methods": METHODS, "most_strangers": _MOST_STRANGERS}
    return render(request, visitor, "today.html", here=here, chosen=chosen, shown=SHOWN, **words, **data)


@router.get("/today/figures")
def figures(request: Request, _visitor: VisitorDep, database: DatabaseDep, site: SiteId = "") -> dict[str, Any]:
    """The figures alone, for the page to bring itself up to date."""
    book: FigureBook = request.app.state.figure_book
    with database.read() as session:
        return asdict(book.read(session, _site(session, site)))


def _site(session: Session, site_id: str) -> Site:
    site = sites.site_by_id(session, site_id or DEFAULT_SITE)
    if site is None:
        raise ProblemError(404, "site_not_found", "There is no such site. Choose one on the page Today.")
    return site


def _needs(session: Session) -> Needs:
    state = points.state(session)
    point = points.point(session, state.current_id) if state.current_id else None
    is_by_card = point is not None and point.method == _MODEL_CARD and point.n_people >= _FEWEST_TO_CALIBRATE
    return Needs(
        silent=list(queries.silent_cameras(session, _silent_since(), _SILENT_SHOWN + 1)),
        n_strangers=queries.n_open_clusters(session, _MOST_STRANGERS),
        has_suggestion=state.suggested_id is not None and state.suggested_id != state.current_id,
        is_uncalibrated=is_by_card,
    )


def _silent_since() -> datetime:
    return utc_now() - timedelta(seconds=ONLINE_S)


def _steps(session: Session) -> list[Step]:
    """What to do where nothing has happened yet."""
    is_enrolled = queries.is_anybody_enrolled(session)
    has_camera = bool(queries.cameras(session, 1))
    state = points.state(session)
    return [
        Step(
            N_("Enrol people"),
            N_("Three photos or a short video of each, and they are recognised from then on."),
            "/people",
            N_("To the people"),
            "people",
            is_enrolled,
        ),
        Step(
            N_("Add a camera, or open the kiosk"),
            N_("Any network camera will do, or a tablet at the door."),
            "/cameras",
            N_("To the cameras"),
            "camera",
            has_camera,
        ),
        Step(
            N_("See the threshold"),
            N_("How sure it must be before somebody is named: it tunes itself, and shows what that means."),
            "/threshold",
            N_("To the threshold"),
            "threshold",
            is_enrolled and state.n_searched > 0,
        ),
    ]

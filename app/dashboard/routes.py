"""All pages together, and what they are answered with when something is wrong."""

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.dashboard import (
    account,
    attendance,
    audit,
    cameras,
    entrance,
    evidence,
    jobs,
    keys,
    kiosk,
    live,
    models,
    people,
    person,
    settings,
    shifts,
    sites,
    threshold,
    today,
    unknown,
    users,
    webhooks,
)
from app.dashboard.frame.assets import add_assets
from app.dashboard.frame.pages import render_outside
from app.dashboard.frame.visitor import SignInNeededError
from app.errors import ProblemError

PAGES = (
    entrance.router,
    audit.router,
    live.router,
    today.router,
    evidence.router,
    cameras.router,
    kiosk.router,
    users.router,
    keys.router,
    account.router,
    jobs.router,
    models.router,
    threshold.router,
    attendance.router,
    unknown.router,
    settings.router,
    sites.router,
    shifts.router,
    webhooks.router,
    people.router,
    person.router,
)


def add_dashboard(app: FastAPI) -> None:
    """Serves the pages and what they load."""
    for router in PAGES:
        app.include_router(router)
    add_assets(app)
    app.add_exception_handler(SignInNeededError, _to_sign_in)


def wants_page(request: Request) -> bool:
    """Whether whoever asked is a browser that shows a page, not a program."""
    is_api = request.url.path.startswith(("/v1/", "/health/", "/metrics", "/assets/"))
    return not is_api and "text/html" in request.headers.get("accept", "")


def problem_page(request: Request, problem: ProblemError) -> Response:
    """What went wrong, as a page."""
    answer = render_outside(request, "problem.html", status=problem.status_code, problem=problem)
    answer.headers.update(problem.headers or {})
    return answer


async def _to_sign_in(_request: Request, exc: Any) -> Response:
    needed: SignInNeededError = exc
    return RedirectResponse(needed.location, 303)

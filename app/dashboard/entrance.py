"""Signing in and out, and making the first user with the key that the first start printed."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.auth.scopes import Principal, Scope
from app.auth.service import authenticate
from app.dashboard.frame.navigation import N_
from app.dashboard.frame.pages import render_outside
from app.dashboard.frame.visitor import VisitorDep, signed_in_of
from app.errors import ProblemError
from app.http.dependencies import DatabaseDep
from app.users import service, sessions
from app.users.dependencies import GateDep
from app.users.gate import Gate

router = APIRouter(include_in_schema=False)

_SEE_OTHER: Final = 303
# A path of this service. Browsers take a backslash for a slash and leave out tabs and line ends.
_INSIDE: Final = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]*")


@router.get("/login")
def login_page(request: Request, database: DatabaseDep, next: str = "/") -> Response:
    with database.read() as session:
        if service.needs_setup(session):
            return RedirectResponse("/setup", _SEE_OTHER)
    if signed_in_of(request) is not None:
        return RedirectResponse(_inside(next), _SEE_OTHER)
    return _login_form(request, next)


@router.post("/login")
def login(
    request: Request,
    gate: GateDep,
    username: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    require_same_origin(request)
    try:
        cookie = gate.sign_in(username, password, _address_of(request), request.cookies.get(sessions.COOKIE))
    except ProblemError as problem:
        return _login_form(request, next, username=username, problem=problem)
    if cookie is None:
        wrong = ProblemError(401, "sign_in_wrong", N_("The user name or the password is wrong."))
        return _login_form(request, next, username=username, problem=wrong)
    return _with_cookie(RedirectResponse(_inside(next), _SEE_OTHER), request, gate, cookie)


@router.post("/logout")
def logout(request: Request, gate: GateDep, visitor: VisitorDep, csrf_token: Annotated[str, Form()] = "") -> Response:
    sessions.require_csrf(visitor.signed_in, request.method, csrf_token)
    gate.sign_out(visitor.signed_in)
    answer = RedirectResponse("/login", _SEE_OTHER)
    answer.delete_cookie(sessions.COOKIE, httponly=True, samesite="lax", secure=_is_https(request))
    return answer


@router.get("/setup")
def setup_page(request: Request, database: DatabaseDep) -> Response:
    with database.read() as session:
        if not service.needs_setup(session):
            return RedirectResponse("/login", _SEE_OTHER)
    return render_outside(request, "setup.html", problem=None, given={})


@router.post("/setup")
def setup(
    request: Request,
    gate: GateDep,
    key: Annotated[str, Form(max_length=200)] = "",
    username: Annotated[str, Form(max_length=200)] = "",
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Makes the first user, an administrator, for whoever holds an administrator's key."""
    require_same_origin(request)
    try:
        principal = _holder(gate, key, _address_of(request))
        cookie = _set_up(gate, principal, username, name.strip(), password)
    except ProblemError as problem:
        given = {"username": username, "name": name}
        answer = render_outside(request, "setup.html", status=problem.status_code, problem=problem, given=given)
        answer.headers.update(_without_challenge(problem))
        return answer
    return _with_cookie(RedirectResponse("/", _SEE_OTHER), request, gate, cookie)


def require_same_origin(request: Request) -> None:
    """Refuses a form that another site made the browser send, where there is no session yet that could hold a token.

    Raises:
        ProblemError: 403 `csrf_invalid`.
    """
    # Browsers send the first with every form, and `null` for a page that hides where it is from; the second on https.
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not is_ours or site not in ("same-origin", "none"):
        raise ProblemError(403, "csrf_invalid", N_("This form was sent by another site. Open this page and try again."))


def _holder(gate: Gate, key: str, address: str) -> Principal:
    """Who holds an administrator's key; wrong ones are counted."""
    gate.tries.refuse_locked_address(address)
    try:
        principal = authenticate(gate.database, key.strip())
    except ProblemError:
        gate.tries.count_failure(address)
        raise
    if principal.scope is not Scope.ADMIN:
        raise ProblemError(403, "scope_insufficient", N_("This key is not an administrator's."))
    return principal


def _set_up(gate: Gate, principal: Principal, username: str, name: str, password: str) -> str:
    service.checked_username(username)
    if not name or not name.isprintable():
        raise ProblemError(422, "fields_invalid", N_("Choose a user name, and say what you are called."))
    password_hash = service.hashed(gate.hasher, password)
    with gate.database.write() as session:
        user = service.create_first_admin(session, username, name, password_hash, actor=principal.actor)
        return sessions.begin(session, user, gate.limits)


def _login_form(
    request: Request, next: str, *, username: str = "", problem: ProblemError | None = None
) -> HTMLResponse:
    data = {"next": _inside(next), "username": username, "problem": problem}
    answer = render_outside(request, "login.html", status=problem.status_code if problem else 200, **data)
    answer.headers.update(_without_challenge(problem) if problem else {})
    return answer


def _without_challenge(problem: ProblemError) -> dict[str, str]:
    """The headers of a refusal; a browser that is asked for a key would show a window of its own."""
    return {name: value for name, value in (problem.headers or {}).items() if name != "WWW-Authenticate"}


def _inside(path: str) -> str:
    """Where to go after signing in: a path of this service, whatever the address says."""
    return path if _INSIDE.fullmatch(path) else "/"


def _address_of(request: Request) -> str:
    """Who asks, or for whom a trusted proxy asks; see `FORWARDED_ALLOW_IPS` of uvicorn."""
    return request.client.host if request.client is not None else ""


def _is_https(request: Request) -> bool:
    return request.url.scheme == "https"


def _with_cookie(answer: Response, request: Request, gate: Gate, cookie: str) -> Response:
    answer.set_cookie(
        sessions.COOKIE,
        cookie,
        max_age=int(gate.limits.longest.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=_is_https(request),
    )
    return answer

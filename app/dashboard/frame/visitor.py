"""Who is looking at a page: `visitor: VisitorDep` asks for somebody who is signed in, and sends others to sign in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends
from starlette.requests import Request

from app.auth.scopes import Principal, Scope
from app.dashboard.frame.taste import Taste, taste_of
from app.errors import ProblemError
from app.users import sessions
from app.users.sessions import SessionLimits, SignedIn


class SignInNeededError(Exception):
    """Nobody is signed in: `path` is where they wanted to go."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    @property
    def location(self) -> str:
        return "/login" if self.path == "/" else f"/login?next={quote(self.path, safe='')}"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in, and how they want to see things."""

    signed_in: SignedIn
    taste: Taste

    @property
    def principal(self) -> Principal:
        return self.signed_in.principal

    @property
    def is_admin(self) -> bool:
        return self.signed_in.role is Scope.ADMIN


def signed_in_of(request: Request) -> SignedIn | None:
    """Who is signed in, if anybody."""
    limits = SessionLimits.of(request.app.state.settings)
    cookie, is_background = request.cookies.get(sessions.COOKIE), sessions.is_background(request.headers)
    return sessions.find(request.app.state.database, cookie, limits, is_background=is_background)


def _visitor_who(needed: Scope) -> Callable[[Request], Visitor]:
    def find(request: Request) -> Visitor:  # not async: it asks the database
        signed_in = signed_in_of(request)
        if signed_in is None:
            query = f"?{request.url.query}" if request.url.query else ""
            raise SignInNeededError(request.url.path + query if request.method == "GET" else "/")
        if not signed_in.role.includes(needed):
            raise ProblemError(403, "scope_insufficient", "This page is for administrators.")
        return Visitor(signed_in, taste_of(request))

    return find


VisitorDep = Annotated[Visitor, Depends(_visitor_who(Scope.OPERATOR))]
AdminVisitorDep = Annotated[Visitor, Depends(_visitor_who(Scope.ADMIN))]

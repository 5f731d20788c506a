"""Turns strangers away before a byte of their body is read: FastAPI would read all of it first."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from app.auth.dependencies import presented_secret
from app.auth.scopes import Principal
from app.auth.service import authenticate
from app.users import sessions
from app.users.sessions import SessionLimits


class AuthenticationMiddleware:
    """Every path under `/v1/` needs a key, or somebody's session; the caller is left in `request.state.principal`."""

    def __init__(self, app: ASGIApp, limits: SessionLimits, prefix: str = "/v1/") -> None:
        self.app = app
        self.limits = limits
        self.prefix = prefix

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(self.prefix):
            principal = await run_in_threadpool(self._caller, HTTPConnection(scope))
            scope.setdefault("state", {})["principal"] = principal
        await self.app(scope, receive, send)

    def _caller(self, request: HTTPConnection) -> Principal:
        secret, database = presented_secret(request.headers), request.app.state.database
        if not secret and (cookie := request.cookies.get(sessions.COOKIE)):
            is_background = sessions.is_background(request.headers)
            signed_in = sessions.find(database, cookie, self.limits, is_background=is_background)
            if signed_in is not None:
                sessions.require_csrf(signed_in, request.scope["method"], request.headers.get(sessions.CSRF_HEADER))
                return signed_in.principal
        return authenticate(database, secret)

"""Turns strangers away before a byte of their body is read: FastAPI would read all of it first."""

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth.dependencies import presented_secret
from app.auth.service import authenticate


class AuthenticationMiddleware:
    """Every path under `/v1/` needs a key; the caller is left in `request.state.principal`."""

    def __init__(self, app: ASGIApp, prefix: str = "/v1/") -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(self.prefix):
            secret = presented_secret(Headers(scope=scope))
            principal = await run_in_threadpool(authenticate, scope["app"].state.database, secret)
            scope.setdefault("state", {})["principal"] = principal
        await self.app(scope, receive, send)

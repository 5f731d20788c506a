"""The outermost layer: a request id, one log line, and an answer whatever goes wrong inside."""

import re
import secrets
import time
from collections.abc import Awaitable, Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import DATABASE_AWAY, ProblemError, problem_for, problem_response
from app.inference.admission import InferenceBusyError
from app.logs import safe_message, safe_traceback

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_ROUTINE = {"/health/live", "/health/ready", "/metrics"}

Observe = Callable[[str, str, int | None, float], None]
"""Takes method, route pattern, status and seconds of every request."""
Respond = Callable[[Request, ProblemError], Awaitable[Response]]
"""Makes the answer of a refusal."""


async def respond_with_problem(request: Request, problem: ProblemError) -> Response:
    """For programs."""
    return problem_response(problem, request.state.request_id)


log = structlog.get_logger(__name__)


class RequestContextMiddleware:
    """Gives each request an id (the caller's own if it is sane) and turns every exception into a problem."""

    def __init__(self, app: ASGIApp, observe: Observe, respond: Respond = respond_with_problem) -> None:
        self.app = app
        self._observe = observe
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            exchange = _Exchange(self.app, scope, receive, send, request_id, self._respond)
            await exchange.run(self._observe)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, request_id: str, respond: Respond
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._respond = respond
        self._status: int | None = None
        self._is_turned_away = False

    async def run(self, observe: Observe) -> None:
        started = time.perf_counter()
        try:
            await self._app(self._scope, self._receive, self._send_with_id)
        except Exception as exc:
            await self._answer(exc)
        finally:
            elapsed_s = time.perf_counter() - started
            observe(self._scope["method"], self._route, self._status, elapsed_s)
            self._log(elapsed_s)

    async def _send_with_id(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = self._request_id
        await self._send(message)

    async def _answer(self, exc: Exception) -> None:
        problem = problem_for(exc)
        self._is_turned_away = isinstance(exc, InferenceBusyError)
        if isinstance(exc, DATABASE_AWAY):
            log.warning("http.failed", code=problem.code, error=type(exc).__name__, reason=safe_message(exc))
        elif problem.status_code >= 500:
            log.error("http.failed", code=problem.code, exception=safe_traceback(exc))
        if self._status is not None:
            raise exc  # half an answer is out: all that is left is to break the connection
        answer = await self._respond(Request(self._scope), problem)
        await answer(self._scope, self._receive, self._send_with_id)

    @property
    def _route(self) -> str:
        path: str = getattr(self._scope.get("route"), "path", "(none)")
        return path

    def _log(self, elapsed_s: float) -> None:
        fields = {"method": self._scope["method"], "route": self._route, "status": self._status}
        # A proxy and Prometheus ask all day long; what they are answered is nothing to read. Those whom the networks
        # have no time for come by the hundred, and are told of together.
        is_routine = self._is_turned_away or (self._route in _ROUTINE and self._status == 200)
        say = log.debug if is_routine else log.info
        say("http.request", **fields, ms=round(elapsed_s * 1000, 1))


def request_id_of(headers: Headers) -> str:
    """The caller's `X-Request-Id` where it is harmless in a log, else a new one."""
    offered = headers.get("x-request-id", "")
    return offered if SANE_ID.fullmatch(offered) else secrets.token_hex(8)

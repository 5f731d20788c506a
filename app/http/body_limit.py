"""Stops bodies that are too large or never come, while they arrive: a Content-Length may be missing or a lie."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ProblemError

# What is still read and thrown away after a refusal, so that an honest client gets to see the answer: closing at once
# would reset the connection under its upload.
DRAIN_BYTES = 64_000_000
DRAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes allowed by path, `default_bytes` elsewhere; `timeout_s` is the longest silence."""

    default_bytes: int
    timeout_s: float
    bytes_by_path: dict[str, int] = field(default_factory=dict)

    def for_path(self, path: str) -> int:
        return self.bytes_by_path.get(path.rstrip("/"), self.default_bytes)


class BodyLimitMiddleware:
    """Refuses with 413 `request_too_large` and 408 `request_timeout`."""

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive, self.limits.for_path(scope["path"]), self.limits.timeout_s)
        headers = Headers(scope=scope)
        if _declared_bytes(headers) > body.limit_bytes:
            # A client that asked first (Expect) has sent nothing yet.
            raise await body.too_large(drain=headers.get("expect", "").lower() != "100-continue")
        await self.app(scope, body.receive, send)


class _Body:
    """One request's body on its way in."""

    def __init__(self, receive: Receive, limit_bytes: int, timeout_s: float) -> None:
        self.limit_bytes = limit_bytes
        self._receive = receive
        self._timeout_s = timeout_s
        self._n_bytes = 0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:  # from here on `receive` only waits for the client to leave
            return await self._receive()
        message = await self._next(self._timeout_s)
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > self.limit_bytes:
            raise await self.too_large(drain=True)
        return message

    async def too_large(self, *, drain: bool) -> ProblemError:
        if drain:
            await self._drain()
        detail = f"The request body is larger than the {self.limit_bytes:,} bytes accepted here."
        return ProblemError(413, "request_too_large", detail, headers={"Connection": "close"})

    async def _next(self, timeout_s: float) -> Message:
        try:
            async with asyncio.timeout(timeout_s):
                message = await self._receive()
        except TimeoutError:
            detail = f"Nothing of the request body arrived for {self._timeout_s:g} s."
            raise ProblemError(408, "request_timeout", detail, headers={"Connection": "close"}) from None
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def _drain(self) -> None:
        until, n_bytes = monotonic() + DRAIN_S, 0
        while not self._complete and n_bytes < DRAIN_BYTES and monotonic() < until:
            try:
                n_bytes += len((await self._next(until - monotonic())).get("body", b""))
            except ProblemError:
                return


def _declared_bytes(headers: Headers) -> int:
    try:
        return int(headers.get("content-length", 0))
    except ValueError:  # counted while it arrives, like any other
        return 0

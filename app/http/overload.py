"""Turns cameras away at the door while the networks have too much to do: before a key is looked up or a body is read.

Under overload most requests end here, so this has to cost next to nothing beside the networks, on the same cores. Who
sends no key at all is not told even that much: they go on, to their 401.
"""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth.dependencies import presented_secret
from app.inference.port import Inference


class OverloadMiddleware:
    """Refuses with 429 `overloaded` what is sent to these paths, as `Inference.check_room` says."""

    def __init__(self, app: ASGIApp, paths: Collection[str]) -> None:
        self.app = app
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in self.paths and presented_secret(Headers(scope=scope)):
            inference: Inference | None = scope["app"].state.inference
            if inference is not None:
                inference.check_room()
        await self.app(scope, receive, send)

"""Waiting for a result only as long as there is somebody to give it to."""

import asyncio
from concurrent.futures import Future
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def unless_gone(request: Request, result: "Future[T]") -> T:
    """The result, waited for without a thread; cancelled when the client leaves, or this task is cancelled.

    To be called after the request's body has been read: from then on the next message is that the client has left.

    Raises:
        ClientDisconnect: the client has left.
    """
    waiting = asyncio.wrap_future(result)
    leaving = asyncio.ensure_future(_left(request))
    either: list[asyncio.Future[Any]] = [waiting, leaving]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientDisconnect
        return waiting.result()
    finally:
        waiting.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

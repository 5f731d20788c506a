"""Passes answers on to a program of one's own, such as what opens the door. It may fail: no capture waits for it."""

from queue import Full, Queue
from threading import Thread
from typing import Any, Final

import httpx
import structlog

log = structlog.get_logger(__name__)

_MOST_WAITING: Final = 100
_TIMEOUT_S: Final = 5.0


class Forwarder:
    """A thread that posts each answer once, as JSON; those that come faster than they are taken are dropped."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(timeout=_TIMEOUT_S)
        self._url = url
        self._queue: Queue[dict[str, Any] | None] = Queue(_MOST_WAITING)
        self._thread = Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def post(self, answer: dict[str, Any]) -> None:
        """Pass an answer on, some time."""
        try:
            self._queue.put_nowait(answer)
        except Full:
            log.warning("camera.webhook_dropped")

    def close(self) -> None:
        """End, after what waits has been passed on or a few seconds."""
        try:
            self._queue.put_nowait(None)
        except Full:
            return
        self._thread.join(_TIMEOUT_S)

    def _run(self) -> None:
        while (answer := self._queue.get()) is not None:
            try:
                self._http.post(self._url, json=answer).raise_for_status()
            except Exception as error:
                log.warning("camera.webhook_failed", error=type(error).__name__)
        self._http.close()

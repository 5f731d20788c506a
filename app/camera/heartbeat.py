"""Tells the service every half minute that the camera is there, and what its clock shows."""

from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any, Final

import httpx
import structlog

from app import __version__
from app.camera.clock import read_clocks

log = structlog.get_logger(__name__)

_EVERY_S: Final = 30.0
_TIMEOUT: Final = httpx.Timeout(10.0, connect=5.0)

OnBeat = Callable[[dict[str, Any]], None]
"""Told what the service answered."""


class Heartbeat:
    """A thread that beats; a service that is away or does not know the camera is no reason to stop."""

    def __init__(self, http: httpx.Client, n_waiting: Callable[[], int], on_beat: Sequence[OnBeat]) -> None:
        self._http = http
        self._n_waiting = n_waiting
        self._on_beat = on_beat
        self._stop = Event()
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """The first beat, which is waited for because its answer may hold the camera's policy; then more of them."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """No more beats; one on its way is not waited for."""
        self._stop.set()

    def beat(self) -> None:
        """One beat; whatever goes wrong, there will be another."""
        try:
            self._beat()
        except Exception as error:
            log.warning("camera.heartbeat_failed", error=type(error).__name__)

    def _beat(self) -> None:
        sent = {"device_time": read_clocks().wall.isoformat(), "version": __version__}
        try:
            answer = self._http.post("/v1/cameras/heartbeat", json=sent, timeout=_TIMEOUT)
            body = answer.json() if answer.is_success else {}
        except (httpx.TransportError, httpx.DecodingError, ValueError):
            body = {}
        if not isinstance(body, dict):
            body = {}
        n_waiting = self._n_waiting()
        tell = log.info if n_waiting else log.debug  # all day long there is nothing to tell
        tell("camera.heartbeat", waiting=n_waiting, clock_offset_s=body.get("clock_offset_s"))
        if body:
            for hear in self._on_beat:
                hear(body)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.beat()

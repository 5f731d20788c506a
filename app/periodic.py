"""Something that is done now and then, in a thread of its own, for as long as the service runs."""

from collections.abc import Callable
from threading import Event, Thread

import structlog

from app.logs import log_failure

log = structlog.get_logger(__name__)


class Periodic:
    """Calls `work` when it starts, and `every_s` seconds after each call; a failure is logged and forgotten."""

    def __init__(self, name: str, work: Callable[[], object], every_s: float) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._stop = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @property
    def is_stopping(self) -> bool:
        """For work that takes long, and can be cut short."""
        return self._stop.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                self._work()
            except Exception as error:  # a thread that died would go unnoticed
                log_failure(log, "periodic.failed", error, name=self._name)
            if self._stop.wait(self._every_s):
                return

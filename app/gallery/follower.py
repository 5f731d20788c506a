"""Applies other processes' changes as they come; our own are applied before they are answered."""

from threading import Event, Thread

import structlog

from app.gallery.bell import Bell
from app.gallery.replica import GalleryReplica, OtherModelError
from app.logs import log_failure

# How often changes are looked for when nobody tells of them.
POLL_EVERY_S = 1.0
_REST_AFTER_FAILURE_S = 0.5

log = structlog.get_logger(__name__)


class Follower:
    """A thread that keeps one replica up to date."""

    def __init__(self, replica: GalleryReplica, bell: Bell) -> None:
        self._replica = replica
        self._bell = bell
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="gallery-follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._bell.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._bell.close()

    def _run(self) -> None:
        while True:
            try:
                self._bell.wait(POLL_EVERY_S)
                if self._stopping.is_set():
                    return
                self._replica.catch_up()
            except OtherModelError:
                self._stopping.wait(_REST_AFTER_FAILURE_S)  # `app.models.understudy` gets it ready
            except Exception as error:  # a follower that died would go unnoticed
                log_failure(log, "gallery.catch_up_failed", error)
                self._stopping.wait(_REST_AFTER_FAILURE_S)

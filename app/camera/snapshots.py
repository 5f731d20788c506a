"""Shows the service what the camera sees right now, when somebody there asks to see it."""

from collections.abc import Callable, Iterator, Mapping
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any, Final

import httpx
import structlog

from app.camera.pictures import to_jpeg
from app.camera.policy import WORTH_SENDING_PX
from app.camera.source import Frame, Source
from ml.types import RgbImage

log = structlog.get_logger(__name__)

# Somebody is looking at a page and waits; asking is one small read for the service.
ASK_EVERY_S: Final = 5.0
# A camera that has shown nothing for so long shows nothing.
_STALE_S: Final = 10.0
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)


class NewestFrame:
    """A source that also remembers its newest frame."""

    def __init__(self, source: Source, wait_s: float) -> None:
        """`wait_s`: how long to wait for a frame where the last one is old, such as while the detector is loaded."""
        self._source = source
        self._wait_s = wait_s
        self._frame: tuple[float, RgbImage] | None = None
        self._changed = Condition()

    @property
    def is_live(self) -> bool:
        return self._source.is_live

    def frames(self, stop: Event) -> Iterator[Frame]:
        for frame in self._source.frames(stop):
            with self._changed:
                self._frame = monotonic(), frame.image
                self._changed.notify_all()
            yield frame

    def read(self) -> RgbImage | None:
        """The newest frame; None where there is none for a while."""
        with self._changed:
            self._changed.wait_for(lambda: self._fresh() is not None, self._wait_s)
            return self._fresh()

    def _fresh(self) -> RgbImage | None:
        frame = self._frame
        return None if frame is None or monotonic() - frame[0] > _STALE_S else frame[1]


class Snapshots:
    """A thread that asks every few seconds whether a picture is wanted, and sends one then.

    It begins when a heartbeat's answer shows that the service knows of this at all. Whatever goes wrong, it goes on:
    whoever waits is told that nothing came.
    """

    def __init__(
        self,
        http: httpx.Client,
        newest: Callable[[], RgbImage | None],
        min_face_px: Callable[[int], int],
        every_s: float = ASK_EVERY_S,
    ) -> None:
        """`min_face_px` says how small a face may be in a frame this many pixels high, as for captures."""
        self._http = http
        self._newest = newest
        self._min_face_px = min_face_px
        self._every_s = every_s
        self._is_known = False
        self._stop = Event()
        self._thread = Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more of them; one on its way is not waited for."""
        self._stop.set()

    def hear(self, heartbeat: Mapping[str, Any]) -> None:
        """Learn from the answer to a heartbeat whether the service asks for pictures."""
        self._is_known = "snapshot" in heartbeat

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            if self._is_known:
                self._answer_wish()

    def _answer_wish(self) -> None:
        try:
            answer = self._http.get("/v1/cameras/snapshots/wanted", timeout=_TIMEOUT)
            if answer.is_success and (wanted := answer.json()["snapshot"]) is not None:
                self._send(str(wanted["id"]))
        except Exception as error:  # what waits for a delivery says more of a service that is away
            log.debug("camera.snapshot_failed", error=type(error).__name__)

    def _send(self, snapshot_id: str) -> None:
        image, url = self._newest(), f"/v1/cameras/snapshots/{snapshot_id}"
        if image is None:
            form = {"trouble": (None, "no_picture")}
            self._http.post(url, files=form, timeout=_TIMEOUT)
            return
        least_px = max(WORTH_SENDING_PX, self._min_face_px(image.shape[0]))
        files = {"image": ("snapshot.jpg", to_jpeg(image), "image/jpeg")}
        answer = self._http.post(url, data={"min_face_px": str(least_px)}, files=files, timeout=_TIMEOUT)
        log.info("camera.snapshot_sent", status=answer.status_code)

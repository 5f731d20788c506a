"""Where frames come from: a film, every frame at its time; or a camera, always the newest, for ever."""

import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Condition, Event, Thread
from time import monotonic
from typing import Final, Protocol

import cv2
import numpy as np
import structlog

from app.camera.clock import Stamp, read_clocks
from app.camera.console import Console
from ml.types import RgbImage
from ml.video import VideoLimits, probe_video, read_frames

log = structlog.get_logger(__name__)

# The operator's own file, so only what no machine could hold is refused: a day of film.
_FILM_LIMITS: Final = VideoLimits(
    max_bytes=10**12, max_seconds=86_400.0, max_frames=10**8, max_total_pixels=10**15, max_pixels=4096 * 4096
)
_OPEN_TIMEOUT_MS: Final = 10_000
_READ_TIMEOUT_MS: Final = 10_000
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
# UDP drops packets, which shows as grey smears where faces are.
_RTSP: Final = "rtsp_transport;tcp"
_STALE_S: Final = 0.5
# Longer than opening, reading and the longest pause take together: a driver that hangs, which no timeout ends.
_STUCK_S: Final = 90.0
# Each one that hangs keeps its thread: there must not be too many.
_LONGEST_STUCK_S: Final = 3600.0


class SourceError(ValueError):
    """There can be no frames from what was named; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """`time_s` on the source's own clock, which only goes forward; `stamp`: when it was read, `captured_at`: seen.

    For a camera both are the same moment; a film was seen when it was filmed.
    """

    time_s: float
    captured_at: datetime
    stamp: Stamp
    image: RgbImage


class Source(Protocol):
    """Gives frames until it ends or `stop` is set."""

    @property
    def is_live(self) -> bool:
        """Whether it goes on for ever, and frames that nobody had time for are gone."""

    def frames(self, stop: Event) -> Iterator[Frame]:
        """The frames, one after the other."""


def open_source(name: str, console: Console, *, started_at: datetime | None, is_realtime: bool) -> Source:
    """What a person named: a number or /dev/… is a device, scheme://… a network camera, anything else a film.

    Raises:
        SourceError: there is no such file, or options for a film were given for a camera.
    """
    if name.isdecimal() or name.startswith("/dev/") or "://" in name:
        if started_at is not None or is_realtime:
            raise SourceError("--started-at and --realtime are for films: a camera shows what is now")
        return LiveSource(name, console)
    path = Path(name)
    if not path.is_file():
        raise SourceError(f"{name}: no such file; a camera is rtsp://…, http://…, /dev/video0 or a number such as 0")
    return FilmSource(path, started_at, is_realtime)


def without_secrets(name: str) -> str:
    """A camera's scheme, host and port: users, passwords and tokens may be anywhere else in its address."""
    scheme, separator, rest = name.partition("://")
    if not separator:
        return name
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:  # of a password with a slash in it, the host cannot be told
        return f"{scheme}://…"
    return f"{scheme}://{authority.rpartition('@')[2]}"


class FilmSource:
    """A film from beginning to end."""

    is_live = False

    def __init__(self, path: Path, started_at: datetime | None, is_realtime: bool) -> None:
        """`started_at` unset: as if it had ended just now, or with `is_realtime`, as if it began now."""
        self._path = path
        self._started_at = started_at
        self._is_realtime = is_realtime

    def frames(self, stop: Event) -> Iterator[Frame]:
        begun_s, started_at = monotonic(), self._started_at or self._presumed_start()
        for frame in read_frames(self._path, _FILM_LIMITS, frames_per_second=None):
            if self._is_realtime:
                stop.wait(max(0.0, begun_s + frame.time_s - monotonic()))
            if stop.is_set():
                return
            captured_at = started_at + timedelta(seconds=frame.time_s)
            yield Frame(frame.time_s, captured_at, read_clocks(), frame.image)

    def _presumed_start(self) -> datetime:
        """The service refuses what is still to come: a film is looked at faster than it was filmed."""
        now = datetime.now(UTC)
        if self._is_realtime:
            return now
        return now - timedelta(seconds=probe_video(self._path, _FILM_LIMITS).duration_s or 0.0)


class Capturing(Protocol):
    """As much of `cv2.VideoCapture` as is used here."""

    def read(self) -> tuple[bool, "cv2.typing.MatLike | None"]:
        """Whether there is a frame, and the frame."""

    def release(self) -> None:
        """Hang up."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: the first pause between two connections, and until a reader that shows no sign of life is replaced."""

    first_pause_s: float = _FIRST_PAUSE_S
    stuck_s: float = _STUCK_S


class LiveSource:
    """A camera: a thread reads as fast as frames come and keeps the newest; reconnects for ever."""

    is_live = True

    def __init__(
        self,
        name: str,
        console: Console,
        patience: Patience | None = None,
        connect: "Callable[[str], Capturing] | None" = None,
    ) -> None:
        self._name = name
        self._console = console
        self._patience = patience or Patience()
        self._connect = connect or _connect
        self._newest: Frame | None = None
        self._changed = Condition()
        self._alive_s = 0.0

    def frames(self, stop: Event) -> Iterator[Frame]:
        given_up, stuck_s = self._start_reader(), self._patience.stuck_s
        try:
            while not stop.is_set():
                if (frame := self._take()) is not None:
                    stuck_s = self._patience.stuck_s
                    yield frame
                elif monotonic() - self._alive_s > stuck_s:
                    self._console.problem("camera", f"{without_secrets(self._name)} hangs: connecting once more")
                    given_up.set()
                    given_up = self._start_reader()
                    stuck_s = min(2 * stuck_s, _LONGEST_STUCK_S)
        finally:
            given_up.set()

    def _start_reader(self) -> Event:
        """What ends it: nobody can end a thread that hangs, but once it goes on it must leave."""
        given_up = Event()
        self._alive_s = monotonic()
        Thread(target=self._read_for_ever, args=(given_up,), name="camera", daemon=True).start()
        return given_up

    def _take(self) -> Frame | None:
        with self._changed:
            if self._newest is None:
                self._changed.wait(_STALE_S)
            frame, self._newest = self._newest, None
            return frame

    def _read_for_ever(self, given_up: Event) -> None:
        pause_s = self._patience.first_pause_s
        while not given_up.is_set():
            self._alive_s = monotonic()
            if self._read_until_it_fails(given_up):
                pause_s = self._patience.first_pause_s
            if given_up.is_set():
                return
            self._alive_s = monotonic()
            self._console.problem("camera", f"no picture from {without_secrets(self._name)}: trying again for ever")
            # Many cameras behind one switch must not all come back in the same second.
            given_up.wait(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _read_until_it_fails(self, given_up: Event) -> bool:
        """Whether there were any frames; whatever goes wrong, the thread must outlive it."""
        has_frames = False
        try:
            for image in self._images(given_up):
                self._keep(image)
                if not has_frames:
                    self._console.solved("camera", f"pictures from {without_secrets(self._name)}")
                has_frames = True
        except Exception:
            log.exception("camera.read_failed")
        return has_frames

    def _images(self, given_up: Event) -> Iterator[RgbImage]:
        capture = self._connect(self._name)
        try:
            while True:
                is_read, image = capture.read()
                if not is_read or image is None or given_up.is_set():
                    return
                yield np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        finally:
            capture.release()

    def _keep(self, image: RgbImage) -> None:
        stamp = read_clocks()
        with self._changed:
            self._alive_s = monotonic()
            self._newest = Frame(stamp.up_s, stamp.wall, stamp, image)
            self._changed.notify_all()


def _connect(name: str) -> cv2.VideoCapture:
    if name.isdecimal():
        return cv2.VideoCapture(int(name))
    if "://" not in name:
        return cv2.VideoCapture(name)
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _RTSP)  # the only way to tell OpenCV's FFmpeg
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS]
    return cv2.VideoCapture(name, cv2.CAP_FFMPEG, timeouts)

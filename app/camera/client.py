"""The camera client put together: what runs beside what, in which order it starts, and how it ends."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, Final
from uuid import uuid4

import httpx
import structlog

from app.camera.answers import outcome_of, summary, without_name
from app.camera.captures import Capture, device_time
from app.camera.clock import read_clocks
from app.camera.console import Console
from app.camera.finder import FaceFinder
from app.camera.heartbeat import Heartbeat
from app.camera.pictures import to_jpeg
from app.camera.policy import PolicyMemory, smallest_face_px
from app.camera.sender import Pauses, Sender
from app.camera.snapshots import ASK_EVERY_S, NewestFrame, Snapshots
from app.camera.source import Source
from app.camera.spool import Spool, SpoolFullError
from app.camera.visits import View
from app.camera.watcher import OnFrame, Watcher, Watching
from app.camera.webhook import Forwarder

log = structlog.get_logger(__name__)

# A visit is looked at for two seconds, and an answer over a poor line takes a few more.
_LATE_S: Final = 10.0
# The next frame is waited for so many times as long as between two wishes: a third of what the service waits.
_WAITS: Final = 4


@dataclass(frozen=True, slots=True)
class Server:
    """Where captures go. `keys`: the camera's key, then earlier ones that captures may still be sealed with."""

    url: str
    keys: Sequence[str]
    spool_dir: Path
    spool_max_bytes: int
    webhook_url: str | None = None
    pauses: Pauses | None = None
    snapshots_every_s: float = ASK_EVERY_S


@dataclass(frozen=True, slots=True)
class Looking:
    """How the client looks. `min_face_px` None: as the service's policy for this camera says, or else its picture.

    `shows_snapshots`: whether operators of the service may ask what the camera sees right now.
    """

    direction: str | None = None
    min_face_px: int | None = None
    on_frame: OnFrame | None = None
    shows_snapshots: bool = True


class Client:
    """Sends what a source shows, and keeps what cannot be sent."""

    def __init__(self, server: Server, looking: Looking, console: Console) -> None:
        """Take over the spool.

        Raises:
            SpoolError: another client uses it, or it cannot be written.
        """
        self._looking = looking
        self._console = console
        self._forwarder: Forwarder | None = None
        self._server = server
        self._spool = Spool(server.spool_dir, server.keys, server.spool_max_bytes)
        self._policy = PolicyMemory(server.spool_dir)
        self._watcher = Watcher(Watching(FaceFinder, self.min_face_px, self._hand_over, looking.on_frame))
        self._n_dropped = 0

    def run(self, source: Source | None, stop: Event, wait_s: float) -> bool:
        """Watch until the source ends or `stop` is set, then deliver what waits for so long at most.

        Without a source only what waits is delivered. Returns whether nothing waits any more, or a stop was asked for.
        """
        watched = None if source is None else NewestFrame(source, _WAITS * self._server.snapshots_every_s)
        with self._delivering(watched):
            self._tell_what_waits()
            if watched is not None:
                self._watcher.run(watched, stop)
            is_empty = stop.is_set() or self._spool.wait_until_empty(stop, wait_s)
        if n_lost := self._spool.n_in_memory:
            self._console.tell(
                "lost", f"{n_lost} captures could be neither delivered nor written to the disk", lost=n_lost
            )
        if n_waiting := self._spool.n_waiting - n_lost:
            self._console.tell("waiting", f"{n_waiting} captures wait in {self._spool.folder}")
        return is_empty or stop.is_set()

    @contextmanager
    def _delivering(self, watched: NewestFrame | None) -> Iterator[None]:
        with ExitStack() as stack:
            stack.callback(self._spool.close)
            http = stack.enter_context(
                httpx.Client(base_url=self._server.url, headers={"X-API-Key": self._server.keys[0]})
            )
            if self._server.webhook_url is not None:
                self._forwarder = Forwarder(self._server.webhook_url)
                stack.callback(self._forwarder.close)
            heard = [self._policy.hear]
            if watched is not None and self._looking.shows_snapshots:
                snapshots = Snapshots(http, watched.read, self.min_face_px, self._server.snapshots_every_s)
                stack.callback(snapshots.stop)
                snapshots.start()
                heard.append(snapshots.hear)
            heartbeat = Heartbeat(http, lambda: self._spool.n_waiting, heard)
            stack.callback(heartbeat.stop)
            sender = Sender(http, self._spool, self._console, self._answered, self._server.pauses)
            stack.callback(sender.stop)
            heartbeat.start()
            sender.start()
            yield

    def _tell_what_waits(self) -> None:
        self._spool.first()  # opens them up to the first that can be, so that the others are counted
        if n_waiting := self._spool.n_waiting:
            self._console.tell("waiting", f"{n_waiting} captures wait from before", waiting=n_waiting)
        if n_unreadable := self._spool.n_unreadable:
            self._console.problem(
                "spool",
                f"{n_unreadable} captures in {self._spool.folder} were sealed with another key, and stay there: give "
                "it with --old-key to deliver them",
            )

    def min_face_px(self, frame_height: int) -> int:
        """Shorter side of the smallest face that is sent, at present, of frames this many pixels high."""
        return self._looking.min_face_px or self._policy.min_face_px or smallest_face_px(frame_height)

    def _hand_over(self, view: View) -> str | None:
        capture = capture_of(view, self._looking.direction)
        try:
            self._spool.put(capture)
        except SpoolFullError as error:
            self._n_dropped += 1
            n_waiting = self._spool.n_waiting
            log.error("camera.spool_full", why=str(error), waiting=n_waiting, dropped=self._n_dropped)
            self._console.tell(
                "spool_full", f"{error}: {n_waiting} captures wait, newest dropped ({self._n_dropped} so far)"
            )
            return None
        return capture.key

    def _answered(self, capture: Capture, body: dict[str, Any] | None) -> None:
        if body is None:
            self._watcher.answered(capture.key, None)
            return
        answer = summary(body, capture.face_xyxy)
        self._watcher.answered(capture.key, outcome_of(answer))
        self._console.said(capture.captured_at, answer, self._spool.n_waiting)
        if self._forwarder is not None:
            self._forwarder.post(
                {"captured_at": capture.captured_at.isoformat(), **age_of(capture), **without_name(answer)}
            )


def age_of(capture: Capture) -> dict[str, Any]:
    """How long ago the visitor was there, and whether that is too long to open a door for them."""
    now = read_clocks()
    age_s = ((device_time(capture, now) or now.wall) - capture.captured_at).total_seconds()
    return {"age_s": round(age_s, 1), "is_late": age_s > _LATE_S}


def capture_of(view: View, direction: str | None) -> Capture:
    """What is sent of a view, under a key of its own."""
    picture = view.picture
    jpeg = to_jpeg(picture.image)
    return Capture(str(uuid4()), picture.captured_at, view.stamp, direction, picture.face_xyxy, jpeg)


def rehearse(source: Source, looking: Looking, console: Console, stop: Event, save_dir: Path | None) -> None:
    """`--dry-run`: look and tell what would be sent; keep the pictures only where a folder is named for them."""
    numbers = count(1)
    say = _rehearsed(looking, console, save_dir, lambda: next(numbers))

    def min_face_px(frame_height: int) -> int:
        return looking.min_face_px or smallest_face_px(frame_height)

    Watcher(Watching(FaceFinder, min_face_px, say, looking.on_frame)).run(source, stop)


def _rehearsed(
    looking: Looking, console: Console, save_dir: Path | None, number: Callable[[], int]
) -> Callable[[View], None]:
    def say(view: View) -> None:
        capture, index = capture_of(view, looking.direction), number()
        x1, y1, x2, y2 = capture.face_xyxy
        console.tell(
            "would_send",
            f"{capture.captured_at.astimezone():%H:%M:%S} would send a face of {x2 - x1:.0f} x {y2 - y1:.0f} px, "
            f"{len(capture.jpeg)} bytes (worth {view.worth:.2f}{', good' if view.is_good else ''})",
            captured_at=capture.captured_at.isoformat(),
            bytes=len(capture.jpeg),
        )
        if save_dir is not None:
            save_dir.mkdir(parents=True, exist_ok=True)
            (save_dir / f"{index:04d}.jpg").write_bytes(capture.jpeg)

    return say

"""Frames in, captures out: the loop that all parts of looking meet in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event
from typing import Final, Protocol

from app.camera.finder import Found, boxes_of
from app.camera.motion import MotionGate
from app.camera.pictures import cut_out
from app.camera.source import Frame, Source
from app.camera.tracks import FaceTracks
from app.camera.visits import View, Visit
from ml.types import Outcome, RgbImage

# Faces are looked for so often at most; people do not move so fast that more would show anything new.
_LOOKS_PER_S: Final = 10.0
# Frames do not come on the dot: of 12.5 a second each is looked at, of 25 every other.
_EARLY_SHARE: Final = 0.75
# Whoever stands quite still is still there, and not a new visitor when they move; a poster costs no more than this.
_STILL_S: Final = 0.4


class Finder(Protocol):
    """Finds faces of `min_face_px` and up; see `app.camera.finder.FaceFinder`."""

    min_face_px: int

    def find(self, image: RgbImage) -> list[Found]:
        """The faces of a frame."""


HandOver = Callable[[View], str | None]
"""Takes a picture to be sent; answers its key, or None where nobody will say anything about it."""

OnFrame = Callable[[RgbImage, Sequence[Found]], None]
"""Shown each frame that was looked at, with the faces in it."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What a watcher works with. `min_face_px` says how small a face may be in a frame this many pixels high.

    It may change while the watcher runs: the service decides it for each camera.
    """

    make_finder: Callable[[int], Finder]
    min_face_px: Callable[[int], int]
    hand_over: HandOver
    on_frame: OnFrame | None = None


class Watcher:
    """Follows visitors and hands over the best picture of each."""

    def __init__(self, parts: Watching) -> None:
        self._parts = parts
        self._finder: Finder | None = None
        self._gate = MotionGate()
        self._tracks = FaceTracks()
        self._visits: dict[int, Visit] = {}
        self._awaited: dict[str, int] = {}  # by key, the numbers of visitors in sight
        self._heard: SimpleQueue[tuple[str, Outcome | None]] = SimpleQueue()
        self._next_look_s = float("-inf")

    def answered(self, key: str, outcome: Outcome | None) -> None:
        """What the service said of a picture handed over; may be called from any thread."""
        self._heard.put((key, outcome))

    def run(self, source: Source, stop: Event) -> None:
        """Watch until the source ends or `stop` is set; whoever is in sight then is handed over too."""
        last_s = 0.0
        for frame in source.frames(stop):
            self._hear()
            self._watch(frame)
            last_s = frame.time_s
        for number in self._tracks.end():
            self._leave(number, last_s)

    def _watch(self, frame: Frame) -> None:
        is_open = self._gate.is_open(frame.time_s, frame.image)
        if frame.time_s < self._next_look_s:
            return
        self._next_look_s = frame.time_s + (_EARLY_SHARE / _LOOKS_PER_S if is_open else _STILL_S)
        min_face_px = self._parts.min_face_px(frame.image.shape[0])
        found = self._finder_for(min_face_px).find(frame.image) if is_open or self._visits else []
        numbers, gone = self._tracks.add(frame.time_s, boxes_of(found))
        for number, index in zip(numbers, range(len(found)), strict=True):
            self._see(number, frame, found, index)
        for number in gone:
            self._leave(number, frame.time_s)
        if self._parts.on_frame is not None:
            self._parts.on_frame(frame.image, found)

    def _finder_for(self, min_face_px: int) -> Finder:
        if self._finder is None or self._finder.min_face_px != min_face_px:
            self._finder = self._parts.make_finder(min_face_px)
        return self._finder

    def _see(self, number: int, frame: Frame, found: Sequence[Found], index: int) -> None:
        visit, one = self._visits.setdefault(number, Visit()), found[index]
        visit.look()
        if one.is_large and visit.wants(one.worth):
            others = [other.face.box_xyxy for other in found if other is not one]
            picture = cut_out(frame.image, frame.captured_at, one.face.box_xyxy, others)
            visit.offer(View(frame.time_s, frame.stamp, picture, one.worth, one.is_good))
        self._send(number, visit.due(frame.time_s, is_gone=False))

    def _leave(self, number: int, time_s: float) -> None:
        """Send what is left to send; what is said of it later changes nothing any more."""
        self._send(number, self._visits[number].due(time_s, is_gone=True))
        del self._visits[number]
        self._awaited = {key: other for key, other in self._awaited.items() if other != number}

    def _send(self, number: int, view: View | None) -> None:
        if view is None:
            return
        key = self._parts.hand_over(view)
        if key is None:
            self._visits[number].answered(None)
        else:
            self._awaited[key] = number

    def _hear(self) -> None:
        try:
            while True:
                key, outcome = self._heard.get_nowait()
                if (number := self._awaited.pop(key, None)) is not None:
                    self._visits[number].answered(outcome)
        except Empty:
            return

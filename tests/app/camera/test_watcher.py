"""From frames to captures: real pictures, the real detector, a film whose people are known."""

import gc
from collections.abc import Iterator, Sequence
from datetime import timedelta
from threading import Event

import cv2
import numpy as np
import pytest

from app.camera.clock import read_clocks
from app.camera.finder import FaceFinder, Found
from app.camera.source import Frame
from app.camera.visits import View, Visit
from app.camera.watcher import Watcher, Watching
from ml.types import FloatArray, Outcome, RgbImage
from tests.app.camera.factories import MORNING
from tests.ml.faces import astronaut, grace_hopper

HEIGHT, WIDTH, FPS = 360, 640, 10.0
EILEEN: RgbImage = np.asarray(cv2.resize(astronaut()[0:300, 90:390], (200, 200)), dtype=np.uint8)
GRACE: RgbImage = np.asarray(cv2.resize(grace_hopper()[30:430, 60:460], (200, 200)), dtype=np.uint8)


class Film:
    """A source of frames made here."""

    is_live = False

    def __init__(self, images: Sequence[RgbImage]) -> None:
        self._images = images

    def frames(self, stop: Event) -> Iterator[Frame]:
        for number, image in enumerate(self._images):
            if stop.is_set():
                return
            yield Frame(number / FPS, MORNING + timedelta(seconds=number / FPS), read_clocks(), image)


class Desk:
    """Takes what a watcher hands over, and answers at once."""

    def __init__(self, outcome: Outcome | None = Outcome.IDENTIFIED) -> None:
        self.views: list[View] = []
        self._outcome = outcome
        self.watcher = Watcher(Watching(FaceFinder, lambda _: 40, self._take))

    def watch(self, images: Sequence[RgbImage]) -> list[View]:
        self.watcher.run(Film(images), Event())
        return self.views

    def _take(self, view: View) -> str:
        self.views.append(view)
        key = str(len(self.views))
        self.watcher.answered(key, self._outcome)
        return key


def make_scene(*placed: tuple[RgbImage, int]) -> RgbImage:
    """People in front of a grey wall, each at so many px from the left."""
    scene = np.full((HEIGHT, WIDTH, 3), 120, dtype=np.uint8)
    for person, x in placed:
        scene[80:280, x : x + 200] = person
    return scene


def face_middle(view: View) -> tuple[float, float]:
    x1, y1, x2, y2 = view.picture.face_xyxy
    return (x1 + x2) / 2, (y1 + y2) / 2


def test_an_empty_wall_gives_nothing() -> None:
    assert Desk().watch([make_scene()] * 40) == []


def test_somebody_who_comes_looks_and_goes_is_sent_once_with_the_time_of_the_frame() -> None:
    wall, there = [make_scene()] * 15, [make_scene((EILEEN, 200))] * 30
    views = Desk().watch([*wall, *there, *wall])
    assert len(views) == 1
    assert MORNING + timedelta(seconds=1.5) <= views[0].picture.captured_at <= MORNING + timedelta(seconds=4.5)


def test_the_sharp_frame_is_sent_and_not_the_blurred_ones() -> None:
    blurred = np.asarray(cv2.GaussianBlur(EILEEN, (0, 0), 3), dtype=np.uint8)
    walk = [make_scene((blurred, 200 + step)) for step in range(12)]
    walk[7] = make_scene((EILEEN, 207))
    views = Desk().watch([make_scene(), *walk])
    assert [view.time_s for view in views] == [0.8]


def test_two_people_side_by_side_are_two_captures_with_one_face_each() -> None:
    finder = FaceFinder(40)
    views = Desk().watch([make_scene((EILEEN, 120), (GRACE, 320))] * 30)
    assert len(views) == 2
    for view in views:
        faces = finder.find(view.picture.image)
        assert len(faces) == 1
        middle = (faces[0].face.box_xyxy[:2] + faces[0].face.box_xyxy[2:]) / 2
        np.testing.assert_allclose(middle, face_middle(view), atol=12)


def test_whoever_is_in_sight_at_the_end_is_sent() -> None:
    assert len(Desk().watch([make_scene((EILEEN, 200))] * 4)) == 1


def test_an_unknown_visitor_who_only_stands_there_is_not_sent_again() -> None:
    assert len(Desk(Outcome.UNKNOWN).watch([make_scene((EILEEN, 200))] * 60)) == 1


def test_whoever_stands_quite_still_and_then_moves_is_no_new_visitor() -> None:
    """Nothing moves for so long that the gate is closed, but the face is still there."""
    standing = [make_scene((EILEEN, 200))] * 120
    swaying = [make_scene((EILEEN, 200 + 3 * (step % 2))) for step in range(20)]
    assert len(Desk(Outcome.UNKNOWN).watch([*standing, *swaying])) == 1


class Blind:
    """A finder that sees what it was told, frame by frame."""

    def __init__(self, min_face_px: int, seen: Sequence[FloatArray]) -> None:
        self.min_face_px = min_face_px
        self._seen = iter(seen)

    def find(self, image: RgbImage) -> list[Found]:
        return []


def test_the_finder_is_changed_with_the_policy_of_the_camera() -> None:
    sizes = iter([40, 40, 24, 24])
    made: list[int] = []

    def make_finder(min_face_px: int) -> Blind:
        made.append(min_face_px)
        return Blind(min_face_px, [])

    watcher = Watcher(Watching(make_finder, lambda _: next(sizes), lambda view: None))
    watcher.run(Film([make_scene((EILEEN, 50 * step)) for step in range(4)]), Event())
    assert made == [40, 24]


@pytest.mark.parametrize("fps", [12.5, 25.0, 60.0])
def test_faces_are_looked_for_no_more_often_than_they_need(fps: float) -> None:
    looked: list[float] = []

    class Counting(Blind):
        def find(self, image: RgbImage) -> list[Found]:
            looked.append(1)
            return []

    class Faster(Film):
        def frames(self, stop: Event) -> Iterator[Frame]:
            for number, image in enumerate(self._images):
                yield Frame(number / fps, MORNING, read_clocks(), image)

    n_frames = int(4 * fps)
    watcher = Watcher(Watching(lambda px: Counting(px, []), lambda _: 40, lambda view: None))
    watcher.run(Faster([make_scene((EILEEN, step % 400)) for step in range(n_frames)]), Event())
    assert 4 * 8 <= len(looked) <= 4 * 13.4


def visits_and_views() -> list[object]:
    return [each for each in gc.get_objects() if type(each) in (Visit, View)]


def test_no_picture_is_kept_of_visitors_who_left_without_any_answer() -> None:
    keys: list[str] = []
    before = {id(each): each for each in visits_and_views()}

    def take(view: View) -> str:
        keys.append(str(len(keys)))
        return keys[-1]

    person, wall = [make_scene((EILEEN, 200))] * 25, [make_scene()] * 15
    watcher = Watcher(Watching(FaceFinder, lambda _: 40, take))
    watcher.run(Film([*person, *wall] * 3), Event())
    assert len(keys) == 3
    assert all(id(each) in before for each in visits_and_views())

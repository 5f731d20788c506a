"""Where frames come from, films and cameras."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import cv2
import numpy as np
import pytest
from cv2.typing import MatLike

from app.camera.console import Console
from app.camera.source import FilmSource, LiveSource, Patience, SourceError, open_source, without_secrets
from tests.app.camera.factories import MORNING
from tests.app.camera.motion_jpeg import MotionJpeg
from tests.ml.videos import make_clip, make_frame
from tests.ports import free_port

QUICK = Patience(first_pause_s=0.01, stuck_s=0.3)


def quiet() -> Console:
    return Console(StringIO(), is_json=False)


def test_every_frame_of_a_film_comes_at_its_time(tmp_path: Path) -> None:
    film = FilmSource(make_clip(tmp_path / "a.mp4", frames=12, fps=10), MORNING, False)
    frames = list(film.frames(Event()))
    assert [frame.time_s for frame in frames] == pytest.approx([number / 10 for number in range(12)])
    assert frames[5].captured_at == MORNING + timedelta(seconds=0.5)


def test_a_film_of_which_nobody_says_when_it_began_has_just_ended(tmp_path: Path) -> None:
    frames = list(FilmSource(make_clip(tmp_path / "a.mp4", frames=30, fps=10), None, False).frames(Event()))
    assert frames[-1].captured_at <= datetime.now(UTC)
    assert datetime.now(UTC) - frames[0].captured_at < timedelta(seconds=30)


def test_in_real_time_a_film_takes_as_long_as_it_is(tmp_path: Path) -> None:
    film, begun_s = FilmSource(make_clip(tmp_path / "a.mp4", frames=6, fps=10), None, True), monotonic()
    assert len(list(film.frames(Event()))) == 6
    assert monotonic() - begun_s >= 0.5


def test_a_stop_ends_a_film(tmp_path: Path) -> None:
    stop, seen = Event(), 0
    for _ in FilmSource(make_clip(tmp_path / "a.mp4", frames=12), MORNING, False).frames(stop):
        seen += 1
        stop.set()
    assert seen == 1


@pytest.mark.parametrize("name", ["0", "/dev/video9", "rtsp://u:p@10.0.0.9/1", "http://10.0.0.9/video"])
def test_numbers_devices_and_addresses_are_cameras(name: str) -> None:
    assert open_source(name, quiet(), started_at=None, is_realtime=False).is_live
    with pytest.raises(SourceError, match="are for films"):
        open_source(name, quiet(), started_at=MORNING, is_realtime=False)


def test_a_film_that_is_not_there_is_told_with_what_there_could_be(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file; a camera is rtsp"):
        open_source(str(tmp_path / "none.mp4"), quiet(), started_at=None, is_realtime=False)


def test_the_password_of_a_camera_is_not_shown() -> None:
    for address, shown in [
        ("rtsp://admin:p%40ss@10.0.0.9:554/1", "rtsp://10.0.0.9:554"),
        ("rtsp://admin:p@ss@10.0.0.9/1", "rtsp://10.0.0.9"),
        ("rtsp://admin:pa/ss@10.0.0.9/1", "rtsp://…"),
        ("rtsp://admin:p@s/s@10.0.0.9/1", "rtsp://…"),
        ("rtsp://admin:p?ss@10.0.0.9/1", "rtsp://…"),
        ("http://10.0.0.9/video?user=admin&pwd=secret", "http://10.0.0.9"),
        ("http://10.0.0.9?pwd=secret", "http://10.0.0.9"),
        ("/dev/video0", "/dev/video0"),
    ]:
        assert without_secrets(address) == shown


def test_a_camera_that_hangs_up_is_called_again_for_ever_and_its_password_stays_secret() -> None:
    camera, out, stop = MotionJpeg(n_frames=60), StringIO(), Event()
    source = LiveSource(camera.url, Console(out, is_json=False), QUICK)
    frames = []
    for frame in source.frames(stop):
        frames.append(frame)
        if camera.n_connections >= 3:
            stop.set()
    camera.close()
    assert frames[0].image.shape == (96, 128, 3)
    assert np.all(np.diff([frame.time_s for frame in frames]) >= 0)
    assert "no picture from http://127.0.0.1" in out.getvalue() and "secret" not in out.getvalue()


def test_a_camera_that_is_not_there_is_told_and_a_stop_ends_the_waiting() -> None:
    out, stop = StringIO(), Event()
    source = LiveSource(f"http://127.0.0.1:{free_port()}/video", Console(out, is_json=False), QUICK)
    Thread(target=lambda: (stop.wait(1.0), stop.set()), daemon=True).start()
    assert list(source.frames(stop)) == []
    assert "no picture from" in out.getvalue()


class Bad:
    """What OpenCV gives for a camera whose driver misbehaves: each connection does the next of these things."""

    def __init__(self, *ways: str) -> None:
        self._ways = [*ways]
        self.n_connections = 0
        self.end = Event()

    def connect(self, _name: str) -> "Bad":
        self.n_connections += 1
        return self

    def read(self) -> tuple[bool, MatLike | None]:
        way = self._ways.pop(0) if self._ways else "picture"
        if way == "raises":
            raise cv2.error("no memory")
        if way == "hangs":
            self.end.wait()
        return True, make_frame(1) if way == "picture" else None

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("way", "told"), [("raises", "no picture from"), ("nothing", "no picture from"), ("hangs", "hangs: connecting")]
)
def test_whatever_a_driver_does_it_is_told_and_the_camera_called_again(way: str, told: str) -> None:
    camera, out = Bad("picture", way), StringIO()
    frames = LiveSource("0", Console(out, is_json=False), QUICK, camera.connect).frames(Event())
    assert next(frames).image.shape == (96, 128, 3)
    while camera.n_connections < 2:
        next(frames)
    assert next(frames).image.shape == (96, 128, 3)
    frames.close()
    camera.end.set()
    assert told in out.getvalue()

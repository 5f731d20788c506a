"""The client shows what its camera sees to whoever asks, against a service that speaks the contract."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from time import sleep

import numpy as np
import pytest

from app.camera.client import Client, Looking, Server
from app.camera.clock import read_clocks
from app.camera.console import Console
from app.camera.source import Frame
from ml.image import decode_image
from tests.app.camera.service import FakeService, running_service


class Wall:
    """A camera that shows a wall of one colour, ten frames a second; without `is_on`, nothing."""

    is_live = True

    def __init__(self, *, is_on: bool = True, height: int = 270) -> None:
        self._is_on, self._height = is_on, height

    def frames(self, stop: Event) -> Iterator[Frame]:
        while not stop.wait(0.1):
            stamp, image = read_clocks(), np.full((self._height, 480, 3), (200, 30, 30), np.uint8)
            if self._is_on:
                yield Frame(stamp.up_s, stamp.wall, stamp, image)


@pytest.fixture
def service() -> Iterator[FakeService]:
    with running_service() as service:
        yield service


@contextmanager
def watching(service: FakeService, spool: Path, wall: Wall, *, shows_snapshots: bool = True) -> Iterator[None]:
    server = Server(service.url, ["key"], spool, 1_000_000, snapshots_every_s=0.05)
    client = Client(server, Looking(shows_snapshots=shows_snapshots), Console(StringIO(), is_json=False))
    stop = Event()
    thread = Thread(target=client.run, args=(wall, stop, 0.0))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_the_newest_frame_is_sent_whole_to_whoever_wants_it(service: FakeService, tmp_path: Path) -> None:
    service.beat_extra = {"snapshot": None}
    with watching(service, tmp_path, Wall()):
        while service.n_asked < 10:  # by then the camera has shown something
            sleep(0.05)
        service.wanted = {"id": "snp_1"}
        sent = service.wait_for_snapshot()
    image = decode_image(sent.image)
    assert image.shape == (270, 480, 3)
    assert np.abs(image.mean(axis=(0, 1)) - (200, 30, 30)).max() < 4
    assert (sent.fields, sent.api_key) == ({"min_face_px": "19"}, "key")
    assert not service.tries


def test_a_camera_without_a_picture_says_so(service: FakeService, tmp_path: Path) -> None:
    service.beat_extra, service.wanted = {"snapshot": None}, {"id": "snp_1"}
    with watching(service, tmp_path, Wall(is_on=False)):
        sent = service.wait_for_snapshot()
    assert (sent.fields, sent.image) == ({"trouble": "no_picture"}, b"")


@pytest.mark.parametrize("beat_extra", [{}, {"snapshot": None}])
def test_a_service_that_knows_nothing_of_it_or_a_client_that_may_not_is_never_asked(
    service: FakeService, tmp_path: Path, beat_extra: dict[str, None]
) -> None:
    service.beat_extra, service.wanted = beat_extra, {"id": "snp_1"}
    with watching(service, tmp_path, Wall(), shows_snapshots=not beat_extra):
        sleep(0.5)
    assert (service.n_asked, service.snapshots) == (0, [])


def test_whatever_goes_wrong_the_next_wish_is_answered(service: FakeService, tmp_path: Path) -> None:
    service.beat_extra = {"snapshot": None}
    with watching(service, tmp_path, Wall()):
        while not service.n_asked:
            sleep(0.05)
        service.stop()
        sleep(0.3)
        service.start()
        service.wanted = {"id": "snp_2"}
        assert service.wait_for_snapshot().image

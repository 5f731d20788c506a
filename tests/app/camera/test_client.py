"""The whole client against a service that speaks the contract, with people walking through a film."""

from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from threading import Event

import pytest

from app.camera.client import Client, Looking, Server, age_of, rehearse
from app.camera.clock import read_clocks
from app.camera.console import Console
from app.camera.sender import Pauses
from app.camera.source import FilmSource
from ml.image import decode_image
from tests.app import clips
from tests.app.camera.factories import MORNING, make_capture
from tests.app.camera.listener import listening
from tests.app.camera.service import FakeService, make_face, running_service

QUICK = Pauses(first_s=0.05, longest_s=0.2, mend_s=0.1)


@pytest.fixture
def service() -> Iterator[FakeService]:
    with running_service() as service:
        yield service


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> FilmSource:
    """Two people side by side for two seconds."""
    return FilmSource(clips.both(tmp_path_factory.mktemp("film") / "both.mp4"), MORNING, False)


def make_server(url: str, spool: Path, *, max_bytes: int = 10_000_000, webhook_url: str | None = None) -> Server:
    return Server(url, ["key"], spool, max_bytes, webhook_url, QUICK)


def run(
    server: Server, source: FilmSource | None, *, wait_s: float = 20.0, stop: Event | None = None
) -> tuple[bool, str]:
    out = StringIO()
    is_done = Client(server, Looking(direction="in"), Console(out, is_json=False)).run(source, stop or Event(), wait_s)
    return is_done, out.getvalue()


def test_each_visitor_of_a_film_is_delivered_once(service: FakeService, tmp_path: Path, film: FilmSource) -> None:
    is_done, said = run(make_server(service.url, tmp_path), film)
    assert is_done and len(service.recorded) == 2
    assert said.count("IN E1") == 2
    assert all(request.fields["captured_at"].startswith("2026-03-02T08:59:1") for request in service.tries)
    assert service.beats and "device_time" in service.beats[0]
    assert not list(tmp_path.glob("*.capture"))


def test_what_a_service_that_is_away_did_not_get_is_delivered_by_the_next_run(
    service: FakeService, tmp_path: Path, film: FilmSource
) -> None:
    service.stop()
    is_done, said = run(make_server(service.url, tmp_path), film, wait_s=0.2)
    assert not is_done and "2 captures wait in" in said and not service.recorded
    service.start()
    is_done, said = run(make_server(service.url, tmp_path), None)
    assert is_done and "2 captures wait from before" in said
    assert len(service.recorded) == 2
    assert all(request.fields["captured_at"].startswith("2026-03-02T08:59:1") for request in service.tries)


def test_a_full_spool_keeps_the_oldest_and_says_so(service: FakeService, tmp_path: Path, film: FilmSource) -> None:
    service.stop()
    _, said = run(make_server(service.url, tmp_path, max_bytes=20_000), film, wait_s=0.0)
    n_kept = len(list(tmp_path.glob("*.capture")))
    assert n_kept < 2 and f"spool full: {n_kept} captures wait, newest dropped" in said


def test_captures_of_an_earlier_key_are_told_of_and_delivered_once_it_is_given(
    service: FakeService, tmp_path: Path, film: FilmSource
) -> None:
    service.stop()
    run(make_server(service.url, tmp_path), film, wait_s=0.0)
    service.start()
    other = Server(service.url, ["new key"], tmp_path, 10_000_000, None, QUICK)
    _, said = run(other, None)
    assert "sealed with another key" in said and "--old-key" in said and not service.recorded
    run(Server(service.url, ["new key", "key"], tmp_path, 10_000_000, None, QUICK), None)
    assert len(service.recorded) == 2
    assert {request.api_key for request in service.tries} == {"new key"}


def test_the_smallest_face_is_what_the_policy_of_the_camera_says_and_said_last(
    service: FakeService, tmp_path: Path, film: FilmSource
) -> None:
    service.policy = {"min_face_px": 400}
    client = Client(make_server(service.url, tmp_path), Looking(), Console(StringIO(), is_json=False))
    client.run(None, Event(), 0.0)
    assert service.beats
    assert client.min_face_px(1080) == 400
    service.stop()
    again = Client(make_server(service.url, tmp_path), Looking(), Console(StringIO(), is_json=False))
    again.run(None, Event(), 0.0)
    assert again.min_face_px(1080) == 400


@pytest.mark.parametrize("policy", [{}, {"min_face_px": None}, {"min_face_px": "40"}, {"min_face_px": True}])
def test_without_a_policy_the_smallest_face_is_what_the_height_of_the_picture_suggests(
    service: FakeService, tmp_path: Path, policy: dict[str, object]
) -> None:
    service.policy = policy
    (tmp_path / "policy.json").write_text("{")
    client = Client(make_server(service.url, tmp_path), Looking(), Console(StringIO(), is_json=False))
    client.run(None, Event(), 0.0)
    assert [client.min_face_px(height) for height in (120, 270, 480, 720, 2160)] == [18, 19, 34, 40, 40]


def test_answers_are_passed_on_without_names(service: FakeService, tmp_path: Path, film: FilmSource) -> None:
    with listening() as listener:
        run(make_server(service.url, tmp_path, webhook_url=listener.url), film)
        assert [body["employee_code"] for body in listener.bodies] == ["E1", "E1"]
        assert all("name" not in body for body in listener.bodies)
        assert all(body["is_late"] and body["age_s"] > 86_400 for body in listener.bodies)


def test_an_answer_that_comes_in_time_is_not_late() -> None:
    at_once = make_capture(captured_at=read_clocks().wall)
    assert age_of(at_once)["is_late"] is False and 0.0 <= age_of(at_once)["age_s"] < 5.0
    stamp = read_clocks()
    waited = replace(stamp, up_s=stamp.up_s - 20.0)
    assert age_of(make_capture(captured_at=waited.wall, stamp=waited)) == {"age_s": 20.0, "is_late": True}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://[no address"])
def test_a_webhook_that_nobody_answers_holds_nothing_up(
    service: FakeService, tmp_path: Path, film: FilmSource, url: str
) -> None:
    is_done, _ = run(make_server(service.url, tmp_path, webhook_url=url), film)
    assert is_done and len(service.recorded) == 2


def test_strangers_are_sent_once_each_while_they_only_stand_there(
    service: FakeService, tmp_path: Path, film: FilmSource
) -> None:
    service.faces = [make_face(outcome="unknown", person=None)]
    _, said = run(make_server(service.url, tmp_path), film)
    assert len(service.recorded) == 2 and said.count("unknown visitor") == 2


def test_a_stop_ends_the_run_at_once_and_counts_as_success(
    service: FakeService, tmp_path: Path, film: FilmSource
) -> None:
    stop = Event()
    stop.set()
    assert run(make_server(service.url, tmp_path), film, stop=stop) == (True, "")


def test_a_rehearsal_tells_and_saves_what_it_would_send(tmp_path: Path, film: FilmSource) -> None:
    out = StringIO()
    rehearse(film, Looking(), Console(out, is_json=False), Event(), tmp_path / "saved")
    saved = sorted((tmp_path / "saved").iterdir())
    assert [path.name for path in saved] == ["0001.jpg", "0002.jpg"]
    assert out.getvalue().count("would send a face of") == 2
    assert min(decode_image(saved[0].read_bytes()).shape[:2]) > 100

"""Deliveries to a service that is away, busy, wrong, or answers twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from app.camera.captures import Capture
from app.camera.clock import read_clocks
from app.camera.console import Console
from app.camera.sender import Fate, Pauses, Sender, deliver, judged
from app.camera.spool import Spool
from tests.app.camera.factories import MORNING, make_capture, make_stamp
from tests.app.camera.service import FakeService, Misbehaviour, running_service

QUICK = Pauses(first_s=0.01, longest_s=0.1, mend_s=0.05, behind_s=0.5)
AT_ONCE = {"Retry-After": "0"}


class Bench:
    """A sender at work, what it was answered and what it said."""

    def __init__(self, url: str, folder: Path) -> None:
        self.out = StringIO()
        self.spool = Spool(folder, ["key"], 10_000_000)
        self.answers: list[tuple[str, dict[str, Any] | None]] = []
        self.fails_with: Exception | None = None
        self.http = httpx.Client(base_url=url, headers={"X-API-Key": "key"}, trust_env=False)
        console = Console(self.out, is_json=False)
        self.sender = Sender(self.http, self.spool, console, self._answered, QUICK)

    def put(self, n: int) -> list[Capture]:
        captures = [make_capture(captured_at=MORNING + timedelta(minutes=number)) for number in range(n)]
        for capture in captures:
            self.spool.put(capture)
        return captures

    def deliver(self) -> None:
        assert self.spool.wait_until_empty(Event(), 20.0), self.out.getvalue()

    def _answered(self, capture: Capture, body: dict[str, Any] | None) -> None:
        self.answers.append((capture.key, body))
        if self.fails_with is not None:
            raise self.fails_with


@contextmanager
def bench(url: str, folder: Path) -> Iterator[Bench]:
    made = Bench(url, folder)
    try:
        yield made
    finally:
        made.sender.stop()
        made.http.close()
        made.spool.close()


@pytest.fixture
def service() -> Iterator[FakeService]:
    with running_service() as service:
        yield service


def test_captures_arrive_in_order_with_their_own_times_and_keys(service: FakeService, tmp_path: Path) -> None:
    with bench(service.url, tmp_path) as at:
        captures = at.put(5)
        at.sender.start()
        at.deliver()
    assert list(service.recorded) == [capture.key for capture in captures]
    for capture in captures:
        request = service.recorded[capture.key]
        assert datetime.fromisoformat(request.fields["captured_at"]) == capture.captured_at
        assert request.fields["direction"] == "in" and request.image == capture.jpeg and request.api_key == "key"
        told = datetime.fromisoformat(request.device_time or "")
        assert abs(told - read_clocks().wall) < timedelta(seconds=60)
    assert [key for key, _ in at.answers] == [capture.key for capture in captures]


@pytest.mark.parametrize(
    "wrong",
    [
        Misbehaviour(0),
        Misbehaviour(0, is_recorded=True),
        Misbehaviour(500),
        Misbehaviour(503, "not_ready", AT_ONCE),
        Misbehaviour(429, "overloaded", AT_ONCE),
        Misbehaviour(409, "idempotency_in_progress", AT_ONCE),
        Misbehaviour(401, "key_invalid"),
        Misbehaviour(403, "scope_missing"),
        Misbehaviour(404, "not_found"),
        Misbehaviour(422, html=True),
        Misbehaviour(200, html=True),
        Misbehaviour(302, headers={"Location": "http://127.0.0.1:9/login"}),
    ],
    ids=lambda wrong: f"{wrong.status} {wrong.code} {wrong.is_recorded} {wrong.html}",
)
def test_what_may_pass_is_tried_again_and_nothing_overtakes(
    service: FakeService, tmp_path: Path, wrong: Misbehaviour
) -> None:
    service.next.extend([wrong] * 3)
    with bench(service.url, tmp_path) as at:
        captures = at.put(3)
        at.sender.start()
        at.deliver()
    assert [request.key for request in service.tries] == [captures[0].key] * 4 + [each.key for each in captures[1:]]
    assert list(service.recorded) == [capture.key for capture in captures]
    assert not (tmp_path / "refused").exists()


def test_a_retry_is_the_same_request(service: FakeService, tmp_path: Path) -> None:
    """The same key with another body would be refused."""
    service.next.extend([Misbehaviour(0, is_recorded=True), Misbehaviour(503, "not_ready", AT_ONCE)])
    with bench(service.url, tmp_path) as at:
        at.put(1)
        at.sender.start()
        at.deliver()
    assert len(service.tries) == 3
    assert all(
        (request.key, request.fields, request.image)
        == (service.tries[0].key, service.tries[0].fields, service.tries[0].image)
        for request in service.tries
    )


def test_an_answer_that_is_gone_counts_as_delivered(service: FakeService, tmp_path: Path) -> None:
    service.next.append(Misbehaviour(409, "capture_recorded", is_recorded=True))
    with bench(service.url, tmp_path) as at:
        capture = at.put(1)[0]
        at.sender.start()
        at.deliver()
    assert at.answers == [(capture.key, None)]
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("code", ["captured_at_too_old", "image_invalid"])
def test_what_will_never_be_accepted_is_moved_aside_and_told(service: FakeService, tmp_path: Path, code: str) -> None:
    service.next.append(Misbehaviour(422, code))
    with bench(service.url, tmp_path) as at:
        captures = at.put(2)
        at.sender.start()
        at.deliver()
    assert [path.name[13:49] for path in (tmp_path / "refused").iterdir()] == [captures[0].key]
    assert list(service.recorded) == [captures[1].key]
    assert code in at.out.getvalue()


def test_a_key_that_is_not_accepted_is_told_and_nothing_is_lost(service: FakeService, tmp_path: Path) -> None:
    service.next.extend([Misbehaviour(401, "key_invalid")] * 3)
    with bench(service.url, tmp_path) as at:
        at.put(1)
        at.sender.start()
        at.deliver()
    assert at.out.getvalue().count("does not accept the key (401 key_invalid): check --key") == 1
    assert "the server answers" in at.out.getvalue()


def test_captures_wait_for_a_service_that_comes_up_later(tmp_path: Path) -> None:
    service = FakeService()
    with bench(service.url, tmp_path) as at:
        captures = at.put(3)
        at.sender.start()
        assert not at.spool.wait_until_empty(Event(), 0.3)
        service.start()
        at.deliver()
    service.stop()
    assert list(service.recorded) == [capture.key for capture in captures]
    assert "server away (ConnectError)" in at.out.getvalue()


def test_a_stop_leaves_what_waits_to_the_next_run(service: FakeService, tmp_path: Path) -> None:
    service.next.extend([Misbehaviour(500)] * 10_000)
    with bench(service.url, tmp_path) as at:
        captures = at.put(3)
        at.sender.start()
        service.wait_for(2, tries=True)
    service.next.clear()
    with bench(service.url, tmp_path) as again:
        assert again.spool.n_waiting == 3
        again.sender.start()
        again.deliver()
    assert list(service.recorded) == [capture.key for capture in captures]


def test_after_a_restart_of_the_device_its_clock_is_left_to_the_heartbeats(
    service: FakeService, tmp_path: Path
) -> None:
    with bench(service.url, tmp_path) as at:
        at.spool.put(make_capture(stamp=make_stamp(boot_id="an earlier one"), direction=None))
        at.sender.start()
        at.deliver()
    request = service.tries[0]
    assert request.device_time is None and "direction" not in request.fields


@pytest.mark.parametrize(
    ("after", "expected_s"), [("7", 7.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("-1", None)]
)
def test_when_to_come_back_is_read_as_http_has_it(after: str, expected_s: float | None) -> None:
    tried = judged(httpx.Response(503, headers={"Retry-After": after}))
    assert (tried.fate, tried.after_s) == (Fate.AGAIN, expected_s)


def test_while_the_disk_fails_captures_are_delivered_from_memory_and_each_once(
    service: FakeService, tmp_path: Path
) -> None:
    with bench(service.url, tmp_path / "spool") as at:
        (tmp_path / "spool").rename(tmp_path / "away")
        captures = at.put(2)
        at.sender.start()
        at.deliver()
    assert [request.key for request in service.tries] == [capture.key for capture in captures]
    assert "cannot be written (No such file or directory)" in at.out.getvalue()


def test_a_refused_capture_that_cannot_be_moved_aside_holds_nothing_up(service: FakeService, tmp_path: Path) -> None:
    """A file in place of the folder for what is refused."""
    service.next.append(Misbehaviour(422, "image_invalid"))
    (tmp_path / "refused").write_text("")
    with bench(service.url, tmp_path) as at:
        captures = at.put(2)
        at.sender.start()
        at.deliver()
    assert list(service.recorded) == [captures[1].key]
    assert "cannot be written" in at.out.getvalue()


def test_a_capture_that_the_service_fails_with_is_set_behind_the_others(service: FakeService, tmp_path: Path) -> None:
    service.next.extend([Misbehaviour(500, "internal_error")] * 5)
    with bench(service.url, tmp_path) as at:
        captures = at.put(3)
        at.sender.start()
        at.deliver()
    bad, *good = (capture.key for capture in captures)
    assert [request.key for request in service.tries] == [*[bad] * 5, *good, bad]
    assert list(service.recorded) == [*good, bad]
    assert at.out.getvalue().count("set behind the others") == 1


@pytest.mark.parametrize(("ahead", "is_refused"), [(timedelta(hours=1), False), (-timedelta(hours=25), True)])
def test_a_capture_from_the_future_waits_behind_the_others_until_that_cannot_be(
    service: FakeService, tmp_path: Path, ahead: timedelta, is_refused: bool
) -> None:
    service.next.append(Misbehaviour(422, "captured_at_in_future"))
    with bench(service.url, tmp_path) as at:
        early = make_capture(captured_at=read_clocks().wall + ahead)
        at.spool.put(early)
        (other,) = at.put(1)
        at.sender.start()
        at.deliver()
    assert list(service.recorded) == [other.key, *([] if is_refused else [early.key])]
    assert (tmp_path / "refused").exists() is is_refused


def test_whatever_goes_wrong_with_an_answer_the_next_captures_are_delivered(
    service: FakeService, tmp_path: Path
) -> None:
    with bench(service.url, tmp_path) as at:
        captures = at.put(3)
        at.fails_with = ValueError("unheard of")
        at.sender.start()
        at.deliver()
    assert list(service.recorded) == [capture.key for capture in captures]


@pytest.mark.parametrize(("width", "told"), [(30.0, "24"), (10.0, "18"), (49.0, "39"), (50.0, None), (200.0, None)])
def test_the_service_is_told_how_small_a_face_is_only_where_it_would_not_look_for_it(
    service: FakeService, tmp_path: Path, width: float, told: str | None
) -> None:
    capture = replace(make_capture(), face_xyxy=(10.0, 10.0, 10.0 + width, 10.0 + 1.3 * width))
    with httpx.Client(base_url=service.url) as http:
        deliver(http, capture)
    (request,) = service.tries
    assert request.fields.get("min_face_px") == told

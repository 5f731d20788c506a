"""Many cameras at once, over real sockets: all are served, or told to come back, and nobody who left is waited for."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from structlog.testing import capture_logs

from app.db.engine import Database
from app.db.tables import Person
from app.inference.batched import BatchedInference
from app.inference.port import Inference, Lane
from app.main import create_app
from app.settings import Settings
from tests.app import photos
from tests.app.factories import make_headers
from tests.app.inference.fakes import FakeRunner, HeldBatch, make_ask

WAIT_S = 60.0
MOST_WAITING = 2
N_CAMERAS = 32


@pytest.fixture
def backend() -> str:
    return "sqlite"


class Site:
    """A started service, and a key for it."""

    def __init__(self, app: FastAPI, port: int) -> None:
        self.database: Database = app.state.database
        self.port = port
        self.headers = make_headers(database=self.database, scope="operator")

    def client(self, **headers: str) -> httpx.Client:
        url = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=url, headers={**self.headers, **headers}, timeout=WAIT_S, trust_env=False)

    def head(self, path: str, *, key: bool = True, length: int = 100) -> bytes:
        secret = f"X-API-Key: {self.headers['X-API-Key']}\r\n" if key else ""
        kind = "Content-Type: multipart/form-data; boundary=b\r\n"
        return f"POST {path} HTTP/1.1\r\nHost: x\r\n{secret}{kind}Content-Length: {length}\r\n\r\n".encode()


@contextmanager
def served(app: FastAPI) -> Iterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the service did not start; its log says why"
            sleep(0.01)
        try:
            yield Site(app, int(listener.getsockname()[1]))
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def runner() -> FakeRunner:
    """Networks that see nobody, when they are told to."""
    return FakeRunner()


@pytest.fixture
def queue(runner: FakeRunner) -> Iterator[BatchedInference]:
    queue = BatchedInference(runner, most_waiting=MOST_WAITING)
    yield queue
    queue.close()


@pytest.fixture
def site(settings: Settings, queue: BatchedInference) -> Iterator[Site]:
    with served(create_app(settings, queue)) as site:
        yield site


@contextmanager
def full(queue: BatchedInference, runner: FakeRunner) -> Iterator[None]:
    """One ask runs and as many wait as may, until the block ends."""
    asked = [queue.submit(make_ask())]
    batches = [runner.begun()]
    asked += [queue.submit(make_ask()) for _ in range(MOST_WAITING)]
    try:
        yield
    finally:
        batches[0].may_end.set()
        while not all(each.done() for each in asked):
            let_one_go(runner)


def let_one_go(runner: FakeRunner) -> HeldBatch:
    batch = runner.begun()
    batch.may_end.set()
    sleep(0.01)
    return batch


def until(condition: Any) -> None:
    deadline = monotonic() + WAIT_S
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)


@pytest.mark.parametrize(("path", "names"), [("/v1/identify", ["image"]), ("/v1/compare", ["a", "b"])])
def test_who_would_wait_too_long_is_told_when_to_come_back(
    site: Site, queue: BatchedInference, runner: FakeRunner, path: str, names: list[str]
) -> None:
    with site.client() as client, full(queue, runner):
        answer = client.post(path, files={name: photos.nobody() for name in names})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (429, "overloaded")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "try again" in problem["detail"] and problem["request_id"] == answer.headers["X-Request-Id"]


def test_a_camera_is_refused_before_it_has_sent_its_picture_and_a_stranger_learns_nothing(
    site: Site, queue: BatchedInference, runner: FakeRunner
) -> None:
    with full(queue, runner):
        for has_key, status in ((True, b" 429 "), (False, b" 401 ")):
            with socket.create_connection(("127.0.0.1", site.port), timeout=WAIT_S) as connection:
                connection.sendall(site.head("/v1/identify", key=has_key))
                assert status in connection.recv(65536).splitlines()[0]


def test_a_refused_connection_can_be_used_again(site: Site, queue: BatchedInference, runner: FakeRunner) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=WAIT_S) as connection:
        with full(queue, runner):
            connection.sendall(site.head("/v1/identify", length=300_000) + bytes(300_000))
            assert b" 429 " in connection.recv(65536).splitlines()[0]
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in connection.recv(65536).splitlines()[0]


def test_those_who_are_turned_away_do_not_fill_the_log(site: Site, queue: BatchedInference, runner: FakeRunner) -> None:
    with site.client() as client, full(queue, runner), capture_logs() as logs:
        for _ in range(20):
            assert client.post("/v1/identify", files={"image": photos.nobody()}).status_code == 429
    said = [line["event"] for line in logs if line["log_level"] != "debug"]
    assert said == ["inference.refusing"]


def test_other_requests_are_answered_meanwhile(site: Site, queue: BatchedInference, runner: FakeRunner) -> None:
    with full(queue, runner), site.client() as client:
        assert client.get("/v1/people").status_code == 200
        assert "rollcall_inference_refused_total" in client.get("/metrics").text


def test_a_refused_enrolment_leaves_nothing_and_may_be_sent_again(
    site: Site, queue: BatchedInference, runner: FakeRunner
) -> None:
    form = {"employee_code": "G1", "name": "Grace", "consent": "true"}
    with site.client(**{"Idempotency-Key": "once"}) as client:
        with full(queue, runner):
            refused = client.post("/v1/enroll", data=form, files={"files": photos.nobody()})
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert "Retry-After" in refused.headers
        with site.database.read() as session:
            assert session.query(Person).count() == 0
        with ThreadPoolExecutor() as pool:
            again = pool.submit(client.post, "/v1/enroll", data=form, files={"files": photos.nobody()})
            let_one_go(runner)
            assert again.result(WAIT_S).json()["code"] == "no_face"  # judged afresh


def test_who_leaves_while_waiting_loses_their_place(site: Site, queue: BatchedInference, runner: FakeRunner) -> None:
    first = queue.submit(make_ask())
    running = runner.begun()
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + photos.nobody()
    body += b"\r\n--b--\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=WAIT_S) as connection:
        connection.sendall(site.head("/v1/identify", length=len(body)) + body)
        until(lambda: queue._lanes.size(Lane.INTERACTIVE).n_images == 1)
    until(lambda: queue._lanes.size(Lane.INTERACTIVE).n_images == 0)
    running.may_end.set()
    first.result(WAIT_S)
    assert len(runner.seen) == 1 and queue._n_reserved == 0


def test_a_burst_of_cameras_waits_without_a_thread_for_each(settings: Settings) -> None:
    """There are forty threads for all requests; more than that who wait must leave some to the others."""
    runner, picture = FakeRunner(), photos.nobody()
    queue = BatchedInference(runner, most_waiting=100)
    with served(create_app(settings, queue)) as site, site.client() as client, ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(client.post, "/v1/identify", files={"image": picture}) for _ in range(50)]
        batch = runner.begun()
        until(lambda: queue._lanes.size(Lane.INTERACTIVE).n_images == 50 - len(batch.asks))
        assert client.get("/v1/people").status_code == 200
        batch.may_end.set()
        while not all(each.done() for each in asked):
            if not runner.held.empty():
                runner.end_next()
            sleep(0.001)
        assert {each.result().status_code for each in asked} == {200}
    queue.close()


def test_cameras_at_once_are_answered_as_one_by_one(settings: Settings, inference: Inference) -> None:
    """With the real networks; the calls share batches."""
    pictures = [photos.grace(variant=2), photos.eileen(), photos.two_people(), photos.nobody()]

    def faces(client: httpx.Client, number: int) -> list[dict[str, Any]]:
        answer = client.post("/v1/identify", files={"image": pictures[number % len(pictures)]})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["faces"])

    with served(create_app(settings, inference)) as site, site.client() as client:
        form = {"employee_code": "G1", "name": "Grace", "consent": "true"}
        enrolled = client.post("/v1/enroll", data=form, files={"files": photos.grace()})
        assert enrolled.status_code == 201, enrolled.text
        alone = [faces(client, number) for number in range(len(pictures))]
        with ThreadPoolExecutor(N_CAMERAS) as pool:
            together = list(pool.map(lambda number: faces(client, number), range(N_CAMERAS)))
    assert [len(found) for found in alone] == [1, 1, 2, 0]
    for number, found in enumerate(together):
        expected = alone[number % len(pictures)]
        for face, same in zip(found, expected, strict=True):
            assert (face["outcome"], face["person"]) == (same["outcome"], same["person"])
            assert face["score"] == pytest.approx(same["score"], abs=1e-3)
            assert face["box_xyxy"] == pytest.approx(same["box_xyxy"], abs=0.5)

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Form, Request, UploadFile
from starlette.testclient import TestClient

from app.inference.port import Inference
from app.main import create_app
from app.settings import Settings


@pytest.fixture
def backend() -> str:
    return "sqlite"  # nothing here depends on the database


LIMIT = 1_200_000  # 200 kB for an image and what a form adds


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"max_image_bytes": 200_000, "max_enroll_bytes": 3_000_000, "body_timeout_s": 0.3}
    )


@pytest.fixture
def app(settings: Settings, inference: Inference) -> FastAPI:
    app = create_app(settings, inference)

    async def count(request: Request) -> int:
        return len(await request.body())

    def upload(file: UploadFile, note: str = Form("")) -> int:
        return len(file.file.read())

    app.add_api_route("/count", count, methods=["POST"])
    app.add_api_route("/upload", upload, methods=["POST"])
    return app


def chunks(*, n_bytes: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for start in range(0, n_bytes, 50_000):
        yield bytes(min(50_000, n_bytes - start))


def test_a_body_as_large_as_allowed_passes(client: TestClient) -> None:
    assert client.post("/count", content=bytes(LIMIT)).json() == LIMIT
    assert client.post("/count", content=chunks(n_bytes=LIMIT)).json() == LIMIT


def test_a_body_that_says_it_is_too_large_is_refused(client: TestClient) -> None:
    response = client.post("/count", content=bytes(LIMIT + 1))
    assert (response.status_code, response.json()["code"]) == (413, "request_too_large")


def test_a_body_that_turns_out_too_large_is_refused(client: TestClient) -> None:
    response = client.post("/count", content=chunks(n_bytes=LIMIT + 1))
    assert (response.status_code, response.json()["code"]) == (413, "request_too_large")
    assert response.headers["connection"] == "close"


def test_a_form_that_turns_out_too_large_is_refused(client: TestClient) -> None:
    response = client.post("/upload", files={"file": bytes(LIMIT)})
    assert (response.status_code, response.json()["code"]) == (413, "request_too_large")


def test_a_small_content_length_does_not_hide_a_large_body(client: TestClient) -> None:
    response = client.post("/count", content=chunks(n_bytes=LIMIT + 1), headers={"Content-Length": "5"})
    assert response.status_code == 413


def test_enrolment_has_its_own_larger_limit(client: TestClient, operator: dict[str, str]) -> None:
    too_large = client.post("/v1/enroll", content=bytes(3_000_001), headers=operator)
    assert too_large.json()["code"] == "request_too_large"
    assert "3,000,000" in too_large.json()["detail"]
    allowed = client.post("/v1/enroll", content=bytes(LIMIT + 1), headers=operator)
    assert allowed.status_code != 413


BROKEN_FORMS = {
    "no boundary": (b"x", "multipart/form-data"),
    "not multipart": (b"hello", "multipart/form-data; boundary=b"),
    "no field name": (
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        "multipart/form-data; boundary=b",
    ),
    "no headers": (b"--b\r\n\r\n\r\n--c", "multipart/form-data; boundary=b"),
}


@pytest.mark.parametrize("kind", BROKEN_FORMS)
def test_a_broken_form_is_a_bad_request(client: TestClient, kind: str) -> None:
    content, content_type = BROKEN_FORMS[kind]
    response = client.post("/upload", content=content, headers={"content-type": content_type})
    assert (response.status_code, response.json()["code"]) == (400, "multipart_invalid")


def test_a_text_field_of_more_than_a_megabyte_is_refused(client: TestClient) -> None:
    response = client.post("/upload", files={"file": b"x"}, data={"note": "a" * 1_100_000})
    assert (response.status_code, response.json()["code"]) == (400, "multipart_invalid")


@pytest.fixture
def address(app: FastAPI) -> Iterator[tuple[str, int]]:
    """A real server, because slow clients and half-closed connections only exist on a network."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()
        server.should_exit = True
        thread.join()


def exchange(address: tuple[str, int], *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Sends the parts and reads until the server closes the connection."""
    with socket.create_connection(address, timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_client_that_stops_sending_is_told_and_disconnected(address: tuple[str, int]) -> None:
    head = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    answer = exchange(address, head + b"only this")
    assert b" 408 " in answer.splitlines()[0]
    assert b"request_timeout" in answer


def test_a_slow_client_that_keeps_sending_is_served(address: tuple[str, int]) -> None:
    head = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    answer = exchange(address, head, b"a", b"b", b"c", pause_s=0.2)
    assert answer.endswith(b"\r\n\r\n3")


def test_a_client_that_sends_far_too_much_still_reads_why(address: tuple[str, int]) -> None:
    size = 20_000_000
    head = f"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
    answer = exchange(address, head + bytes(size))
    assert b" 413 " in answer.splitlines()[0]
    assert b"request_too_large" in answer


def test_a_client_that_asks_first_is_refused_before_it_sends(address: tuple[str, int]) -> None:
    head = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    started = time.monotonic()
    answer = exchange(address, head)
    assert b" 413 " in answer.splitlines()[0]
    assert time.monotonic() - started < 0.3


def test_a_stranger_is_refused_before_the_body_is_read(address: tuple[str, int]) -> None:
    head = b"POST /v1/people HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nConnection: close\r\n\r\n"
    answer = exchange(address, head)
    assert b" 401 " in answer.splitlines()[0]

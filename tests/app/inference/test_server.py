"""What an inference worker answers on a real port, to those who do it right and to everybody else."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty

import httpx
import pytest

from app.inference import wire
from app.inference.port import Lane
from app.inference.server import LARGEST_BODIES_AT_ONCE, MAX_IMAGES, largest_body, require_token_or_loopback
from app.inference.wire import Batch
from tests.app.inference.fakes import make_image
from tests.app.inference.served import TOKEN, QuickRunner, ServedWorker, make_settings, served, wait_until

HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": wire.ASK_TYPE}
ASK = b"".join(wire.encode_ask(Batch([make_image(number=1)], [1], Lane.INTERACTIVE)))


@pytest.fixture(scope="module")
def worker() -> Iterator[ServedWorker]:
    with served(QuickRunner()) as (worker,):
        yield worker


def post(worker: ServedWorker, content: bytes | Iterator[bytes] = ASK, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=60.0, verify=False) as client:
        return client.post(f"{worker.url}/v1/analyze", content=content, headers={**HEADERS, **headers})


def get(worker: ServedWorker, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{worker.url}{path}", headers=headers, trust_env=False)


def waiting(worker: ServedWorker, lane: str, n_images: int) -> bool:
    return f'rollcall_inference_waiting{{lane="{lane}"}} {n_images}.0' in worker.metrics


def test_a_batch_is_answered(worker: ServedWorker) -> None:
    answer = post(worker)
    assert (answer.status_code, answer.headers["content-type"]) == (200, wire.ANSWER_TYPE)
    assert answer.content.endswith(b"dlib-resnet/1 mtcnn 40")


def test_it_says_what_it_is(worker: ServedWorker) -> None:
    facts = get(worker, "/v1/engine", Authorization=f"Bearer {TOKEN}").json()
    assert (facts["model"], facts["detector"], facts["min_face_px"]) == ("dlib-resnet/1", "mtcnn", 40)
    assert (facts["wire_version"], facts["device"], facts["card"]["dim"]) == (1, "cpu", 128)
    assert (facts["max_images"], facts["max_bytes"]) == (MAX_IMAGES, largest_body(worker.settings))


@pytest.mark.parametrize("token", ["", "Basic wrong", "Bearer wrong", f"Bearer {TOKEN}x", "Bearer \u00fc"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/analyze"), ("GET", "/v1/engine")])
def test_without_the_token_nothing_is_told(worker: ServedWorker, method: str, path: str, token: str) -> None:
    headers = {"Authorization": token.encode()}
    answer = httpx.request(method, f"{worker.url}{path}", content=ASK, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_wrong")
    assert TOKEN not in answer.text


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_whether_it_is_well_is_told_to_everybody(worker: ServedWorker, path: str) -> None:
    assert get(worker, path).status_code == 200


def test_it_counts_what_it_does(worker: ServedWorker) -> None:
    post(worker)
    said = get(worker, "/metrics").text
    really = 'detector="mtcnn",device="cpu",ground="set",model="dlib-resnet/1",plan="torch/float32/1"'
    assert f"rollcall_inference_info{{{really}}} 1.0" in said
    assert "rollcall_inference_batch_images_bucket" in said and 'route="/v1/analyze"' in said


def test_bodies_that_are_wrong_are_refused_in_words(worker: ServedWorker) -> None:
    for answer, status, code in (
        (post(worker, ASK[:-1]), 400, "batch_invalid"),
        (post(worker, b""), 400, "batch_invalid"),
        (post(worker, ASK, **{"Content-Type": "application/json"}), 415, "type_unsupported"),
        (post(worker, iter([ASK])), 411, "length_required"),
        (httpx.get(f"{worker.url}/v1/analyze", trust_env=False), 405, "method_not_allowed"),
        (httpx.get(f"{worker.url}/v1/people", trust_env=False), 404, "not_found"),
    ):
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_that_claims_too_much_is_refused_before_it_is_sent(worker: ServedWorker) -> None:
    too_long = str(largest_body(worker.settings) + 1)
    with socket.create_connection(("127.0.0.1", worker.port), timeout=10.0) as connection:
        head = [f"{name}: {value}" for name, value in {**HEADERS, "Content-Length": too_long}.items()]
        lines = ["POST /v1/analyze HTTP/1.1", "Host: worker", "Expect: 100-continue", *head, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_bodies_that_are_on_their_way_have_an_end(worker: ServedWorker) -> None:
    held = []
    length = {**HEADERS, "Content-Length": str(largest_body(worker.settings))}
    head = "\r\n".join(
        ["POST /v1/analyze HTTP/1.1", "Host: worker", *(f"{k}: {v}" for k, v in length.items()), "", "RC"]
    )
    try:
        for _ in range(LARGEST_BODIES_AT_ONCE):
            held.append(socket.create_connection(("127.0.0.1", worker.port)))
            held[-1].sendall(head.encode())
        wait_until(lambda: post(worker).status_code == 429)
        refused = post(worker)
        assert (refused.json()["code"], refused.headers["Retry-After"]) == ("overloaded", "1")
    finally:
        for connection in held:
            connection.close()
    wait_until(lambda: post(worker).status_code == 200)


def test_a_full_queue_is_told_with_the_time_to_come_back() -> None:
    runner = QuickRunner(holds=True)
    with served(runner) as (worker,), ThreadPoolExecutor(100) as callers:
        asked = [callers.submit(post, worker)]
        running = runner.begun()
        asked += [callers.submit(post, worker) for _ in range(80)]
        wait_until(lambda: sum(each.done() for each in asked) >= 10)
        refused = [each.result() for each in asked if each.done()]
        assert {answer.status_code for answer in refused} == {429}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        running.may_end.set()
        while not all(each.done() for each in asked):
            with suppress(Empty):
                runner.held.get(timeout=0.05).may_end.set()
        assert {each.result().status_code for each in asked} == {200, 429}


def test_who_goes_away_takes_the_batch_out_of_the_queue() -> None:
    runner = QuickRunner(holds=True)
    with served(runner) as (worker,), ThreadPoolExecutor() as callers:
        first = callers.submit(post, worker)
        running = runner.begun()
        head = [f"{name}: {value}" for name, value in {**HEADERS, "Content-Length": len(ASK)}.items()]
        with socket.create_connection(("127.0.0.1", worker.port)) as impatient:
            impatient.sendall("\r\n".join(["POST /v1/analyze HTTP/1.1", "Host: worker", *head, "", ""]).encode() + ASK)
            wait_until(lambda: waiting(worker, "interactive", 1))
        wait_until(lambda: waiting(worker, "interactive", 0))
        running.may_end.set()
        assert first.result().status_code == 200
        assert len(runner.seen) == 1


def test_a_worker_that_is_told_to_end_finishes_what_it_is_looking_at() -> None:
    runner = QuickRunner(holds=True)
    with served(runner) as (worker,), ThreadPoolExecutor() as callers:
        asked = callers.submit(post, worker)
        running = runner.begun()
        ending = callers.submit(worker.stop)
        wait_until(lambda: not is_listening(worker))
        assert not asked.done()
        running.may_end.set()
        assert asked.result().status_code == 200
        ending.result()
        assert runner.is_closed


def is_listening(worker: ServedWorker) -> bool:
    try:
        socket.create_connection(("127.0.0.1", worker.port), timeout=1.0).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_this_machine_needs_no_token(host: str) -> None:
    require_token_or_loopback(host, make_settings(token=None))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "gpu-1.example"])
def test_other_machines_do(host: str) -> None:
    require_token_or_loopback(host, make_settings())
    with pytest.raises(ValueError, match="ROLLCALL_INFERENCE_TOKEN"):
        require_token_or_loopback(host, make_settings(token=None))

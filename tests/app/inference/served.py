"""Inference workers on real ports, in threads of this process; they can end, come back, and misbehave."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep
from typing import Any

import uvicorn
from fastapi import FastAPI
from prometheus_client import Metric, generate_latest
from starlette.types import Receive, Scope, Send

from app.inference.port import Analysis, Ask, BatchRunner, EngineInfo, Inference, Lane
from app.inference.server import create_inference_app
from app.settings import Settings
from tests.app.inference.fakes import AT_ONCE, FakeRunner
from tests.ports import free_port

TOKEN = "the-secret-of-this-test"
WAIT_S = 60.0


def make_settings(*urls: str, token: str | None = TOKEN, **changes: Any) -> Settings:
    return Settings(inference_urls=",".join(urls) or None, inference_token=token, **changes)


class QuickRunner(FakeRunner):
    """As a `FakeRunner`, but takes the name of the default networks."""

    info = EngineInfo("dlib-resnet/1", "mtcnn", "cpu", "torch/float32/1", "set")

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"holds": False, **options})


class SharedRunner:
    """The networks that a test has loaded already, as a runner; closing it leaves them alone."""

    n_at_once = 1
    limits = AT_ONCE

    def __init__(self, inference: Inference) -> None:
        self.card = inference.card
        self.info = inference.info
        self._inference = inference

    def run(self, asks: Sequence[Ask], lane: Lane) -> list[Analysis]:
        return [self._inference.analyze(ask.images, ask.max_faces, lane) for ask in asks]

    def collect(self) -> Iterable[Metric]:
        return ()

    def close(self) -> None:
        pass


class ServedWorker:
    """One worker; `mood` is how it answers batches from now on, None for well.

    `hang`: never. `busy`, `unready`, `broken`: status 429, 503, 500. `garbage`: something else. `endless`: far more.
    `cut`: breaks off.
    """

    def __init__(self, runner: BatchRunner, settings: Settings | None = None) -> None:
        self.runner = runner
        self.settings = settings or make_settings()
        self.mood: str | None = None
        self.n_asked = 0
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> "ServedWorker":
        self.app: FastAPI = create_inference_app(self.settings, self.runner)
        config = uvicorn.Config(self, host="127.0.0.1", port=self.port, log_config=None, lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    @property
    def metrics(self) -> str:
        return generate_latest(self.app.state.metrics).decode()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/v1/analyze":
            self.n_asked += 1
            if self.mood is not None:
                await _misbehave(self.mood, receive, send)
                return
        await self.app(scope, receive, send)


async def _misbehave(mood: str, receive: Receive, send: Send) -> None:
    while (message := await receive()).get("more_body"):
        pass
    if mood == "hang":
        while message["type"] != "http.disconnect":
            message = await receive()
        return
    status = {"busy": 429, "unready": 503, "broken": 500}.get(mood, 200)
    headers = [(b"retry-after", b"1")] if mood == "busy" else []
    if mood == "cut":
        headers.append((b"content-length", b"1000000"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if mood == "cut":
        await send({"type": "http.response.body", "body": b"RCA1", "more_body": True})
        raise ConnectionError("as if it had died")
    if mood == "endless":
        for _ in range(1000):  # a megabyte, where a few hundred bytes are expected
            await send({"type": "http.response.body", "body": bytes(1000), "more_body": True})
    await send({"type": "http.response.body", "body": b"garbage"})


@contextmanager
def served(*runners: BatchRunner, settings: Settings | None = None) -> Iterator[list[ServedWorker]]:
    """A started worker for each runner."""
    workers = [ServedWorker(runner, settings).start() for runner in runners]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def wait_until(is_so: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    until_s = monotonic() + timeout_s
    while not is_so():
        assert monotonic() < until_s, "it did not happen in time"
        sleep(0.01)

"""A small HTTP server that speaks the contract of captures, and misbehaves on demand: it fails, stalls and lies."""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any

from tests.ports import free_port


@dataclass(frozen=True)
class Misbehaviour:
    """An answer in place of the right one; `is_recorded`: after the capture was. Status 0: the line goes dead."""

    status: int
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    is_recorded: bool = False
    html: bool = False


@dataclass
class Request:
    """What was sent."""

    key: str
    fields: dict[str, str]
    image: bytes
    device_time: str | None
    api_key: str


class FakeService:
    """Remembers captures by their key; `faces` are what it sees in each."""

    def __init__(self) -> None:
        self.recorded: dict[str, Request] = {}
        self.tries: list[Request] = []
        self.beats: list[dict[str, Any]] = []
        self.next: deque[Misbehaviour] = deque()
        self.faces: list[dict[str, Any]] = [make_face()]
        self.policy: dict[str, Any] = {}
        self.beat_extra: dict[str, Any] = {}
        self.wanted: dict[str, str] | None = None
        self.n_asked = 0
        self.snapshots: list[Request] = []
        self.changed = Condition()
        self.port = free_port()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/cameras/heartbeat":
                    service.beats.append(json.loads(body))
                    answer = {"clock_offset_s": 0.0, "camera": {"id": "cam_1", "policy": service.policy}}
                    _answer(self, 200, json.dumps({**answer, **service.beat_extra}))
                elif self.path.startswith("/v1/cameras/snapshots/"):
                    service.take_snapshot(_read(self, body))
                    _answer(self, 200, "{}")
                else:
                    service.take(self, _read(self, body))

            def do_GET(self) -> None:
                service.n_asked += 1
                _answer(self, 200, json.dumps({"snapshot": service.wanted}))

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        with self.changed:
            self.tries.append(request)
            wrong = self.next.popleft() if self.next else None
            if wrong is None or wrong.is_recorded:
                self.recorded.setdefault(request.key, request)
            self.changed.notify_all()
        if wrong is None:
            _answer(handler, 200, json.dumps(make_answer(request, self.faces)))
        elif wrong.status == 0:
            handler.connection.close()
        else:
            text = "<html>" if wrong.html else json.dumps({"status": wrong.status, "code": wrong.code})
            _answer(handler, wrong.status, text, wrong.headers)

    def take_snapshot(self, request: Request) -> None:
        with self.changed:
            self.snapshots.append(request)
            self.wanted = None
            self.changed.notify_all()

    def wait_for_snapshot(self, timeout_s: float = 10.0) -> Request:
        with self.changed:
            assert self.changed.wait_for(lambda: self.snapshots, timeout_s), "no snapshot came"
            return self.snapshots.pop()

    def wait_for(self, n: int, *, tries: bool = False, timeout_s: float = 10.0) -> None:
        with self.changed:
            done = self.changed.wait_for(lambda: len(self.tries if tries else self.recorded) >= n, timeout_s)
        assert done, f"{len(self.tries)} tries, {len(self.recorded)} recorded"


def make_face(**given: Any) -> dict[str, Any]:
    """Ada Byron, identified, as the API shows her."""
    person = {"id": "per_1", "employee_code": "E1", "name": "Ada Byron"}
    face = {"box_xyxy": [10, 12, 50, 62], "outcome": "identified", "person": person, "score": 0.61, "odds": 1200.0}
    return {**face, "event_id": "evt_1", "quality": {"score": 0.8, "reasons": []}, **given}


def make_answer(request: Request, faces: list[dict[str, Any]]) -> dict[str, Any]:
    events = [
        {
            "id": face["event_id"],
            "person": face["person"],
            "direction": request.fields.get("direction"),
            "occurred_at": request.fields["captured_at"],
            "duplicate_of": None,
        }
        for face in faces
    ]
    return {"request_id": "r", "faces": faces, "events": events}


@contextmanager
def running_service() -> Iterator[FakeService]:
    service = FakeService()
    service.start()
    try:
        yield service
    finally:
        service.stop()


def _read(handler: BaseHTTPRequestHandler, body: bytes) -> Request:
    head = f"Content-Type: {handler.headers['Content-Type']}\r\n\r\n".encode()
    fields: dict[str, str] = {}
    image = b""
    for part in message_from_bytes(head + body).get_payload():  # type: ignore[union-attr]
        content = part.get_payload(decode=True)  # type: ignore[union-attr]
        if part.get_filename():  # type: ignore[union-attr]
            image = content  # type: ignore[assignment]
        else:
            fields[part.get_param("name", header="content-disposition")] = content.decode()  # type: ignore
    headers = handler.headers
    return Request(headers["Idempotency-Key"], fields, image, headers["X-Device-Time"], headers["X-API-Key"])


def _answer(handler: BaseHTTPRequestHandler, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(text.encode())))
    handler.end_headers()
    handler.wfile.write(text.encode())

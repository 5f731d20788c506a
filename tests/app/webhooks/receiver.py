"""A webhook receiver as other people's are: a real HTTP server that fails, is slow, or answers twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any

from standardwebhooks import Webhook as Verifier

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The message, if it was signed with this secret just now."""
        message: dict[str, Any] = Verifier(secret).verify(self.body, self.headers)
        return message


@dataclass
class Receiver:
    """`answer` says what each request is answered: a status, or None for a connection that is cut.

    Calling `wait_for_end` in it makes an answer that never comes.
    """

    url: str = ""
    answer: Callable[[Received], int | None] = field(default=lambda _received: 204)
    body: bytes = b""
    all: list[Received] = field(default_factory=list)
    ending: Event = field(default_factory=Event)
    _changed: Condition = field(default_factory=Condition)

    def take(self, received: Received) -> None:
        with self._changed:
            self.all.append(received)
            self._changed.notify_all()

    def wait(self, n: int) -> list[Received]:
        """The requests so far, when there are this many."""
        self.wait_until(lambda: len(self.all) >= n)
        return list(self.all)

    def wait_until(self, is_enough: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        with self._changed:
            assert self._changed.wait_for(is_enough, patience_s), f"only {len(self.all)} requests came"

    def wait_for_end(self) -> None:
        self.ending.wait(PATIENCE_S)


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(receiver))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield receiver
    finally:
        receiver.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    """For what only the database shows."""
    until, pause = monotonic() + PATIENCE_S, Event()
    while not is_true():
        assert monotonic() < until, what
        pause.wait(0.02)


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # noqa: N802 - the name is the library's
            content = self.rfile.read(int(self.headers["content-length"]))
            received = Received({name.lower(): value for name, value in self.headers.items()}, content.decode())
            receiver.take(received)
            status = receiver.answer(received)
            if status is None:
                self.close_connection = True
                return
            with suppress(OSError):  # the other side has stopped waiting
                self.send_response(status)
                self.send_header("location", receiver.url)
                self.send_header("content-length", str(len(receiver.body)))
                self.end_headers()
                self.wfile.write(receiver.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler

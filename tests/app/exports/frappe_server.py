"""A server that answers as Frappe HR does, with its errors, its repeats and its bad days."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

from app.exports.frappe import METHOD

TOKEN = "key:secret"


@dataclass
class FrappeServer:
    """`log` is what Frappe has; `trouble` may answer a request instead: a status, or None after nothing at all.

    `page` is what something in front of Frappe answers everything with, and a 200.
    """

    url: str = ""
    employees: set[str] = field(default_factory=lambda: {"E1", "E2"})
    log: list[tuple[str, str, str]] = field(default_factory=list)
    devices: list[str | None] = field(default_factory=list)
    trouble: Callable[[int], int | None] = lambda _n: 200
    page: bytes = b""
    n_requests: int = 0
    ending: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def add(self, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """As `add_log_based_on_employee_field` does it."""
        row = fields["employee_field_value"], fields["timestamp"], fields["log_type"]
        with self._lock:
            if fields["employee_fieldname"] != "attendance_device_id" or row[0] not in self.employees:
                return 417, _thrown(f"No Employee found for the given employee field value. '': {row[0]}")
            if row in self.log:
                return 417, _thrown("This employee already has a log with the same timestamp.<br><a>CHK-1</a>")
            self.log.append(row)
            self.devices.append(fields["device_id"])
            return 200, {"message": {"name": f"CHK-{len(self.log)}"}}


def _thrown(message: str) -> dict[str, Any]:
    return {
        "exception": f"frappe.exceptions.ValidationError: {message}",
        "exc_type": "ValidationError",
        "_server_messages": json.dumps([json.dumps({"message": message, "indicator": "red"})]),
    }


@contextmanager
def running_frappe() -> Iterator[FrappeServer]:
    frappe = FrappeServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(frappe))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    frappe.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield frappe
    finally:
        frappe.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler_of(frappe: FrappeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - the name is the library's
            fields = json.loads(self.rfile.read(int(self.headers["content-length"])))
            frappe.n_requests += 1
            status = frappe.trouble(frappe.n_requests)
            if status == 200 and self.path != f"/api/method/{METHOD}":
                status = 404
            if status == 200 and self.headers["authorization"] != f"token {TOKEN}":
                status = 401
            if status is None:
                frappe.add(fields)  # it is done, and nobody hears of it
                frappe.ending.wait(1.0)
                return
            answer: dict[str, Any] = {}
            if status == 200 and not frappe.page:
                status, answer = frappe.add(fields)
            with suppress(OSError):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(frappe.page or json.dumps(answer).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler

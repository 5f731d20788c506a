"""A real `rollcall serve` process: for what only a process has, such as dying, memory and a log."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx

from tests.ports import free_port

ROLLCALL = Path(sys.executable).with_name("rollcall")
# Loading takes 3 s on an idle machine; another test run may keep it busy.
START_S = 120.0
STOP_S = 60.0
COMMAND_S = 120.0
AUDIT_S = 60.0
KEY = re.compile(r"rck_[\w-]{43}")
# Told how to run the networks, a first start does not measure it, which takes half a minute on a busy machine.
ENGINE = "torch/float32/1"


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """This process's environment with no settings but these, and one way to run the networks."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROLLCALL_")}
    return {**kept, "ROLLCALL_DATA_DIR": str(data_dir), "ROLLCALL_ENGINE": ENGINE, **settings}


def run_rollcall(data_dir: Path, *args: str | Path, **settings: str) -> "Finished":
    """Run one command to its end."""
    done = subprocess.run(
        [ROLLCALL, *args], env=environment(data_dir, **settings), capture_output=True, text=True, timeout=COMMAND_S
    )
    return Finished(done.returncode, done.stdout, done.stderr)


class Finished:
    """What a command left: exit status and both outputs."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Server:
    """One service on a free port, with its data in a folder; can be started again after it ended."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.settings = settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Everything that all starts so far have printed."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    @property
    def printed_keys(self) -> list[str]:
        """Every key in the log."""
        return KEY.findall(self.log)

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether there is no process, whoever has ended it."""
        process = self._process
        return process is None or process.poll() is not None

    @property
    def database_path(self) -> Path:
        return self.data_dir / "rollcall.sqlite3"

    def start(self) -> "Server":
        """Start and wait until it is ready."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [ROLLCALL, "serve", "--port", str(self.port)],
                env=environment(self.data_dir, **self.settings),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready(self._process)
        return self

    def stop(self) -> None:
        """Ask it to end, as an init system would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_S)
            self._process = None

    def kill(self) -> None:
        """End it between two instructions: `kill -9`."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait(STOP_S)
            if self._process is process:  # else somebody has started the next one already
                self._process = None

    def client(self, key: str | None = None) -> httpx.Client:
        """An HTTP client that carries a key."""
        headers = {} if key is None else {"X-API-Key": key}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60.0, trust_env=False)

    def new_key(self, scope: str) -> str:
        """A key made by the first one, or where none was printed, by a command, which takes seconds to start."""
        if not self.printed_keys:
            command = run_rollcall(self.data_dir, "keys", "create", "test", "--scope", scope)
            assert command.status == 0, command
            return command.out.strip()
        with self.client(self.printed_keys[0]) as client:
            made = client.post("/v1/keys", json={"name": "test", "scope": scope})
        assert made.status_code == 201, made.text
        return str(made.json()["secret"])

    def peak_memory_mb(self) -> float:
        """The most that was ever resident (VmHWM)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = monotonic() + START_S
        while monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health/ready", trust_env=False, timeout=5.0).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            sleep(0.05)
        self.kill()
        raise RuntimeError(f"the server was not ready (exit status {process.returncode}); its log:\n{self.log}")


@contextmanager
def running_server(data_dir: Path, **settings: str) -> Iterator[Server]:
    """A started server that is ended with the block."""
    server = Server(data_dir, **settings)
    try:
        yield server.start()
    finally:
        server.kill()


def enroll(
    client: httpx.Client, employee_code: str, *photos: bytes, idempotency_key: str | None = None, **fields: str
) -> httpx.Response:
    """Enrol photos with consent; `fields` are the form's others."""
    data = {"employee_code": employee_code, "consent": "true", **fields}
    files = [("files", (f"{number}.jpg", photo)) for number, photo in enumerate(photos)]
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    return client.post("/v1/enroll", data=data, files=files, headers=headers)


def identify(client: httpx.Client, photo: bytes) -> httpx.Response:
    return client.post("/v1/identify", files={"image": ("a.jpg", photo)})


def audits(client: httpx.Client, n_replicas: int = 1) -> list[dict[str, Any]]:
    """The reports of this many replicas, made now; others may be in the list, and dead."""
    client.post("/v1/gallery/audit")
    until = monotonic() + AUDIT_S
    while monotonic() < until:
        answered = [each for each in client.get("/v1/gallery").json()["replicas"] if not each["is_audit_pending"]]
        if len(done := [each["audit"] for each in answered if each["audit"]]) >= n_replicas:
            return done
        if len(done) < len(answered):  # one that has made itself known since it was asked
            client.post("/v1/gallery/audit")
        sleep(0.1)
    raise AssertionError(f"{n_replicas} replicas were not audited in {AUDIT_S} s")

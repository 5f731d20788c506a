"""A replica whose networks run in two processes of `rollcall inference`, which are killed while it is being used."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import httpx
import pytest

from tests.app import photos
from tests.ports import free_port
from tests.server import ROLLCALL, START_S, STOP_S, Server, enroll, environment, identify, run_rollcall, running_server

TOKEN = "the-secret-of-this-test"
N_CALLERS = 3
BACK_S = 20.0


class InferenceProcess:
    """`rollcall inference` on a port of its own; can be started again after it ended."""

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = environment(data_dir, ROLLCALL_INFERENCE_TOKEN=TOKEN)
        self._log_path = data_dir.with_name(f"inference-{self.port}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "InferenceProcess":
        """Begin to load; unless it runs already."""
        if self._process is not None:
            return self
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [ROLLCALL, "inference", "--device", "cpu", "--port", str(self.port)],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def wait_until_ready(self) -> None:
        until_s = monotonic() + START_S
        while not self._is_ready():
            has_ended = self._process is None or self._process.poll() is not None
            assert monotonic() < until_s and not has_ended, self._log_path.read_text()
            sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def stop(self) -> int:
        """Ask it to end, as an init system would; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        process, self._process = self._process, None
        return process.wait(STOP_S)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[InferenceProcess]]:
    folder = tmp_path_factory.mktemp("machines")
    machines = [InferenceProcess(folder / "models").start() for _ in range(2)]
    try:
        for machine in machines:
            machine.wait_until_ready()
        yield machines
    finally:
        for machine in machines:
            machine.kill()


@pytest.fixture(scope="module")
def replica(machines: list[InferenceProcess], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    urls = ",".join(machine.url for machine in machines)
    settings = {"ROLLCALL_INFERENCE_URLS": urls, "ROLLCALL_INFERENCE_TOKEN": TOKEN, "ROLLCALL_WORKERS": "0"}
    with running_server(tmp_path_factory.mktemp("replica") / "data", **settings) as server:
        yield server


@pytest.fixture
def client(replica: Server) -> Iterator[httpx.Client]:
    with replica.client(replica.printed_keys[0]) as client:
        yield client


def test_a_replica_enrols_and_identifies_without_any_networks_of_its_own(replica: Server, client: httpx.Client) -> None:
    assert enroll(client, "grace", photos.grace(), name="Grace Hopper").status_code == 201
    (face,) = identify(client, photos.grace(variant=3)).json()["faces"]
    assert face["person"]["employee_code"] == "grace"
    assert client.get("/v1/system").json()["device"] == "remote (cpu)"
    assert "libtorch" not in Path(f"/proc/{replica.pid}/maps").read_text()


def test_a_machine_that_is_killed_under_load_costs_nobody_an_answer(
    machines: list[InferenceProcess], replica: Server, client: httpx.Client
) -> None:
    assert enroll(client, "eileen", photos.eileen(), name="Eileen Collins").status_code == 201
    probe, stopping, seen = photos.eileen(variant=2), Event(), Counter[str]()

    def call() -> None:
        with replica.client(replica.printed_keys[0]) as caller:
            while not stopping.is_set():
                answer = identify(caller, probe)
                if answer.status_code == 429:  # too much for this machine: no fault of anybody's
                    sleep(0.1)
                    continue
                people = [face["person"]["employee_code"] for face in answer.json().get("faces", [])]
                seen[f"{answer.status_code} {people}"] += 1

    with ThreadPoolExecutor() as callers:
        calls = [callers.submit(call) for _ in range(N_CALLERS)]
        wait_for_answers(seen, 6)
        machines[0].kill()
        wait_for_answers(seen, seen.total() + 10)
        stopping.set()
        for each in calls:
            each.result()
    assert list(seen) == ["200 ['eileen']"]
    assert "inference.worker_failed" in replica.log


def wait_for_answers(seen: Counter[str], n: int) -> None:
    until_s = monotonic() + START_S
    while seen.total() < n:
        assert monotonic() < until_s, seen
        sleep(0.05)


def test_without_any_machine_callers_are_told_and_nothing_has_to_be_restarted(
    machines: list[InferenceProcess], client: httpx.Client
) -> None:
    machines[0].kill()
    assert machines[1].stop() == 0  # orderly: in the middle of nothing
    refused = identify(client, photos.grace())
    assert (refused.status_code, refused.json()["code"]) == (503, "inference_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert client.get("/v1/people").status_code == 200
    machines[1].start().wait_until_ready()
    until_s = monotonic() + BACK_S
    while identify(client, photos.grace()).status_code != 200:
        assert monotonic() < until_s
        sleep(0.1)


def test_a_service_of_other_settings_does_not_start(machines: list[InferenceProcess], tmp_path: Path) -> None:
    machines[1].start().wait_until_ready()
    settings = {"ROLLCALL_INFERENCE_URLS": machines[1].url, "ROLLCALL_INFERENCE_TOKEN": TOKEN}
    refused = run_rollcall(tmp_path, "serve", "--port", "0", ROLLCALL_MIN_FACE_PX="24", **settings)
    assert refused.status == 1
    assert f"the inference worker at {machines[1].url} cannot be used" in refused.err
    assert "ROLLCALL_MIN_FACE_PX" in refused.err


def test_a_network_is_not_listened_to_without_a_secret(tmp_path: Path) -> None:
    refused = run_rollcall(tmp_path, "inference", "--host", "0.0.0.0", "--port", "0")
    assert refused.status == 1 and "set ROLLCALL_INFERENCE_TOKEN" in refused.err

"""`rollcall serve` and the worker beside it: either may be killed at any moment, and no job is lost or done twice."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from sqlalchemy import URL

from app.db.engine import Database, make_engine
from app.jobs.rules import DIED_TOO_OFTEN, INTERNAL, NO_WORKER, JobStatus
from tests.app.jobs.factories import make_job
from tests.app.jobs.handlers import PLACE
from tests.app.jobs.worker_process import ROOT, is_alive, n_effects, pid_of, wait_for
from tests.server import ROLLCALL, Server, environment, run_rollcall, running_server

CANCELLED, DONE, FAILED, RUNNING = JobStatus.CANCELLED, JobStatus.DONE, JobStatus.FAILED, JobStatus.RUNNING


class JobServer(Server):
    """A service whose worker knows the tests' own handlers."""

    def start(self) -> Server:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [ROLLCALL, "serve", "--port", str(self.port), "--job-handlers", PLACE],
                env=environment(self.data_dir, PYTHONPATH=str(ROOT), **self.settings),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready(self._process)
        return self


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = JobServer(tmp_path_factory.mktemp("jobs") / "data")
    try:
        yield server.start()
    finally:
        server.kill()


@contextmanager
def opened(server: Server) -> Iterator[Database]:
    database = Database(make_engine(URL.create("sqlite", database=str(server.database_path))))
    yield database
    database.dispose()


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    """The service's own, opened beside it: no request asks for the jobs of these tests."""
    with opened(server) as database:
        yield database


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.printed_keys[0]) as client:
        yield client


def counting(database: Database, tmp_path: Path, *, n: int = 6, step_s: float = 0.2) -> str:
    return make_job(
        database=database, kind="count", payload={"diary": str(tmp_path / "diary"), "n": n, "step_s": step_s}
    )


def running_in(database: Database, job_id: str, *, but_not: int = 0) -> int:
    """The process that the job runs in, once it does."""
    until = monotonic() + 60
    while monotonic() < until:
        job = wait_for(database, job_id, RUNNING)
        if job.message is not None and pid_of(job) != but_not:
            return pid_of(job)
        sleep(0.02)
    raise AssertionError("the job did not say where it runs")


def wait_for_death(pid: int, within_s: float) -> None:
    until = monotonic() + within_s
    while is_alive(pid):
        assert monotonic() < until, "the worker outlives its server"
        sleep(0.05)


def shown(client: httpx.Client, job_id: str) -> Any:
    return client.get(f"/v1/jobs/{job_id}").json()


def test_a_job_is_done_and_told(client: httpx.Client, database: Database, tmp_path: Path) -> None:
    job_id = counting(database, tmp_path, n=2, step_s=0.05)
    wait_for(database, job_id, DONE)
    job = shown(client, job_id)
    assert (job["status"], job["progress"], job["result"]) == ("done", 1.0, {"n": 2, "attempt": 1})
    assert client.get("/v1/jobs").json()["items"][0]["id"] == job_id


def test_a_service_without_workers_says_so_until_somebody_starts_one(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", ROLLCALL_WORKERS="0") as server, opened(server) as database:
        job_id = make_job(database=database, kind="enroll_video", payload={"enrolment_id": "enr_none"})
        with server.client(server.printed_keys[0]) as client:
            assert client.get("/v1/system").json()["jobs"] == workload(n_queued=1, n_workers=0)
            assert [shown(client, job_id)[name] for name in ("status", "message")] == ["queued", NO_WORKER]
            command = [ROLLCALL, "worker", "--queues", "video"]
            with subprocess.Popen(command, env=environment(server.data_dir)) as worker:
                wait_for(database, job_id, DONE)
                assert client.get("/v1/system").json()["jobs"] == workload(n_queued=0, n_workers=1)
                worker.terminate()
            assert worker.returncode == 0
            assert client.get("/v1/system").json()["jobs"]["n_workers"] == 0


def workload(*, n_queued: int, n_workers: int) -> dict[str, Any]:
    """What `/v1/system` says of jobs when all are videos and none is running."""
    counted = {"n_queued": n_queued, "n_running": 0, "n_workers": n_workers}
    training = {"name": "training", "n_queued": 0, "n_running": 0, "n_workers": 0}
    return {**counted, "queues": [training, {"name": "video", **counted}]}


def test_a_worker_for_a_queue_that_there_is_not_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run_rollcall(tmp_path / "data", "worker", "--queues", "vidoe")
    said = "rollcall: there is no queue `vidoe`; the queues are: training, video\n"
    assert (done.status, done.err) == (1, said)


def test_a_worker_carries_no_networks_before_a_job_needs_them(database: Database) -> None:
    job = wait_for(database, make_job(database=database, kind="look_around"), DONE)
    assert job.result == {"modules": ["dbos"]}


def test_what_a_handler_raises_is_told_without_its_stack(
    client: httpx.Client, server: Server, database: Database
) -> None:
    stumbled = make_job(database=database, kind="stumble")
    refused = make_job(database=database, kind="refuse")
    for job_id, sentence in ((stumbled, INTERNAL), (refused, "The clip shows nobody.")):
        wait_for(database, job_id, FAILED)
        assert shown(client, job_id)["error"] == sentence
    told = client.get("/v1/jobs").text
    assert "Traceback" not in told and "secret" not in told
    assert stumbled in server.log and "a secret of the server" in server.log


def test_a_running_job_is_cancelled(client: httpx.Client, database: Database, tmp_path: Path) -> None:
    job_id = counting(database, tmp_path, n=1000)
    running_in(database, job_id)
    assert client.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "running"
    wait_for(database, job_id, CANCELLED)
    assert n_effects(database, job_id) == 0
    assert client.post(f"/v1/jobs/{job_id}/cancel").status_code == 409


def test_a_job_whose_worker_is_killed_is_done_once_by_the_next(
    client: httpx.Client, database: Database, tmp_path: Path
) -> None:
    job_id = counting(database, tmp_path)
    os.kill(running_in(database, job_id), signal.SIGKILL)
    wait_for(database, job_id, DONE)
    assert shown(client, job_id)["result"] == {"n": 6, "attempt": 2}
    assert n_effects(database, job_id) == 1


def test_when_the_server_is_killed_its_worker_ends_and_the_job_goes_on_after_the_restart(
    server: Server, database: Database, tmp_path: Path
) -> None:
    job_id = counting(database, tmp_path)
    worker = running_in(database, job_id)
    server.kill()
    wait_for_death(worker, within_s=8)
    server.start()
    assert wait_for(database, job_id, DONE).result == {"n": 6, "attempt": 1}
    assert n_effects(database, job_id) == 1


def test_when_the_server_is_stopped_even_a_deaf_job_ends_and_is_begun_again(server: Server, database: Database) -> None:
    job_id = make_job(database=database, kind="deaf", payload={"s": 7.0})
    worker = running_in(database, job_id)
    server.stop()
    assert not is_alive(worker)
    server.start()
    job = wait_for(database, job_id, RUNNING)
    assert running_in(database, job_id, but_not=worker) != worker
    assert job.attempts <= 1
    wait_for(database, job_id, DONE)


def test_a_job_that_kills_every_worker_is_given_up_and_others_are_done(
    client: httpx.Client, database: Database, tmp_path: Path
) -> None:
    poison = make_job(database=database, kind="die")
    behind_it = counting(database, tmp_path, n=1, step_s=0.0)
    wait_for(database, poison, FAILED)
    job = shown(client, poison)
    assert (job["error"], job["attempts"]) == (DIED_TOO_OFTEN, 3)
    wait_for(database, behind_it, DONE)
    assert client.get("/health/live").status_code == 200

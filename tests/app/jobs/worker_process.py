"""A real worker process with the tests' own handlers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from sqlalchemy import select

from app.db.engine import Database
from app.db.tables import AuditEntry, Job
from app.jobs.rules import JobStatus, new_worker_id
from app.settings import Settings
from tests.app.jobs.factories import read_job
from tests.app.jobs.handlers import EFFECT, PLACE
from tests.server import environment

ROOT = Path(__file__).parents[3]
PATIENCE_S = 90.0


class WorkerProcess:
    """`python -m app.jobs` as `rollcall serve` starts it. An older one knows only the kinds that are built in."""

    def __init__(self, settings: Settings, log: Path, *, is_older: bool = False, queues: str | None = None) -> None:
        self.id = new_worker_id()
        url = settings.database_url
        given = {"ROLLCALL_DATABASE_URL": url.get_secret_value()} if url else {}
        given |= {"ROLLCALL_WORKER_TIMEOUT_S": str(settings.worker_timeout_s), "PYTHONPATH": str(ROOT)}
        given |= {"ROLLCALL_BACKBONE": settings.backbone}
        more = [] if is_older else ["--handlers", PLACE]
        more += [] if queues is None else ["--queues", queues]
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "app.jobs", "--id", self.id, *more],
                env=environment(settings.data_dir, **given),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def suspend(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def leave_alone(self) -> int:
        """As if whoever started it were gone; returns its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.wait()

    def terminate(self) -> int:
        self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        status = self._process.wait(PATIENCE_S)
        if self._process.stdin is not None:
            self._process.stdin.close()
        return status


@contextmanager
def worker_process(
    settings: Settings, log: Path, *, is_older: bool = False, queues: str | None = None
) -> Iterator[WorkerProcess]:
    process = WorkerProcess(settings, log, is_older=is_older, queues=queues)
    try:
        yield process
    finally:
        process.kill()


def wait_for(
    database: Database, job_id: str, *statuses: JobStatus, pid: int | None = None, patience_s: float = PATIENCE_S
) -> Job:
    """The job once it has one of these statuses and, if asked for, says that it runs in this process."""
    until = monotonic() + patience_s
    while monotonic() < until:
        job = read_job(database=database, job_id=job_id)
        if job.status in statuses and (pid is None or job.message == f"pid {pid}"):
            return job
        sleep(0.02)
    raise AssertionError(f"the job is {job.status} at {job.progress} ({job.message}, {job.error})")


def n_effects(database: Database, job_id: str) -> int:
    with database.read() as session:
        found = select(AuditEntry.id).where(AuditEntry.action == EFFECT, AuditEntry.target == job_id)
        return len(session.scalars(found).all())


def pid_of(job: Job) -> int:
    assert job.message is not None
    return int(job.message.removeprefix("pid "))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

"""Makes jobs in any state. Every argument is a keyword."""

from collections.abc import Sequence
from datetime import timedelta
from threading import Event
from typing import Any

from sqlalchemy import update

from app.db.clock import shared_now
from app.db.engine import Database
from app.db.tables import Job, JobWorker
from app.jobs import queries, service
from app.jobs.context import Equipment
from app.jobs.handlers import Handler, Kind, Kinds
from app.jobs.rules import JobStatus
from app.jobs.runner import JobRunner
from app.settings import Settings

BY = "key:test"
WORKER = "wrk_test"
QUEUE = "test"


def make_kinds(*names: str, queue: str = QUEUE) -> Kinds:
    """Kinds of jobs that have nothing to do."""
    return {name: Kind(queue, lambda _context: {}) for name in names}


KINDS = make_kinds("test")


def make_job(*, database: Database, kind: str = "test", payload: dict[str, Any] | None = None) -> str:
    """A queued job."""
    with database.write() as session:
        return service.enqueue(session, kind, payload or {}, BY).id


def make_running(
    *,
    database: Database,
    attempts: int = 1,
    worker: str = WORKER,
    kind: str = "test",
    payload: dict[str, Any] | None = None,
) -> str:
    """A job that a live worker is doing for the nth time."""
    job_id = make_job(database=database, kind=kind, payload=payload)
    with database.write() as session:
        job = service.claim(session, job_id, worker, make_kinds(kind))
        assert job is not None
        job.attempts = attempts
    return job_id


def make_cancelling(*, database: Database) -> str:
    """A running job that somebody has cancelled, and that has not noticed yet."""
    job_id = make_running(database=database)
    with database.write() as session:
        service.cancel(session, job_id, BY)
    return job_id


def make_worker(
    *, database: Database, worker: str = WORKER, queues: Sequence[str] = (QUEUE,), silent_for_s: float = 0.0
) -> None:
    """A worker that was last heard of that long ago."""
    with database.write() as session:
        queries.beat(session, worker, queues)
        heard_at = shared_now(session) - timedelta(seconds=silent_for_s)
        session.execute(update(JobWorker).where(JobWorker.id == worker).values(beat_at=heard_at))


def make_finished(*, database: Database, status: JobStatus = JobStatus.DONE, result: Any = None) -> str:
    job_id = make_running(database=database)
    with database.write() as session:
        service.end(read_job(database=database, job_id=job_id, session=session), status, result=result)
    return job_id


def make_runner(
    *,
    database: Database,
    handler: Handler,
    worker: str = WORKER,
    kind: str = "test",
    stopping: Event | None = None,
    equipment: Equipment | None = None,
) -> JobRunner:
    kinds = {kind: Kind(QUEUE, handler)}
    return JobRunner(worker, equipment or Equipment(Settings(), database), kinds, stopping or Event())


def read_job(*, database: Database, job_id: str, session: Any = None) -> Job:
    if session is not None:
        return service.get(session, job_id)
    with database.read() as own:
        return service.get(own, job_id)


def kill_worker(*, database: Database, worker: str = WORKER) -> None:
    """As if it had not been heard of for long."""
    with database.write() as session:
        queries.delete_worker(session, worker)

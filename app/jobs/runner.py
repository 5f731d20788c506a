"""Runs one job: claims it, calls its handler, and writes down how it went."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.db.tables import Job
from app.jobs import queries, service
from app.jobs.context import Equipment, JobCancelled, JobContext, JobInterrupted, JobLost
from app.jobs.handlers import Handlers
from app.jobs.rules import INTERNAL, MAX_ATTEMPTS, TRIED_TOO_OFTEN, JobStatus, told

DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeoutError)
_TRY_AGAIN_AFTER_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went; QUEUED means that the job shall be tried again."""

    status: JobStatus
    result: dict[str, Any] | None = None
    error: str | None = None
    counts: bool = True


class JobRunner:
    """One worker's hands: one job at a time."""

    def __init__(self, worker: str, equipment: Equipment, handlers: Handlers, stopping: Event) -> None:
        self._worker = worker
        self._equipment = equipment
        self._handlers = handlers
        self._stopping = stopping
        self._idle = Event()
        self._idle.set()

    def run(self, job_id: str) -> None:
        """Do the job, unless it is done, cancelled or somebody else's. Never raises."""
        self._idle.clear()
        try:
            job = None if self._stopping.is_set() else self._claim(job_id)
            if job is not None:
                self._do(job)
        finally:
            self._idle.set()

    def wait_until_idle(self, timeout_s: float) -> bool:
        return self._idle.wait(timeout_s)

    def _claim(self, job_id: str) -> Job | None:
        try:
            with self._equipment.database.write() as session:
                return service.claim(session, job_id, self._worker)
        except DATABASE_AWAY:  # the job stays queued, and the dispatcher comes back to it
            log.warning("jobs.claim_failed", job_id=job_id)
            return None

    def _do(self, job: Job) -> None:
        log.info("jobs.started", job_id=job.id, kind=job.kind, attempt=job.attempts)
        context = JobContext(job, self._equipment, self._stopping)
        outcome = self._outcome(job, context)
        if outcome is not None:
            self._write_down(context, outcome)
        log.info("jobs.ended", job_id=job.id, kind=job.kind, status=outcome.status.value if outcome else "lost")

    def _outcome(self, job: Job, context: JobContext) -> Outcome | None:
        """None when the job is somebody else's by now."""
        handler = self._handlers.get(job.kind)
        if handler is None:
            return Outcome(JobStatus.FAILED, error=f"This release cannot do jobs of the kind {job.kind!r}.")
        try:
            result = _as_json(handler(context))
            context.raise_if_stopped()
            return Outcome(JobStatus.DONE, result=result)
        except JobLost:
            return None
        except JobCancelled:
            return Outcome(JobStatus.CANCELLED)
        except JobInterrupted:
            return Outcome(JobStatus.QUEUED, counts=False)
        except DATABASE_AWAY:
            log.warning("jobs.database_away", job_id=job.id, kind=job.kind)
            again = job.attempts < MAX_ATTEMPTS
            return Outcome(JobStatus.QUEUED) if again else Outcome(JobStatus.FAILED, error=TRIED_TOO_OFTEN)
        except BaseException as error:  # whatever a handler raises, its job must not look as if it were still running
            return self._failed(job, error)

    def _failed(self, job: Job, error: BaseException) -> Outcome:
        sentence = told(error)
        if sentence is None:
            log.error("jobs.failed", job_id=job.id, kind=job.kind, exc_info=error)
        return Outcome(JobStatus.FAILED, error=sentence or INTERNAL)

    def _write_down(self, context: JobContext, outcome: Outcome) -> None:
        def write() -> None:
            with self._equipment.database.write() as session:
                job = queries.lock_claimed(session, context.claim)
                if job is not None:
                    _apply(job, context, outcome)

        self._until_answered(write)

    def _until_answered(self, write: Callable[[], None]) -> None:
        # The work may have taken an hour: a database that is away for a minute must not cost it.
        while True:
            try:
                return write()
            except DATABASE_AWAY:
                log.warning("jobs.outcome_waits_for_database")
                if self._stopping.wait(_TRY_AGAIN_AFTER_S):
                    return None


def _apply(job: Job, context: JobContext, outcome: Outcome) -> None:
    job.message = context.message
    job.progress = 1.0 if outcome.status is JobStatus.DONE else context.progress
    if outcome.status is JobStatus.QUEUED:
        service.put_back(job, counts=outcome.counts)
    else:
        service.end(job, outcome.status, result=outcome.result, error=outcome.error)


def _as_json(result: dict[str, Any]) -> dict[str, Any]:
    """As it will be stored: PostgreSQL takes no NaN, and what cannot be stored should fail here."""
    stored: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    return stored

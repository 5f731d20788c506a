"""Runs one job: claims it, calls its handler, and writes down how it went."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from http.client import SERVICE_UNAVAILABLE
from threading import Event, Lock
from typing import Any

import structlog

from app.db.tables import Job
from app.errors import DATABASE_AWAY, ProblemError
from app.inference.admission import InferenceBusyError
from app.jobs import queries, service
from app.jobs.context import Equipment, JobCancelled, JobContext, JobInterrupted, JobLost, JobUnequipped
from app.jobs.handlers import Kinds
from app.jobs.rules import INTERNAL, NO_NETWORKS, TRIED_TOO_OFTEN, JobStatus, told
from ml.errors import ModelError

_TRY_AGAIN_AFTER_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went; QUEUED means that the job shall be tried again.

    `error` is why it failed, or will have when this was its last attempt. `is_unfit`: it is the worker that failed.
    """

    status: JobStatus
    result: dict[str, Any] | None = None
    error: str = INTERNAL
    counts: bool = True
    is_unfit: bool = False


class JobRunner:
    """One worker's hands: one job at a time.

    One that turns out to be unfit for jobs sets `stopping`, so that it begins no other, and calls `when_unfit`.
    """

    def __init__(
        self,
        worker: str,
        equipment: Equipment,
        kinds: Kinds,
        stopping: Event,
        when_unfit: Callable[[], None] = lambda: None,
    ) -> None:
        self._worker = worker
        self._equipment = equipment
        self._kinds = kinds
        self._stopping = stopping
        self._when_unfit = when_unfit
        self._hands = Lock()

    def run(self, job_id: str) -> None:
        """Do the job, unless it is done, cancelled, somebody else's or of a kind for others. Never raises.

        A job of another queue waits here for the hands, unclaimed, so that an idle worker may take it meanwhile.
        """
        with self._hands:
            try:
                job = None if self._stopping.is_set() else self._claim(job_id)
                if job is not None:
                    self._do(job)
            except Exception:  # whatever state the job is in now, `let_go` sees to it
                log.exception("jobs.not_written", job_id=job_id)

    def let_go(self) -> None:
        """Put back what this worker holds but does not do: it never heard of its claim, or could not write the end."""
        if not self._hands.acquire(blocking=False):
            return
        try:
            with self._equipment.database.write() as session:
                jobs = service.let_go(session, self._worker)
        finally:
            self._hands.release()
        for job in jobs:
            log.warning("jobs.let_go", job_id=job.id, kind=job.kind, attempts=job.attempts, now=job.status)

    def wait_until_idle(self, timeout_s: float) -> bool:
        is_idle = self._hands.acquire(timeout=timeout_s)
        if is_idle:
            self._hands.release()
        return is_idle

    def _claim(self, job_id: str) -> Job | None:
        try:
            with self._equipment.database.write() as session:
                return service.claim(session, job_id, self._worker, self._kinds)
        except DATABASE_AWAY:  # the job stays queued, and the dispatcher comes back to it
            log.warning("jobs.claim_failed", job_id=job_id)
            return None

    def _do(self, job: Job) -> None:
        log.info("jobs.started", job_id=job.id, kind=job.kind, attempt=job.attempts)
        context = JobContext(job, self._equipment, self._stopping)
        outcome = self._outcome(job, context)
        status = "lost" if outcome is None else self._write_down(context, outcome)
        log.info("jobs.ended", job_id=job.id, kind=job.kind, status=status)
        if outcome is not None and outcome.is_unfit:
            self._stopping.set()
            self._when_unfit()

    def _outcome(self, job: Job, context: JobContext) -> Outcome | None:
        """None when the job is somebody else's by now."""
        try:
            result = _as_json(self._kinds[job.kind].handler(context))
            context.raise_if_stopped()
            return Outcome(JobStatus.DONE, result=result)
        except JobLost:
            return None
        except JobCancelled:
            return Outcome(JobStatus.CANCELLED)
        except JobInterrupted:
            return Outcome(JobStatus.QUEUED, counts=False)
        except JobUnequipped as stop:
            return self._unfit(job, stop.__cause__ or stop, counts=False)
        except ModelError as error:
            # Loaded, and yet of no use: others enrol by another backbone meanwhile, or the networks fail at this job.
            # The second is the job's fault, hence it counts; after the first, a new worker cannot load its gallery.
            return self._unfit(job, error, counts=True)
        except ProblemError as error:
            if error.status_code != SERVICE_UNAVAILABLE:
                return self._failed(job, error)
            log.warning("jobs.put_back", job_id=job.id, kind=job.kind, code=error.code)
            return Outcome(JobStatus.QUEUED, counts=False)
        except InferenceBusyError:
            log.warning("jobs.put_back", job_id=job.id, kind=job.kind, code="overloaded")
            return Outcome(JobStatus.QUEUED, counts=False)
        except DATABASE_AWAY:
            log.warning("jobs.database_away", job_id=job.id, kind=job.kind)
            return Outcome(JobStatus.QUEUED, error=TRIED_TOO_OFTEN)
        except BaseException as error:  # whatever a handler raises, its job must not look as if it were still running
            return self._failed(job, error)

    def _unfit(self, job: Job, error: BaseException, *, counts: bool) -> Outcome:
        stack = None if isinstance(error, ModelError) else error
        log.error("jobs.worker_unfit", worker=self._worker, job_id=job.id, reason=str(error), exc_info=stack)
        return Outcome(JobStatus.QUEUED, error=told(error) or INTERNAL, counts=counts, is_unfit=True)

    def _failed(self, job: Job, error: BaseException) -> Outcome:
        sentence = told(error)
        if sentence is None:
            log.error("jobs.failed", job_id=job.id, kind=job.kind, exc_info=error)
        return Outcome(JobStatus.FAILED, error=sentence or INTERNAL)

    def _write_down(self, context: JobContext, outcome: Outcome) -> str:
        """Returns what has become of the job."""
        # The work may have taken an hour: a database that is away for a minute must not cost it.
        while True:
            try:
                with self._equipment.database.write() as session:
                    job = queries.lock_claimed(session, context.claim)
                    if job is None:
                        return "lost"
                    _apply(job, context, outcome)
                    return job.status
            except DATABASE_AWAY:
                log.warning("jobs.outcome_waits_for_database", job_id=context.job_id)
                if self._stopping.wait(_TRY_AGAIN_AFTER_S):
                    return "not written"


def _apply(job: Job, context: JobContext, outcome: Outcome) -> None:
    job.message = NO_NETWORKS if outcome.is_unfit else context.message
    job.progress = 1.0 if outcome.status is JobStatus.DONE else context.progress
    if outcome.status is JobStatus.QUEUED and outcome.counts:
        service.try_again(job, outcome.error)
    elif outcome.status is JobStatus.QUEUED:
        service.put_back(job)
    else:
        error = outcome.error if outcome.status is JobStatus.FAILED else None
        service.end(job, outcome.status, result=outcome.result, error=error)


def _as_json(result: dict[str, Any]) -> dict[str, Any]:
    """As it will be stored: PostgreSQL takes no NaN, and what cannot be stored should fail here."""
    stored: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    return stored

"""Everything that changes a job: asking for it, cancelling it, claiming it, and writing down how it went.

Each function works in the caller's transaction.
"""

from typing import Any

from sqlalchemy.orm import Session

from app.audit.service import record
from app.db.tables import Job
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.jobs import queries
from app.jobs.rules import DIED_TOO_OFTEN, JobStatus, status_after_loss


def enqueue(session: Session, kind: str, payload: dict[str, Any], by: str) -> Job:
    """Asks for long work; a worker starts it once the caller's transaction is committed.

    `payload` is JSON of ids and numbers. It outlives the job's run: no names, images, embeddings, or paths with names.
    """
    job = Job(
        id=new_id("job"),
        kind=kind,
        payload=payload,
        status=JobStatus.QUEUED,
        progress=0.0,
        attempts=0,
        requested_cancel=False,
        created_by=by,
        created_at=utc_now(),
    )
    session.add(job)
    record(session, by, "job.queued", job.id, {"kind": kind})
    session.flush()
    return job


def get(session: Session, job_id: str) -> Job:
    return _known(queries.job_by_id(session, job_id))


def cancel(session: Session, job_id: str, by: str) -> Job:
    """A queued job is cancelled at once, a running one when it next reports."""
    job = _known(queries.lock_job(session, job_id))
    if JobStatus(job.status).is_final:
        raise ProblemError(409, "job_finished", f"This job is {job.status} already; there is nothing to cancel.")
    if not job.requested_cancel:
        record(session, by, "job.cancelled", job.id, {"kind": job.kind, "status": job.status})
    job.requested_cancel = True
    if job.status == JobStatus.QUEUED:
        end(job, JobStatus.CANCELLED)
    session.flush()
    return job


def claim(session: Session, job_id: str, worker: str) -> Job | None:
    """The job, running and this worker's; None when it is not there to be had."""
    queries.beat(session, worker)  # nobody may hold a job who is not known to be alive
    job = queries.lock_job(session, job_id)
    if job is None or job.status != JobStatus.QUEUED:
        return None
    job.status, job.worker, job.started_at = JobStatus.RUNNING, worker, utc_now()
    job.attempts += 1
    job.progress, job.message = 0.0, None
    session.flush()
    return job


def end(job: Job, status: JobStatus, *, result: dict[str, Any] | None = None, error: str | None = None) -> None:
    """The job is over."""
    job.status, job.result, job.error = status, result, error
    job.finished_at, job.worker = utc_now(), None


def put_back(job: Job, *, counts: bool) -> None:
    """Another worker shall have it; an attempt that ended for no fault of the job's does not count."""
    job.status, job.worker = JobStatus.QUEUED, None
    job.attempts -= 0 if counts else 1


def give_up_all(session: Session, worker: str) -> None:
    """A worker that ends says goodbye, and whatever it still holds is free again."""
    queries.delete_worker(session, worker)  # workers before jobs, as everywhere, so that nobody waits in a circle
    for job in queries.lock_held_by(session, worker):
        put_back(job, counts=False)


def settle_lost(session: Session) -> list[Job]:
    """Sees to the running jobs whose worker is not alive; returns them as they are now."""
    lost = queries.lock_lost(session)
    for job in lost:
        status = status_after_loss(job)
        if status is JobStatus.QUEUED:
            put_back(job, counts=True)
        else:
            end(job, status, error=DIED_TOO_OFTEN if status is JobStatus.FAILED else None)
    session.flush()
    return lost


def _known(job: Job | None) -> Job:
    if job is None:
        raise ProblemError(404, "job_not_found", "There is no job with this id.")
    return job

"""Everything that changes a job: asking for it, cancelling it, claiming it, and writing down how it went.

Each function works in the caller's transaction.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.audit.service import record
from app.db.tables import Job
from app.db.types import new_id, utc_now
from app.errors import ProblemError
from app.jobs import queries, schemas
from app.jobs.handlers import Kinds, built_in, by_queue, queue_of
from app.jobs.rules import DIED_TOO_OFTEN, INTERNAL, MAX_ATTEMPTS, JobStatus, message_of


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


def views(session: Session, jobs: Sequence[Job]) -> list[schemas.Job]:
    """Jobs as the API shows them."""
    messages = _messages(session, jobs)
    views = [schemas.Job.model_validate(job) for job in jobs]
    return [view.model_copy(update={"message": message}) for view, message in zip(views, messages, strict=True)]


def told_message(session: Session, job: Job) -> str | None:
    """What people are told of how far the job is; a queued one says so when there is no worker to start it."""
    return _messages(session, [job])[0]


def workload(session: Session) -> schemas.Workload:
    """What is not over, and who there is to do it. Kinds that only another release knows count in the totals alone."""
    served = queries.served_queues(session)
    queues = []
    for name, kinds in by_queue(built_in()).items():
        n_queued, n_running = queries.n_unfinished(session, kinds)
        n_workers = sum(name in each for each in served)
        queues.append(schemas.Queue(name=name, n_queued=n_queued, n_running=n_running, n_workers=n_workers))
    n_queued, n_running = queries.n_unfinished(session)
    return schemas.Workload(n_queued=n_queued, n_running=n_running, n_workers=len(served), queues=queues)


def cancel(session: Session, job_id: str, by: str) -> Job:
    """A queued job is cancelled at once, a running one when it next reports."""
    job = _known(queries.lock_job(session, job_id))
    if not _cancel(session, job, by):
        raise ProblemError(409, "job_finished", f"This job is {job.status} already; there is nothing to cancel.")
    return job


def cancel_if_running(session: Session, job_id: str, by: str) -> bool:
    """As `cancel`; False when the job is over already, or forgotten."""
    job = queries.lock_job(session, job_id)
    return job is not None and _cancel(session, job, by)


def claim(session: Session, job_id: str, worker: str, kinds: Kinds) -> Job | None:
    """The job, running and this worker's; None when it is not there to be had, or not of the worker's kinds."""
    queries.beat(session, worker, list(by_queue(kinds)))  # nobody may hold a job who is not known to be alive
    job = queries.lock_job(session, job_id)
    if job is None or job.status != JobStatus.QUEUED or job.kind not in kinds:
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


def put_back(job: Job) -> None:
    """Another worker shall have it, and this attempt does not count: that it ended was no fault of the job's."""
    job.attempts -= 1
    _queue_again(job)


def try_again(job: Job, error: str) -> None:
    """As `put_back`, but the attempt counts: after the last one the job has failed, and `error` says why."""
    if job.attempts >= MAX_ATTEMPTS and not job.requested_cancel:
        end(job, JobStatus.FAILED, error=error)
    else:
        _queue_again(job)


def give_up_all(session: Session, worker: str) -> None:
    """A worker that ends says goodbye, and whatever it still holds is free again."""
    queries.delete_worker(session, worker)  # workers before jobs, as everywhere, so that nobody waits in a circle
    for job in queries.lock_held_by(session, worker):
        put_back(job)


def let_go(session: Session, worker: str) -> list[Job]:
    """Puts back what an idle worker holds; returns these jobs as they are now."""
    held = queries.lock_held_by(session, worker)
    for job in held:
        try_again(job, INTERNAL)
    session.flush()
    return held


def settle_lost(session: Session) -> list[Job]:
    """Sees to the running jobs whose worker is not alive; returns them as they are now."""
    lost = queries.lock_lost(session)
    for job in lost:
        try_again(job, DIED_TOO_OFTEN)
    session.flush()
    return lost


def _cancel(session: Session, job: Job, by: str) -> bool:
    """Whether there was anything left to cancel. The job is locked."""
    if JobStatus(job.status).is_final:
        return False
    if not job.requested_cancel:
        record(session, by, "job.cancelled", job.id, {"kind": job.kind, "status": job.status})
    job.requested_cancel = True
    if job.status == JobStatus.QUEUED:
        end(job, JobStatus.CANCELLED)
    session.flush()
    return True


def _queue_again(job: Job) -> None:
    if job.requested_cancel:
        end(job, JobStatus.CANCELLED)
    else:
        job.status, job.worker = JobStatus.QUEUED, None


def _messages(session: Session, jobs: Sequence[Job]) -> list[str | None]:
    """What people are told about each; nobody is looked for who would start them where none is queued."""
    is_any_queued = any(job.status == JobStatus.QUEUED for job in jobs)
    served = queries.served_queues(session) if is_any_queued else []
    return [message_of(job, queue_of(job.kind), served) for job in jobs]


def _known(job: Job | None) -> Job:
    if job is None:
        raise ProblemError(404, "job_not_found", "There is no job with this id.")
    return job

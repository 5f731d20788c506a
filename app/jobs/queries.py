"""All SQL about jobs and workers."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.db.clock import shared_now
from app.db.tables import Job, JobWorker
from app.jobs.rules import SILENT_AFTER_S, Claim, JobStatus


def job_by_id(session: Session, job_id: str) -> Job | None:
    return session.get(Job, job_id)


def list_jobs(
    session: Session,
    *,
    status: str | None,
    kind: str | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Job]:
    """Newest first, older than the job with this `(created_at, id)`."""
    statement = select(Job).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit)
    if status is not None:
        statement = statement.where(Job.status == status)
    if kind is not None:
        statement = statement.where(Job.kind == kind)
    if before is not None:
        statement = statement.where(tuple_(Job.created_at, Job.id) < before)
    return list(session.scalars(statement))


def oldest_queued(session: Session, kinds: Collection[str], limit: int) -> list[str]:
    wanted = Job.status == JobStatus.QUEUED, Job.kind.in_(kinds)
    return list(session.scalars(select(Job.id).where(*wanted).order_by(Job.created_at, Job.id).limit(limit)))


def n_unfinished(session: Session, kinds: Collection[str] | None = None) -> tuple[int, int]:
    """How many jobs, of these kinds only where they are given, are queued, and how many are running."""
    statement = select(Job.status, func.count()).where(Job.finished_at.is_(None)).group_by(Job.status)
    if kinds is not None:
        statement = statement.where(Job.kind.in_(kinds))
    counted = {status: n for status, n in session.execute(statement)}
    return counted.get(JobStatus.QUEUED, 0), counted.get(JobStatus.RUNNING, 0)


def lock_job(session: Session, job_id: str) -> Job | None:
    """A job that nobody else changes until commit."""
    return session.scalars(_locked(Job.id == job_id)).one_or_none()


def lock_claimed(session: Session, claim: Claim) -> Job | None:
    """The claimed job, unchanged by anybody else until commit; None once the claim is lost."""
    held = Job.id == claim.job_id, Job.worker == claim.worker, Job.attempts == claim.attempt
    return session.scalars(_locked(*held, Job.status == JobStatus.RUNNING)).one_or_none()


def lock_held_by(session: Session, worker: str) -> list[Job]:
    return list(session.scalars(_locked(Job.status == JobStatus.RUNNING, Job.worker == worker)))


def lock_lost(session: Session) -> list[Job]:
    """Running jobs whose worker is not alive."""
    lost = Job.status == JobStatus.RUNNING, Job.worker.not_in(select(JobWorker.id))
    return list(session.scalars(_locked(*lost).order_by(Job.created_at)))


def _locked(*conditions: ColumnElement[bool]) -> Select[Job]:
    """Jobs for change, as they are once the lock is had, even if this session has read them before."""
    statement = select(Job).where(*conditions).with_for_update(of=Job)
    return statement.execution_options(populate_existing=True)


def delete_finished(session: Session, before: datetime) -> None:
    session.execute(delete(Job).where(Job.finished_at < before))


def beat(session: Session, worker: str, queues: Sequence[str]) -> None:
    """Says that a worker is alive; also brings back one that was taken for dead."""
    now = shared_now(session)
    row: dict[str, Any] = {"id": worker, "started_at": now, "beat_at": now, "queues": list(queues)}
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(JobWorker).values(row)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"beat_at": now}))


def live_workers(session: Session) -> dict[str, bool]:
    """Who is alive, and whether they are busy with a job."""
    is_busy = exists().where(Job.worker == JobWorker.id, Job.status == JobStatus.RUNNING)
    return {worker: busy for worker, busy in session.execute(select(JobWorker.id, is_busy))}


def served_queues(session: Session) -> list[list[str]]:
    """The queues of each live worker, by what can be said of them where none is left that would bury the silent."""
    heard = JobWorker.beat_at >= shared_now(session) - timedelta(seconds=SILENT_AFTER_S)
    return list(session.scalars(select(JobWorker.queues).where(heard)))


def n_heard_workers(session: Session) -> int:
    return len(served_queues(session))


def delete_worker(session: Session, worker: str) -> None:
    session.execute(delete(JobWorker).where(JobWorker.id == worker))


def delete_silent_workers(session: Session, before: datetime) -> list[str]:
    """Workers whose last heartbeat is older; returns who they were."""
    statement = delete(JobWorker).where(JobWorker.beat_at < before).returning(JobWorker.id)
    return list(session.scalars(statement))

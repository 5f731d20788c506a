"""What a job can be, and what becomes of one whose worker died."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from app.db.tables import Job
from app.db.types import new_id
from app.errors import ProblemError, problem_for

# A job that ended its worker this often is taken for the cause: a fourth worker would die as well.
MAX_ATTEMPTS: Final = 3
# How long a job may take to notice that its worker is ending. After that it is dropped, and started again elsewhere.
GRACE_S: Final = 5.0

DIED_TOO_OFTEN = (
    f"The worker died {MAX_ATTEMPTS} times while it ran this job, so it is not tried again. "
    "The usual cause is too little memory; the server's log may say more."
)
TRIED_TOO_OFTEN = f"The database did not answer in {MAX_ATTEMPTS} attempts at this job, so it is not tried again."
INTERNAL = "Something went wrong while this job ran. The server's log has the reason under the job's id."


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to one attempt at one job; it is lost when the job is given to another."""

    job_id: str
    worker: str
    attempt: int

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(job.id, job.worker or "", job.attempts)


def new_worker_id() -> str:
    return new_id("wrk")


class JobError(Exception):
    """Raised by a handler: the job has failed, and the message is a sentence for the person who asked for it."""


def status_after_loss(job: Job) -> JobStatus:
    """What a job becomes whose worker is gone."""
    if job.requested_cancel:
        return JobStatus.CANCELLED
    return JobStatus.FAILED if job.attempts >= MAX_ATTEMPTS else JobStatus.QUEUED


def told(error: BaseException) -> str | None:
    """What an error says to a person; None when it was not meant for one."""
    if isinstance(error, JobError):
        return str(error)
    problem = problem_for(error) if isinstance(error, Exception) else ProblemError(500, "internal_error", "")
    return None if problem.code == "internal_error" else problem.detail

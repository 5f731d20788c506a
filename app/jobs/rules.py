"""What a job can be, and what becomes of one whose worker died."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from app.db.tables import Job
from app.db.types import new_id
from app.errors import problem_for

# A job that ended its worker this often is taken for the cause: a fourth worker would die as well.
MAX_ATTEMPTS: Final = 3
# How long a job may take to notice that its worker is ending. After that it is dropped, and started again elsewhere.
GRACE_S: Final = 5.0
# However long ROLLCALL_WORKER_TIMEOUT_S is, a worker says this often that it is alive.
BEAT_AT_LEAST_EVERY_S: Final = 10.0
# Hence one that is silent for this long is not, even where no other worker is left to bury it.
SILENT_AFTER_S: Final = 60.0

DIED_TOO_OFTEN = (
    f"The worker died {MAX_ATTEMPTS} times while it ran this job, so it is not tried again. "
    "The usual cause is too little memory; the server's log may say more."
)
TRIED_TOO_OFTEN = f"The database did not answer in {MAX_ATTEMPTS} attempts at this job, so it is not tried again."
NO_NETWORKS = "The worker cannot load its networks; the log says why."
NO_WORKER = "No worker is running: start one with `rollcall worker`, or set ROLLCALL_WORKERS."
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


def no_worker_for(queue: str) -> str:
    return f"No worker serves the queue `{queue}`: start one with `rollcall worker --queues {queue}`."


def message_of(job: Job, queue: str | None, served: Sequence[Collection[str]]) -> str | None:
    """What people are told about a job: one that waits for nobody must not look as if it were about to start.

    `served` are the queues of each worker. Of a job whose queue only another release knows, nothing is said.
    """
    if job.status != JobStatus.QUEUED or job.message == NO_NETWORKS:
        return job.message
    if not served:
        return NO_WORKER
    if queue is not None and not any(queue in queues for queues in served):
        return no_worker_for(queue)
    return job.message


def told(error: BaseException) -> str | None:
    """What an error says to a person; None when it was not meant for one."""
    if not isinstance(error, Exception):
        return None
    problem = problem_for(error)
    return None if problem.code == "internal_error" else problem.detail

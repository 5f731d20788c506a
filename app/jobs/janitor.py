"""Sees to the jobs of workers that died, and throws away what is old."""

from collections.abc import Callable
from datetime import timedelta
from time import time

import structlog

from app.db.clock import shared_now
from app.db.engine import Database
from app.db.tables import Job
from app.jobs import queries, service

log = structlog.get_logger(__name__)


class Watch:
    """Takes for dead who is silent for too long, unless it was ourselves who did not listen."""

    def __init__(self, database: Database, timeout_s: float, clock: Callable[[], float] = time) -> None:
        self._database = database
        self._timeout_s = timeout_s
        # By the wall clock, because others do not run while a laptop sleeps, and the monotonic one does not see that.
        self._clock = clock
        self._looked_at_s = clock()
        self._trusts_silence_from_s = self._looked_at_s

    def look(self) -> None:
        """To be called several times within the timeout."""
        now_s = self._clock()
        if now_s - self._looked_at_s > self._timeout_s / 2:
            # The machine slept, or the database was away: nobody could be heard, and all need a moment to speak up.
            self._trusts_silence_from_s = now_s + self._timeout_s / 2
        if now_s >= self._trusts_silence_from_s:
            bury_silent(self._database, self._timeout_s)
        else:
            _ask(self._database)
        self._looked_at_s = now_s


def bury_silent(database: Database, timeout_s: float) -> None:
    """Takes for dead who has not been heard of for `timeout_s`, and frees their jobs in the same transaction."""
    with database.write() as session:
        dead = queries.delete_silent_workers(session, shared_now(session) - timedelta(seconds=timeout_s))
        lost = service.settle_lost(session)
    for worker in dead:
        log.warning("jobs.worker_silent", worker=worker)
    _log_lost(lost)


def bury(database: Database, worker: str) -> None:
    """As `bury_silent`, at once, for a worker that is known to have ended."""
    with database.write() as session:
        queries.delete_worker(session, worker)
        lost = service.settle_lost(session)
    _log_lost(lost)


def purge(database: Database, retention_days: int) -> None:
    """Forgets jobs that ended long ago."""
    with database.write() as session:
        queries.delete_finished(session, shared_now(session) - timedelta(days=retention_days))


def _ask(database: Database) -> None:
    """Fails while the database is away."""
    with database.read() as session:
        shared_now(session)


def _log_lost(lost: list[Job]) -> None:
    for job in lost:
        log.warning("jobs.lost_its_worker", job_id=job.id, kind=job.kind, attempts=job.attempts, now=job.status)

"""The process that runs jobs: `rollcall worker`, and what `rollcall serve` starts beside itself."""

import logging
import os
import signal
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, BinaryIO, NoReturn

import structlog

from app.db.engine import database_url, open_database
from app.db.migrate import upgrade
from app.jobs import janitor, queries, service
from app.jobs.context import Equipment
from app.jobs.dbos_queue import DbosQueues
from app.jobs.dispatcher import Dispatcher
from app.jobs.handlers import Kinds, by_queue
from app.jobs.rules import BEAT_AT_LEAST_EVERY_S, GRACE_S
from app.jobs.runner import JobRunner
from app.logs import log_failure
from app.settings import Settings

# Heartbeats within a worker's timeout: a few may be late before it counts as dead.
_BEATS_PER_TIMEOUT = 5
_LOOK_EVERY_S = 0.25
_PURGE_EVERY_S = 60.0
# Pause after a failure: the database is probably away.
_REST_S = 1.0

log = structlog.get_logger(__name__)


class Worker:
    """Runs jobs of its kinds one at a time, says that it is alive, and sees to the jobs of workers that are not.

    `when_unfit` is called when it turns out that it cannot do any: then it shall be stopped.
    """

    def __init__(self, settings: Settings, kinds: Kinds, worker_id: str, when_unfit: Callable[[], None]) -> None:
        self._settings = settings
        self._id = worker_id
        self._queues = list(by_queue(kinds))
        # Two ends: from the first on no job is begun, until the second the heartbeat goes on.
        self._stopping, self._ended = Event(), Event()
        self._database = open_database(settings)
        self._equipment = Equipment(settings, self._database)
        self._runner = JobRunner(worker_id, self._equipment, kinds, self._stopping, when_unfit)
        self._dbos = DbosQueues(database_url(settings), worker_id, self._queues, self._runner.run)
        self._dispatcher = Dispatcher(self._database, self._dbos.hand_over, kinds)
        self._watch = janitor.Watch(self._database, settings.worker_timeout_s)

    def start(self) -> None:
        upgrade(self._database.engine)
        self._beat()
        self._dbos.start()
        beat_every_s = min(self._settings.worker_timeout_s / _BEATS_PER_TIMEOUT, BEAT_AT_LEAST_EVERY_S)
        self._repeat("job-heartbeat", self._beat, beat_every_s, self._ended)
        self._repeat("job-watch", self._watch.look, beat_every_s, self._stopping)
        self._repeat("job-leftovers", self._runner.let_go, beat_every_s, self._stopping)
        self._repeat("job-dispatcher", self._dispatcher.look, _LOOK_EVERY_S, self._stopping)
        self._repeat("job-purge", self._purge, _PURGE_EVERY_S, self._stopping)
        log.info("jobs.worker_started", worker=self._id, queues=self._queues)

    def stop(self) -> None:
        """Ask the running job to end, wait for it a little, and put back what is left of it."""
        self._stopping.set()
        if not self._runner.wait_until_idle(GRACE_S):
            log.warning("jobs.dropped_at_the_end", worker=self._id)
        self._ended.set()
        with self._database.write() as session:
            service.give_up_all(session, self._id)
        self._equipment.close()
        log.info("jobs.worker_ended", worker=self._id)

    def _beat(self) -> None:
        with self._database.write() as session:
            queries.beat(session, self._id, self._queues)

    def _purge(self) -> None:
        janitor.purge(self._database, self._settings.job_retention_days)
        self._dbos.forget_ended()

    def _repeat(self, name: str, work: Callable[[], None], every_s: float, until: Event) -> None:
        def loop() -> None:
            while not until.wait(every_s):
                try:
                    work()
                except Exception as error:  # a thread that died would go unnoticed
                    log_failure(log, "jobs.worker_failed", error, part=name)
                    until.wait(_REST_S)

        Thread(target=loop, name=name, daemon=True).start()


def run_worker(settings: Settings, kinds: Kinds, worker_id: str, parent: BinaryIO | None = None) -> NoReturn:
    """Be a worker until a signal says otherwise, or until `parent`, a pipe from whoever started us, is closed.

    Exits with status 1 when it turns out to be unfit for jobs, so that whoever keeps workers starts another one later.
    """
    # Filled by signal handlers, which may interrupt anything: of all ways to wake a thread only this one allows that.
    asked_to_end: SimpleQueue[int] = SimpleQueue()

    def end(*_: Any) -> None:
        asked_to_end.put(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if parent is not None:
        Thread(target=_end_with, args=(parent, end), name="parent-watch", daemon=True).start()
    worker = Worker(settings, kinds, worker_id, when_unfit=lambda: asked_to_end.put(1))
    worker.start()
    _leave(worker, asked_to_end.get())


def _end_with(parent: BinaryIO, end: Callable[[], None]) -> None:
    """However the parent dies, the system closes its end of the pipe."""
    parent.read()
    end()


def _leave(worker: Worker, status: int) -> NoReturn:
    try:
        worker.stop()
    except Exception:  # the others will find out by our silence
        log.exception("jobs.goodbye_failed")
    finally:
        logging.shutdown()
        # No orderly end of threads that may be deep in a network: whatever is cut off here is made to survive kill -9.
        os._exit(status)

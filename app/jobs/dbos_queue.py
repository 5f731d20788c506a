"""The only file that imports DBOS: it decides which worker tries which job next, and is not trusted beyond that.

Its own records are disposable. They are a separate SQLite file, because Alembic would drop its tables in ours, or the
schema `dbos` in our PostgreSQL database, which Alembic does not look at. What is missing there is handed over again.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Final

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, WorkflowStatus
from sqlalchemy import URL

from app.db.engine import make_engine

WORKFLOW: Final = "run_job"
# DBOS starts only what was enqueued under the same version, so ours is no release number: every release can run a job
# that another one enqueued, since all that is handed over is an id.
VERSION: Final = "1"
_FILE = "jobs.sqlite3"
# Latency of a start against load when idle: 0.1 s costs 3 % of a core, 0.25 s 1.6 %, measured; that for each queue.
_POLL_EVERY_S = 0.25
_CONNECTIONS = 4
_FORGOTTEN_AT_ONCE = 500
_WAITING = {"ENQUEUED", "DELAYED"}
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class DbosQueues:
    """Calls `run(job_id)` in this process, one at a time of each queue, for jobs that any worker has handed over.

    A process that is busy with one queue's job may so be given one of each other queue. It keeps them for when it has
    its hands free, and takes no more; an idle worker takes them from it.
    """

    def __init__(self, url: URL, worker: str, queues: Sequence[str], run: Callable[[str], None]) -> None:
        self._url = url
        self._worker = worker
        self._queues = [_named(queue) for queue in queues]
        self._run = run

    def start(self) -> None:
        """Begin to run jobs. Only worker processes may do this: a launched runtime polls for work of its own accord."""
        logging.getLogger("dbos").addHandler(logging.NullHandler())  # else it adds one that prints past our format
        DBOS(config=self._config())
        DBOS.workflow(name=WORKFLOW)(_started_by_dbos(self._run))
        DBOS.listen_queues(self._queues)
        DBOS.launch()
        for queue in self._queues:
            DBOS.register_queue(
                queue, worker_concurrency=1, polling_interval_sec=_POLL_EVERY_S, on_conflict="always_update"
            )

    def hand_over(self, queue: str, job_ids: Sequence[str], is_busy: Mapping[str, bool]) -> None:
        """Sees to it that each of these queued jobs will be started by somebody; `is_busy` has every live worker."""
        listed = DBOS.list_workflows(workflow_ids=list(job_ids), load_input=False, load_output=False)
        known = {workflow.workflow_id: workflow for workflow in listed}
        for job_id in job_ids:
            if not self._is_taken(known.get(job_id), is_busy):
                _enqueue(_named(queue), job_id, known.get(job_id))

    def forget_ended(self) -> None:
        """Throws away records of what is over; the jobs' own rows say all there is to say."""
        ended = DBOS.list_workflows(status=_ENDED, limit=_FORGOTTEN_AT_ONCE, load_input=False, load_output=False)
        if ended:
            DBOS.delete_workflows([workflow.workflow_id for workflow in ended])

    def _is_taken(self, known: WorkflowStatus | None, is_busy: Mapping[str, bool]) -> bool:
        """Whether a live worker has it, and nobody else should."""
        is_holder_busy = None if known is None else is_busy.get(known.executor_id or "")
        if known is None or known.status != "PENDING" or is_holder_busy is None:
            return False
        # An idle one is about to claim it, or about to say that it put it back. From a busy one only we who are idle
        # take it: nobody else would start it any sooner.
        return not is_holder_busy or is_busy.get(self._worker, True)

    def _config(self) -> DBOSConfig:
        config = DBOSConfig(
            name="rollcall",
            application_version=VERSION,
            executor_id=self._worker,
            log_level="WARNING",
            serializer=DBOSPortableJSONSerializer(),  # its default is pickle, which runs what the database says
            sys_db_pool_size=_CONNECTIONS,
            use_listen_notify=False,  # for messages between workflows, which we do not send
        )
        if self._url.get_backend_name() == "sqlite":
            config["system_database_url"] = f"sqlite:///{_wal_file(self._url)}"
        else:
            config["system_database_engine"] = make_engine(self._url, pool_size=_CONNECTIONS)
        return config


def _named(queue: str) -> str:
    return f"rollcall-{queue}"


def _enqueue(queue: str, job_id: str, known: WorkflowStatus | None) -> None:
    # Kinds may change their queue from release to release.
    is_there = known is not None and (known.queue_name, known.app_version) == (queue, VERSION)
    if known is not None and is_there and known.status in _WAITING:
        return
    if known is not None and is_there and known.status == "PENDING":
        DBOS.resume_workflow(job_id, queue_name=queue)
        return
    if known is not None:  # it ended there, but the job is queued, so it shall run again
        DBOS.delete_workflow(job_id)
    options = {"workflow_name": WORKFLOW, "queue_name": queue, "workflow_id": job_id, "app_version": VERSION}
    DBOS.enqueue_workflow_with_options(options, job_id)  # type: ignore[arg-type]


def _started_by_dbos(run: Callable[[str], None]) -> Callable[[str], None]:
    # DBOS finds a workflow's argument types by its annotations, which a bound method or a partial may not have.
    def start(job_id: str) -> None:
        run(job_id)

    return start


def _wal_file(url: URL) -> Path:
    """Beside the database, so that each has its own; in WAL mode, three times as fast, which DBOS leaves to us."""
    path = Path(url.database or "").absolute().with_name(_FILE)
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return path

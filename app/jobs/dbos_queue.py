"""The only file that imports DBOS: it decides which worker tries which job next, and is not trusted beyond that.

Its own records are disposable. They are a separate SQLite file, because Alembic would drop its tables in ours, or the
schema `dbos` in our PostgreSQL database, which Alembic does not look at. What is missing there is handed over again.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Final

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, WorkflowStatus
from sqlalchemy import URL

from app.db.engine import make_engine

QUEUE: Final = "rollcall-jobs"
WORKFLOW: Final = "run_job"
# DBOS starts only what was enqueued under the same version, so ours is no release number: every release can run a job
# that another one enqueued, since all that is handed over is an id.
VERSION: Final = "1"
_FILE = "jobs.sqlite3"
# Latency of a start against load when idle: 0.1 s costs 3 % of a core, 0.25 s 1.6 %, measured.
_POLL_EVERY_S = 0.25
_CONNECTIONS = 4
_FORGOTTEN_AT_ONCE = 500
_WAITING = {"ENQUEUED", "DELAYED"}
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class DbosQueue:
    """Calls `run(job_id)` in this process, one at a time, for jobs that any worker has handed over."""

    def __init__(self, url: URL, worker: str, run: Callable[[str], None]) -> None:
        self._url = url
        self._worker = worker
        self._run = run

    def start(self) -> None:
        """Begin to run jobs. Only worker processes may do this: a launched runtime polls for work of its own accord."""
        logging.getLogger("dbos").addHandler(logging.NullHandler())  # else it adds one that prints past our format
        DBOS(config=self._config())
        DBOS.workflow(name=WORKFLOW)(_started_by_dbos(self._run))
        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        DBOS.register_queue(
            QUEUE, worker_concurrency=1, polling_interval_sec=_POLL_EVERY_S, on_conflict="always_update"
        )

    def hand_over(self, job_ids: Sequence[str], live_workers: Collection[str]) -> None:
        """Sees to it that each of these queued jobs will be started by somebody."""
        listed = DBOS.list_workflows(workflow_ids=list(job_ids), load_input=False, load_output=False)
        known = {workflow.workflow_id: workflow for workflow in listed}
        for job_id in job_ids:
            self._hand_over(job_id, known.get(job_id), live_workers)

    def forget_ended(self) -> None:
        """Throws away records of what is over; the jobs' own rows say all there is to say."""
        ended = DBOS.list_workflows(status=_ENDED, limit=_FORGOTTEN_AT_ONCE, load_input=False, load_output=False)
        if ended:
            DBOS.delete_workflows([workflow.workflow_id for workflow in ended])

    def _hand_over(self, job_id: str, known: WorkflowStatus | None, live_workers: Collection[str]) -> None:
        is_ours = known is not None and known.app_version == VERSION
        if known is not None and is_ours and known.status in _WAITING:
            return
        if known is not None and known.status == "PENDING" and known.executor_id in live_workers:
            return  # about to claim it, or about to say that it put it back
        if known is not None and is_ours and known.status == "PENDING":
            DBOS.resume_workflow(job_id, queue_name=QUEUE)
            return
        if known is not None:  # it ended there, but the job is queued, so it shall run again
            DBOS.delete_workflow(job_id)
        options = {"workflow_name": WORKFLOW, "queue_name": QUEUE, "workflow_id": job_id, "app_version": VERSION}
        DBOS.enqueue_workflow_with_options(options, job_id)  # type: ignore[arg-type]

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

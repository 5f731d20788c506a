"""The workers that `rollcall serve` runs beside itself: started with it, restarted when they die, ended with it."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from threading import Event, Lock, Thread
from time import monotonic

import structlog

from app.db.engine import Database
from app.jobs import janitor
from app.jobs.rules import GRACE_S, new_worker_id

# A worker that dies at once is started again ever later, so that a machine in trouble is not kept busy with that.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
# One that lived this long is no such worker.
_HEALTHY_AFTER_S = 60.0
_END_WITHIN_S = GRACE_S + 5.0
# Nobody waits for a job in front of a camera: beside the server, on the same cores, a worker gets what is left over.
# From a server that never rests it still gets a tenth, so that it can say that it is alive.
_NICENESS = 10

log = structlog.get_logger(__name__)


def pause_after(lived_s: float, previous_pause_s: float) -> float:
    """How long to wait before a dead worker is replaced."""
    if lived_s >= _HEALTHY_AFTER_S or previous_pause_s == 0.0:
        return _FIRST_PAUSE_S
    return min(2 * previous_pause_s, _LONGEST_PAUSE_S)


class WorkerProcesses:
    """Keeps `n_workers` children alive.

    Each has its standard input from us: when we die, even by kill -9, the system closes it, and the child ends. It is
    in a session of its own, so that Ctrl-C reaches it through us, after the last request.
    """

    def __init__(self, database: Database, n_workers: int, handlers: str | None = None) -> None:
        self._database = database
        self._handlers = handlers
        self._stopping = Event()
        self._starting = Lock()
        self._children: dict[str, Popen[bytes]] = {}
        self._keepers = [Thread(target=self._keep, name=f"worker-{n}", daemon=True) for n in range(n_workers)]

    def start(self) -> None:
        for keeper in self._keepers:
            keeper.start()

    def stop(self) -> None:
        """End them in good order; whoever takes too long is killed."""
        with self._starting:
            self._stopping.set()
            children = list(self._children.values())
        for child in children:
            _ask_to_end(child)
        until = monotonic() + _END_WITHIN_S
        for child in children:
            try:
                child.wait(max(until - monotonic(), 0.0))
            except TimeoutExpired:
                child.kill()
        for keeper in self._keepers:
            keeper.join()

    def _keep(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            worker_id, started_s = new_worker_id(), monotonic()
            try:
                status = self._run(worker_id)
            except OSError:  # no memory or no process to be had: a keeper that died would go unnoticed
                log.exception("jobs.worker_not_started")
                status = None
            self._bury(worker_id)
            pause_s = pause_after(monotonic() - started_s, pause_s)
            if not self._stopping.is_set():
                say = log.error if status else log.info  # 0: somebody asked it to end
                say("jobs.worker_gone", worker=worker_id, exit_status=status, restart_in_s=pause_s)

    def _run(self, worker_id: str) -> int:
        """One child, from start to end; returns its exit status."""
        with self._starting:
            if self._stopping.is_set():
                return 0
            child = Popen(self._command(worker_id), stdin=PIPE, start_new_session=True)
            self._children[worker_id] = child
        _step_back(child.pid)
        return child.wait()

    def _command(self, worker_id: str) -> list[str]:
        more = [] if self._handlers is None else ["--handlers", self._handlers]
        # -P: a folder `app` where the service was started is not ours.
        return [sys.executable, "-P", "-m", "app.jobs", "--id", worker_id, *more]

    def _bury(self, worker_id: str) -> None:
        self._children.pop(worker_id, None)
        try:
            janitor.bury(self._database, worker_id)
        except Exception:  # the database is away; other workers will notice the silence
            log.exception("jobs.burial_failed", worker=worker_id)


def _step_back(pid: int) -> None:
    """Lower a child's priority, where the system knows of such a thing, before it has started any thread.

    Some Linux systems share the cores out among sessions first: there a session of its own has its own priority.
    """
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS), encoding="ascii")


def _ask_to_end(child: Popen[bytes]) -> None:
    with suppress(OSError):  # it is gone already
        if child.stdin is not None:
            child.stdin.close()

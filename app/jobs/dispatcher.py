"""Sees to it that every queued job is handed over to whatever starts jobs.

A worker of another release may be handed a kind that it does not know. It leaves the job alone, and whoever knows the
kind hands it over again when they next compare. Then, too, an idle worker gets what a busy one keeps for later.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from time import monotonic

from app.db.engine import Database
from app.jobs import queries
from app.jobs.handlers import Kinds, by_queue

# How often all queued jobs are compared with the records there, which may be lost, or be those of a dead worker.
_COMPARE_EVERY_S = 5.0
# Jobs of one queue that wait there at a time, the oldest first; the others wait in our table.
_HANDED_OVER_AT_MOST = 100

HandOver = Callable[[str, Sequence[str], Mapping[str, bool]], None]
"""Takes a queue, the ids of jobs in it, and which workers live and are busy; doing it twice is doing it once."""


class Dispatcher:
    """Looks for queued jobs. Every worker has one: the first to look hands a job over, and any may start it.

    Kinds that its own worker does not know it leaves to others, else they would keep those back that it does know.
    """

    def __init__(
        self,
        database: Database,
        hand_over: HandOver,
        kinds: Kinds,
        compare_every_s: float = _COMPARE_EVERY_S,
    ) -> None:
        self._database = database
        self._hand_over = hand_over
        self._kinds_by_queue = by_queue(kinds)
        self._handed_over: frozenset[str] = frozenset()
        self._compare_every_s = compare_every_s
        self._compared_at_s = -compare_every_s

    def look(self) -> None:
        with self._database.read() as session:
            queued = {
                queue: queries.oldest_queued(session, kinds, _HANDED_OVER_AT_MOST)
                for queue, kinds in self._kinds_by_queue.items()
            }
            workers = queries.live_workers(session) if any(queued.values()) else {}
        known = frozenset[str]() if self._is_time_to_compare() else self._handed_over
        for queue, job_ids in queued.items():
            if due := [job_id for job_id in job_ids if job_id not in known]:
                self._hand_over(queue, due, workers)
        self._handed_over = frozenset(chain.from_iterable(queued.values()))

    def _is_time_to_compare(self) -> bool:
        is_time = monotonic() - self._compared_at_s >= self._compare_every_s
        if is_time:
            self._compared_at_s = monotonic()
        return is_time

"""Sees to it that every queued job is handed over to whatever starts jobs.

A worker of another release may be handed a kind that it does not know. It leaves the job alone, and whoever knows the
kind hands it over again when they next compare.
"""

from collections.abc import Callable, Collection, Sequence
from time import monotonic

from app.db.engine import Database
from app.jobs import queries

# How often all queued jobs are compared with the records there, which may be lost, or be those of a dead worker.
_COMPARE_EVERY_S = 5.0
# Jobs that wait there at a time, the oldest first; the others wait in our table.
_HANDED_OVER_AT_MOST = 100

HandOver = Callable[[Sequence[str], Collection[str]], None]
"""Takes the ids of queued jobs and of live workers; doing it twice is doing it once."""


class Dispatcher:
    """Looks for queued jobs. Every worker has one: the first to look hands a job over, and any may start it.

    Kinds that its own worker does not know it leaves to others, else they would keep those back that it does know.
    """

    def __init__(
        self,
        database: Database,
        hand_over: HandOver,
        kinds: Collection[str],
        compare_every_s: float = _COMPARE_EVERY_S,
    ) -> None:
        self._database = database
        self._hand_over = hand_over
        self._kinds = kinds
        self._handed_over: frozenset[str] = frozenset()
        self._compare_every_s = compare_every_s
        self._compared_at_s = -compare_every_s

    def look(self) -> None:
        with self._database.read() as session:
            queued = queries.oldest_queued(session, self._kinds, _HANDED_OVER_AT_MOST)
            alive = queries.live_workers(session) if queued else set()
        due = queued if self._is_time_to_compare() else [each for each in queued if each not in self._handed_over]
        if due:
            self._hand_over(due, alive)
        self._handed_over = frozenset(queued)

    def _is_time_to_compare(self) -> bool:
        is_time = monotonic() - self._compared_at_s >= self._compare_every_s
        if is_time:
            self._compared_at_s = monotonic()
        return is_time

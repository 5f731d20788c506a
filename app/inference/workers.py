"""Which worker gets the next batch, and which get none for a while: a circuit breaker for each."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from threading import Condition
from time import monotonic
from typing import Final

# Failures in a row that are no accident, such as a connection that was closed while nobody used it.
FAILURES_TO_OPEN: Final = 3
# A worker that has failed is asked again after the first, and then after twice as long each time. Asking costs it next
# to nothing and makes nobody wait, so one that has come back should not be left alone for long.
FIRST_REST_S: Final = 0.5
LONGEST_REST_S: Final = 8.0
# However long a busy worker says that it will be: meanwhile others have left its queue.
LONGEST_BUSY_S: Final = 2.0


class Circuit(StrEnum):
    """CLOSED: gets batches. OPEN: gets none. HALF_OPEN: gets none but one probe, which is on its way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one worker's health; times are seconds of one monotonic clock."""

    circuit: Circuit = Circuit.CLOSED
    n_failures: int = 0
    rest_s: float = 0.0
    probe_at_s: float = 0.0

    def after_success(self) -> "Breaker":
        return Breaker()

    def after_failure(self, now_s: float, *, is_certain: bool) -> "Breaker":
        """`is_certain`: one failure of this kind is enough."""
        if self.circuit is Circuit.OPEN:  # of a batch that was on its way already: this says nothing new
            return self
        n_failures = self.n_failures + 1
        if self.circuit is Circuit.CLOSED and not is_certain and n_failures < FAILURES_TO_OPEN:
            return replace(self, n_failures=n_failures)
        rest_s = min(max(2 * self.rest_s, FIRST_REST_S), LONGEST_REST_S)
        return Breaker(Circuit.OPEN, n_failures, rest_s, now_s + rest_s)

    def wants_probe(self, now_s: float) -> bool:
        return self.circuit is Circuit.OPEN and now_s >= self.probe_at_s

    def probed(self) -> "Breaker":
        """A probe is on its way; what comes of it is told by the two above."""
        return replace(self, circuit=Circuit.HALF_OPEN)


@dataclass(slots=True)
class Worker:
    """One address that batches are sent to; changed by `Workers` alone."""

    url: str
    breaker: Breaker = field(default_factory=Breaker)
    busy_until_s: float = 0.0
    n_under_way: int = 0
    n_answered: int = 0
    n_failed: int = 0


class Workers:
    """The workers and their breakers; safe for any number of threads."""

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = monotonic) -> None:
        self._workers = [Worker(url) for url in urls]
        self._clock = clock
        self._none_since_s: float | None = None
        self._changed = Condition()

    def take(self, avoided: Collection[str] = ()) -> Worker | None:
        """The worker for the next batch: of those that are well and not busy the one with the least to do.

        Whoever takes one says afterwards how it went: `answered`, `was_busy` or `failed`.
        """
        with self._changed:
            now_s = self._clock()
            able = [
                worker
                for worker in self._workers
                if worker.breaker.circuit is Circuit.CLOSED
                and worker.busy_until_s <= now_s
                and worker.url not in avoided
            ]
            if not able:
                return None
            chosen = min(able, key=lambda worker: worker.n_under_way)
            # Whoever comes next finds another one first, where they have equally much to do.
            self._workers.remove(chosen)
            self._workers.append(chosen)
            chosen.n_under_way += 1
            return chosen

    def take_for_probe(self) -> Worker | None:
        """A worker that has rested long enough, to be told a success or a failure of."""
        with self._changed:
            due = (worker for worker in self._workers if worker.breaker.wants_probe(self._clock()))
            chosen = next(due, None)
            if chosen is not None:
                chosen.breaker = chosen.breaker.probed()
                chosen.n_under_way += 1
            return chosen

    def answered(self, worker: Worker) -> None:
        with self._changed:
            worker.n_answered += 1
            self._put_back(worker, worker.breaker.after_success())

    def was_busy(self, worker: Worker, for_s: float) -> None:
        """It lives, and its queue is full."""
        with self._changed:
            worker.busy_until_s = self._clock() + min(for_s, LONGEST_BUSY_S)
            self._put_back(worker, worker.breaker.after_success())

    def failed(self, worker: Worker, *, is_certain: bool = False) -> None:
        with self._changed:
            worker.n_failed += 1
            self._put_back(worker, worker.breaker.after_failure(self._clock(), is_certain=is_certain))

    def rest(self, url: str) -> None:
        """Send nothing there before a probe has succeeded."""
        worker = next(worker for worker in self._workers if worker.url == url)
        with self._changed:
            self._set(worker, worker.breaker.after_failure(self._clock(), is_certain=True))

    def are_busy(self) -> bool:
        """Whether some worker is well, and all that are well are busy."""
        with self._changed:
            well = [worker for worker in self._workers if worker.breaker.circuit is Circuit.CLOSED]
            return bool(well) and all(worker.busy_until_s > self._clock() for worker in well)

    def away_s(self) -> float | None:
        """For how long no worker has been well; None where one is."""
        with self._changed:
            return None if self._none_since_s is None else self._clock() - self._none_since_s

    def wait_for_change(self, timeout_s: float) -> None:
        """Until something was said of some worker, or the time is over."""
        with self._changed:
            self._changed.wait(timeout_s)

    def snapshot(self) -> list[Worker]:
        """How all of them are now, in the order of their addresses."""
        with self._changed:
            return sorted((replace(worker) for worker in self._workers), key=lambda worker: worker.url)

    def _put_back(self, worker: Worker, breaker: Breaker) -> None:
        worker.n_under_way -= 1
        self._set(worker, breaker)

    def _set(self, worker: Worker, breaker: Breaker) -> None:
        worker.breaker = breaker
        if any(each.breaker.circuit is Circuit.CLOSED for each in self._workers):
            self._none_since_s = None
        elif self._none_since_s is None:
            self._none_since_s = self._clock()
        self._changed.notify_all()

"""One queue of asks before the networks: whoever asks at the same time is run together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from threading import Condition, Thread
from time import monotonic

import structlog
from prometheus_client import Metric

from app.inference.admission import (
    NOTHING,
    Admission,
    InferenceBusyError,
    InferenceClosedError,
    Size,
    fits_memory,
)
from app.inference.away import InferenceAwayError
from app.inference.lanes import Lanes, Waiting
from app.inference.metrics import InferenceMetrics
from app.inference.port import MAX_FACES, Analysis, Ask, BatchRunner, EngineInfo, Lane, ModelNotHeldError
from ml.backbones.card import ModelCard
from ml.backbones.trained_file import TrainedWeights
from ml.errors import ModelError
from ml.types import Chip, FloatArray, RgbImage

MOST_WAITING = 64
# Refusals come by the hundred: the log hears of them this often.
_TELL_EVERY_S = 10.0

log = structlog.get_logger(__name__)


class BatchedInference:
    """Inference through one runner, which may be the networks of this process or other machines.

    As many threads as the runner takes batches at once wait for asks. An idle runner starts at once; what comes
    meanwhile shares the next batch, interactive and bulk work never in the same one. Each lane holds `most_waiting`
    images: beyond that, or as `app.inference.admission` rules, interactive asks are refused and bulk ones wait.
    """

    def __init__(self, runner: BatchRunner, *, most_waiting: int = MOST_WAITING) -> None:
        self._runner = runner
        self._metrics = InferenceMetrics()
        self._most_waiting = most_waiting
        self._changed = Condition()  # guards everything below
        self._lanes = Lanes(runner.limits)
        self._admission = Admission(most_waiting, runner.limits.max_images, runner.n_at_once)
        # One is always left to whoever stands at a door: other machines may keep a bulk batch waiting for a minute.
        self._most_bulk = max(1, runner.n_at_once - 1)
        self._n_bulk = 0
        self._n_reserved = 0
        self._n_batches = 0
        self._n_refused, self._told_s = 0, -_TELL_EVERY_S
        self._is_closed = False
        self._threads = [Thread(target=self._work, name=f"inference-{n}", daemon=True) for n in range(runner.n_at_once)]
        for thread in self._threads:
            thread.start()

    @property
    def card(self) -> ModelCard:
        return self._runner.card

    @property
    def info(self) -> EngineInfo:
        return self._runner.info

    @property
    def models(self) -> Sequence[str]:
        return self._runner.models

    @property
    def takes_chips(self) -> bool:
        return self._runner.takes_chips

    def card_of(self, model: str) -> ModelCard:
        return self._runner.card_of(model)

    def hold(self, model: str, backbone: str, weights: TrainedWeights | None) -> None:
        self._runner.hold(model, backbone, weights)

    def describe(self, model: str, card: ModelCard) -> None:
        self._runner.describe(model, card)

    def serve(self, model: str) -> None:
        self._runner.serve(model)

    def let_go(self, model: str) -> None:
        self._runner.let_go(model)

    def embed_chips(self, chips: Sequence[Chip], model: str | None = None) -> FloatArray:
        return self._runner.embed_chips(chips, model)

    def check_room(self) -> None:
        with self._changed:
            self._admit(self._admission.usual)

    @contextmanager
    def place(self) -> Iterator["_Place"]:
        with self._changed:
            self._admit(self._admission.usual)
            self._n_reserved += 1
        place = _Place(self._enqueue, self._unreserve)
        try:
            yield place
        finally:
            place.leave()

    def submit(self, ask: Ask, lane: Lane = Lane.INTERACTIVE) -> Future[Analysis]:
        waiting = Waiting(ask, lane, monotonic())
        with self._changed:
            if lane is Lane.BULK:
                self._changed.wait_for(lambda: self._is_closed or self._has_bulk_room(waiting.size))
            else:
                self._admit(waiting.size)
            return self._add(waiting)

    def analyze(
        self,
        images: Sequence[RgbImage],
        max_faces: int = MAX_FACES,
        lane: Lane = Lane.INTERACTIVE,
        model: str | None = None,
    ) -> Analysis:
        return self.submit(Ask(images, max_faces, model), lane).result()

    def collect(self) -> Iterable[Metric]:
        with self._changed:
            waiting = {lane: self._lanes.size(lane).n_images for lane in Lane}
        return chain(self._metrics.collect(self.info, waiting), self._runner.collect())

    def close(self) -> None:
        with self._changed:
            is_first, self._is_closed = not self._is_closed, True
            left = self._lanes.clear()
            self._changed.notify_all()
        for waiting in left:
            if waiting.future.set_running_or_notify_cancel():
                waiting.future.set_exception(InferenceClosedError())
        for thread in self._threads:
            thread.join()
        if is_first:
            self._runner.close()

    def _enqueue(self, ask: Ask) -> Future[Analysis]:
        """For whoever has a place; what turns out too large to be kept beside the others is refused all the same."""
        waiting = Waiting(ask, Lane.INTERACTIVE, monotonic())
        with self._changed:
            if not fits_memory(self._lanes.size(Lane.INTERACTIVE), waiting.size):
                raise self._refused(InferenceBusyError(1))
            return self._add(waiting)

    def _unreserve(self) -> None:
        with self._changed:
            self._n_reserved -= 1

    def _admit(self, asked: Size) -> None:
        if self._is_closed:
            raise InferenceClosedError
        waiting = self._lanes.size(Lane.INTERACTIVE) + self._admission.usual.times(self._n_reserved)
        busy = self._admission.refusal(waiting, asked, monotonic())
        if busy is not None:
            raise self._refused(busy)

    def _refused(self, busy: InferenceBusyError) -> InferenceBusyError:
        """The same error, counted."""
        self._metrics.refused()
        self._n_refused += 1
        now_s = monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            log.warning("inference.refusing", refused=self._n_refused, retry_after_s=busy.retry_after_s)
            self._n_refused, self._told_s = 0, now_s
        return busy

    def _has_bulk_room(self, asked: Size) -> bool:
        held = self._lanes.size(Lane.BULK).n_images
        return held == 0 or held + asked.n_images <= self._most_waiting

    def _add(self, waiting: Waiting) -> Future[Analysis]:
        if self._is_closed:
            raise InferenceClosedError
        if waiting.lane is Lane.INTERACTIVE:
            self._admission.saw(waiting.size)
        self._lanes.add(waiting)
        # Nothing that leads back to the ask: its pictures would stay until somebody looks for cycles, for minutes.
        waiting.future.add_done_callback(self._forget)
        self._changed.notify_all()
        return waiting.future

    def _forget(self, future: Future[Analysis]) -> None:
        """Whoever cancels frees their place."""
        if future.cancelled():
            with self._changed:
                self._lanes.remove(future)
                self._changed.notify_all()

    def _work(self) -> None:
        while (turn := self._next_turn()) is not None:
            self._run(turn)

    def _next_turn(self) -> "_Turn | None":
        """Wait for what is to be run next; None at the end."""
        with self._changed:
            while not self._is_closed:
                now_s = monotonic()
                lane = self._lanes.next_lane(now_s, may_be_bulk=self._n_bulk < self._most_bulk)
                pause_s = None if lane is None else self._lanes.linger_s(lane, now_s)
                if lane is None or pause_s:
                    self._changed.wait(pause_s)
                elif batch := self._lanes.take(lane, now_s):
                    self._changed.notify_all()  # there is room again
                    return self._begin(lane, batch, now_s)
            return None

    def _begin(self, lane: Lane, batch: list[Waiting], now_s: float) -> "_Turn":
        self._n_batches += 1
        self._n_bulk += lane is Lane.BULK
        turn = _Turn(self._n_batches, lane, batch, now_s)
        self._admission.began(turn.number, turn.size, is_interactive=lane is Lane.INTERACTIVE, now_s=now_s)
        return turn

    def _run(self, turn: "_Turn") -> None:
        outcomes = [
            replace(outcome, queue_s=turn.began_s - waiting.since_s) if isinstance(outcome, Analysis) else outcome
            for waiting, outcome in zip(turn.batch, self._outcomes([w.ask for w in turn.batch], turn.lane), strict=True)
        ]
        now_s = monotonic()
        analyses = [outcome for outcome in outcomes if isinstance(outcome, Analysis)]
        took_s = now_s - turn.began_s if len(analyses) == len(outcomes) else None
        with self._changed:
            self._admission.ended(turn.number, turn.size, took_s, now_s)
            self._n_bulk -= turn.lane is Lane.BULK
            self._changed.notify_all()
        for waiting, outcome in zip(turn.batch, outcomes, strict=True):
            self._settle(waiting, outcome)
        self._metrics.ran(turn.lane, turn.size.n_images, analyses)

    def _outcomes(self, asks: Sequence[Ask], lane: Lane) -> "list[Analysis | BaseException]":
        """Of each ask what it is worth, or why it failed: of several, one must not fail the others."""
        try:
            analyses = self._runner.run(asks, lane)
            if len(analyses) != len(asks):
                raise RuntimeError(f"{len(asks)} asks had {len(analyses)} answers")
        except BaseException as error:  # a thread that died would leave everybody waiting
            if len(asks) == 1 or _concerns_everybody(error):
                return [error for _ in asks]
            return [self._outcomes([ask], lane)[0] for ask in asks]
        return list(analyses)

    def _settle(self, waiting: Waiting, outcome: Analysis | BaseException) -> None:
        if isinstance(outcome, BaseException):
            self._metrics.failed()
            waiting.future.set_exception(outcome)
        else:
            waiting.future.set_result(outcome)


def _concerns_everybody(error: BaseException) -> bool:
    """Whether each ask by itself would meet the same: the networks are away, or have too much to do."""
    if isinstance(error, ModelNotHeldError):
        return False
    return isinstance(error, ModelError | InferenceAwayError | InferenceBusyError)


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """A batch that runs."""

    number: int
    lane: Lane
    batch: list[Waiting]
    began_s: float

    @property
    def size(self) -> Size:
        return sum((waiting.size for waiting in self.batch), NOTHING)


class _Place:
    """A reservation until its first ask, which is counted in its lane from then on."""

    def __init__(self, enqueue: Callable[[Ask], Future[Analysis]], unreserve: Callable[[], None]) -> None:
        self._enqueue = enqueue
        self._unreserve = unreserve
        self._is_reserved = True

    def submit(self, ask: Ask) -> Future[Analysis]:
        self.leave()
        return self._enqueue(ask)

    def leave(self) -> None:
        if self._is_reserved:
            self._is_reserved = False
            self._unreserve()

"""A runner in place of networks, whose batches run when a test says so."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import Queue
from threading import Event, Lock

import numpy as np
from prometheus_client import Metric

from app.inference.port import Analysis, Ask, BatchLimits, EngineInfo, Lane, ModelNotHeldError
from ml.backbones.card import ModelCard
from ml.backbones.cards import find_card
from ml.backbones.trained_file import TrainedWeights
from ml.errors import ModelError
from ml.types import Chip, FloatArray, RgbImage

WAIT_S = 60.0
AT_ONCE = BatchLimits(max_images=4, max_pixels=1_000_000)


def make_image(*, number: int = 0, height: int = 2, width: int = 2) -> RgbImage:
    """An image that can be told from others by its first pixel."""
    image = np.zeros((height, width, 3), np.uint8)
    image[0, 0] = number // 256, number % 256, 0
    return image


def number_of(image: RgbImage) -> int:
    return int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])


def make_ask(*, number: int = 0, n_images: int = 1, height: int = 2, width: int = 2) -> Ask:
    return Ask([make_image(number=number, height=height, width=width)] * n_images)


@dataclass(eq=False)
class HeldBatch:
    """A batch that has been begun and ends when it is let go."""

    asks: Sequence[Ask]
    lane: Lane
    may_end: Event = field(default_factory=Event)

    @property
    def numbers(self) -> list[int]:
        return [number_of(ask.images[0]) for ask in self.asks]


class FakeRunner:
    """Answers an ask with its image's number as `embed_s`; holds each batch until it is let go, if `holds`.

    `fail` may raise for a batch of these numbers.
    """

    card: ModelCard = find_card("dlib-resnet")
    info = EngineInfo("fake/1", "fake", "cpu", "fake", "set")
    models = ("fake/1",)
    takes_chips = False

    def card_of(self, model: str) -> ModelCard:
        if model not in self.models:
            raise ModelNotHeldError(model)
        return self.card

    def hold(self, model: str, backbone: str, weights: TrainedWeights | None) -> None:
        raise ModelError(f"{model} cannot be had here")

    def describe(self, model: str, card: ModelCard) -> None:
        pass

    def serve(self, model: str) -> None:
        self.card_of(model)

    def let_go(self, model: str) -> None:
        pass

    def embed_chips(self, chips: Sequence[Chip], model: str | None = None) -> FloatArray:
        raise ModelError("nothing is embedded here")

    def __init__(
        self,
        *,
        holds: bool = True,
        n_at_once: int = 1,
        limits: BatchLimits = AT_ONCE,
        fail: Callable[[list[int]], None] = lambda numbers: None,
    ) -> None:
        self.n_at_once = n_at_once
        self.limits = limits
        self.is_closed = False
        self.most_at_once = 0
        self.held: Queue[HeldBatch] = Queue()
        self.seen: list[tuple[Lane, list[int]]] = []
        self._holds = holds
        self._fail = fail
        self._lock, self._n_running = Lock(), 0

    def run(self, asks: Sequence[Ask], lane: Lane) -> list[Analysis]:
        batch = HeldBatch(asks, lane)
        with self._lock:
            self._n_running += 1
            self.most_at_once = max(self.most_at_once, self._n_running)
            self.seen.append((lane, batch.numbers))
        try:
            if self._holds:
                self.held.put(batch)
                assert batch.may_end.wait(WAIT_S)
            self._fail(batch.numbers)
            return [Analysis([[] for _ in ask.images], 0.0, 0.0, float(number_of(ask.images[0]))) for ask in asks]
        finally:
            with self._lock:
                self._n_running -= 1

    def collect(self) -> Iterable[Metric]:
        return ()

    def close(self) -> None:
        self.is_closed = True

    def begun(self) -> HeldBatch:
        """The next batch, as soon as it runs."""
        return self.held.get(timeout=WAIT_S)

    def end_next(self) -> list[int]:
        """End the next batch, as soon as it runs; returns its numbers."""
        batch = self.begun()
        batch.may_end.set()
        return batch.numbers

"""The networks on other machines: batches are formed here, and each is one request to a worker (`app.inference.wire`).

A batch that a worker loses goes to another one, a worker that keeps failing gets none until it answers a probe, and
when none is left, callers are told: nothing ever runs on this machine instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Event
from time import monotonic, sleep
from typing import Final

import numpy as np
import structlog
from prometheus_client import Metric

from app.inference import wire
from app.inference.admission import InferenceBusyError
from app.inference.away import MOST_LOST, InferenceAwayError, InferenceFailedError
from app.inference.exchange import Trouble, TroubleKind, WorkerClient
from app.inference.facts import EngineFacts
from app.inference.metrics import workers_metrics
from app.inference.port import Analysis, Ask, BatchLimits, EngineInfo, Lane, ModelNotHeldError
from app.inference.wire import Answer, Batch
from app.inference.workers import LONGEST_BUSY_S, Worker, Workers
from app.periodic import Periodic
from app.settings import Settings
from ml.backbones.card import ModelCard
from ml.backbones.trained_file import TrainedWeights
from ml.detection import check_images
from ml.embedding import unit
from ml.errors import ModelError
from ml.types import Chip, FloatArray, RgbImage, Sample

# However slow a worker is, a picture is not slower by its size than this: ten times what two cores take.
TIMEOUT_PER_MEGAPIXEL_S: Final = 2.0
# A job's batch waits its turn in the worker; nobody stands in front of a camera for it.
BULK_PATIENCE: Final = 3.0
# Time for one worker that hangs, and for another one that does the work.
TRIES_IN_TIME: Final = 2.0
# Before the first worker is asked again: it may be in the middle of closing its connections.
PAUSE_S: Final = 0.05
# With no worker left, callers wait this long for one to come back: what is in front of several workers needs as long to
# notice that one of them has died. After that it is an outage, and they are told at once.
BLIP_S: Final = 1.5
# How long the service waits for the first worker when it starts: one loads its networks in seconds, from a slow disk.
START_WAIT_S: Final = 60.0
_ASK_AGAIN_S = 0.5
_PROBE_EVERY_S = 0.1
# Small, and still a run of the detector.
_PROBE_IMAGE = np.full((96, 96, 3), 127, dtype=np.uint8)

log = structlog.get_logger(__name__)


@dataclass
class _Tries:
    """What has been tried for one batch."""

    lane: Lane
    until_s: float
    avoided: set[str] = field(default_factory=set)
    n_lost: int = 0
    last: Trouble | None = None

    @property
    def left_s(self) -> float:
        return self.until_s - monotonic()

    def note(self, url: str, trouble: Trouble) -> None:
        self.avoided.add(url)
        self.last = trouble
        self.n_lost += trouble.kind is TroubleKind.LOST


@dataclass(frozen=True, slots=True, eq=False)
class _Head:
    """What is done here to the workers' embeddings; nothing where there are no weights."""

    card: ModelCard
    weights: TrainedWeights | None

    def applied(self, samples: list[Sample], model: str) -> list[Sample]:
        if self.weights is None or not samples:
            return samples
        base = np.array([sample.embedding for sample in samples], dtype=np.float32)
        projected = unit(base @ self.weights.tensors["weight"].T + self.weights.tensors["bias"])
        return [
            Sample(sample.face, sample.quality, embedding, model)
            for sample, embedding in zip(samples, projected, strict=True)
        ]


class RemoteRunner:
    """Runs batches on workers; as many at once as `n_at_once`."""

    takes_chips = False

    def __init__(self, settings: Settings, client: WorkerClient, facts: Sequence[EngineFacts], card: ModelCard) -> None:
        """`connect` makes one."""
        self.n_at_once = settings.inference_at_once * len(settings.inference_addresses)
        self.workers = Workers(settings.inference_addresses)
        self._client = client
        self._timeout_s = settings.inference_timeout_s
        self._word, self._model = facts[0].word, facts[0].model
        self._base_dim = card.dim
        # What the workers run, and what was trained on top of that, which is small enough to be done here.
        self._heads = {self._model: _Head(card, None)}
        self._served = self._model
        self._max_images = min(each.max_images for each in facts)
        self._max_bytes = min(each.max_bytes for each in facts)
        best_images = min(each.best_images for each in facts)
        self.limits = BatchLimits(best_images, min(each.best_pixels for each in facts))
        devices = sorted({each.device for each in facts})
        plans, grounds = (sorted({getattr(each, name) for each in facts}) for name in ("plan", "ground"))
        device = f"remote ({', '.join(devices)})"
        self._info = EngineInfo(facts[0].model, facts[0].detector, device, ", ".join(plans), ", ".join(grounds))
        self._closing = Event()
        self._prober = Periodic("inference-probe", self._probe, _PROBE_EVERY_S)
        self._prober.start()

    def run(self, asks: Sequence[Ask], lane: Lane) -> list[Analysis]:
        """See `BatchRunner.run`.

        Raises:
            ValueError: something is not an image.
            InferenceBusyError: every worker's queue is full.
            InferenceAwayError: no worker answers.
            InferenceFailedError: several workers failed at this very batch.
        """
        heads = [(ask.model or self._served, self._head(ask.model or self._served)) for ask in asks]
        for ask in asks:
            check_images(ask.images)
        answers = [self._ask(batch) for batch in self._batches(asks, lane)]
        samples = iter([found for answer in answers for found in answer.samples])
        detect_s, embed_s = sum(answer.detect_s for answer in answers), sum(answer.embed_s for answer in answers)
        return [
            Analysis([head.applied(found, word) for found in islice(samples, ask.n_images)], 0.0, detect_s, embed_s)
            for ask, (word, head) in zip(asks, heads, strict=True)
        ]

    @property
    def card(self) -> ModelCard:
        return self._heads[self._served].card

    @property
    def info(self) -> EngineInfo:
        return replace(self._info, model=self._served)

    @property
    def models(self) -> Sequence[str]:
        return tuple(self._heads)

    def card_of(self, model: str) -> ModelCard:
        return self._head(model).card

    def hold(self, model: str, backbone: str, weights: TrainedWeights | None) -> None:
        if model in self._heads:
            return
        if weights is None or weights.kind != "projection" or weights.base_word != self._model:
            raise ModelError(
                f"{model} is a network of its own, and the networks run on other machines: start `rollcall inference` "
                "and the service with it, or run the networks here (unset ROLLCALL_INFERENCE_URLS) to switch"
            )
        self._heads = {**self._heads, model: _Head(weights.card, weights)}

    def describe(self, model: str, card: ModelCard) -> None:
        self._heads = {**self._heads, model: replace(self._head(model), card=card)}

    def serve(self, model: str) -> None:
        self._head(model)
        self._served = model

    def let_go(self, model: str) -> None:
        if model not in (self._served, self._model):
            self._heads = {word: head for word, head in self._heads.items() if word != model}

    def embed_chips(self, chips: Sequence[Chip], model: str | None = None) -> FloatArray:
        if not chips:
            return np.empty((0, self.card.dim), dtype=np.float32)
        raise ModelError("the networks run on other machines, which take whole pictures: run them here for this")

    def _head(self, model: str) -> "_Head":
        head = self._heads.get(model)
        if head is None:
            raise ModelNotHeldError(model)
        return head

    def collect(self) -> Iterator[Metric]:
        return workers_metrics(self.workers.snapshot())

    def close(self) -> None:
        self._closing.set()
        self._prober.stop()
        self._client.close()

    def _batches(self, asks: Sequence[Ask], lane: Lane) -> Iterator[Batch]:
        """The images of all asks, in as few batches as workers take; one of a single image always fits."""
        images: list[RgbImage] = []
        max_faces: list[int] = []
        n_bytes = wire.HEAD_BYTES
        for image, n_faces in ((image, ask.max_faces) for ask in asks for image in ask.images):
            added = wire.image_bytes(image)
            if images and (len(images) == self._max_images or n_bytes + added > self._max_bytes):
                yield Batch(images, max_faces, lane)
                images, max_faces, n_bytes = [], [], wire.HEAD_BYTES
            images.append(image)
            max_faces.append(n_faces)
            n_bytes += added
        if images:
            yield Batch(images, max_faces, lane)

    def _ask(self, batch: Batch) -> Answer:
        timeout_s = self._timeout_for(batch)
        tries = _Tries(batch.lane, monotonic() + TRIES_IN_TIME * timeout_s)
        while True:
            worker = self._next_worker(tries)
            try:
                return self._ask_one(worker, batch, min(timeout_s, max(tries.left_s, PAUSE_S)))
            except Trouble as trouble:
                tries.note(worker.url, trouble)
                if tries.n_lost == MOST_LOST:
                    raise InferenceFailedError from trouble

    def _next_worker(self, tries: _Tries) -> Worker:
        """The one to try next. Bulk work waits for one until its time is over, interactive work for a moment."""
        while tries.left_s > 0 and not self._closing.is_set():
            worker = self.workers.take(tries.avoided)
            if worker is not None:
                return worker
            if tries.avoided:  # all of them were tried: from the first again
                tries.avoided.clear()
                self._closing.wait(PAUSE_S)
            elif tries.lane is Lane.BULK or self._is_blip():
                self.workers.wait_for_change(min(tries.left_s, _ASK_AGAIN_S))
            else:
                break
        if self.workers.are_busy():
            raise InferenceBusyError(1)
        raise InferenceAwayError(str(tries.last or "all of them have failed and none has come back"))

    def _is_blip(self) -> bool:
        away_s = self.workers.away_s()
        return away_s is not None and away_s < BLIP_S

    def _ask_one(self, worker: Worker, batch: Batch, timeout_s: float) -> Answer:
        """One request to one worker, and what it means for the worker's breaker."""
        try:
            answer = self._client.analyze(
                worker.url, batch, timeout_s, dim=self._base_dim, word=self._word, model=self._model
            )
        except Trouble as trouble:
            self._note(worker, trouble, batch.lane)
            raise
        except BaseException:  # not of the worker's making, and it must not stay taken
            self.workers.answered(worker)
            raise
        self.workers.answered(worker)
        return answer

    def _note(self, worker: Worker, trouble: Trouble, lane: Lane) -> None:
        if trouble.kind is TroubleKind.BUSY:
            # Its bulk lane may be full while there is time for a camera: then this batch waits, and not the worker.
            is_bulk = lane is Lane.BULK
            self.workers.was_busy(worker, 0.0 if is_bulk else trouble.retry_after_s)
            if is_bulk:
                self._closing.wait(min(trouble.retry_after_s, LONGEST_BUSY_S))
            return
        log.warning("inference.worker_failed", url=worker.url, trouble=trouble.kind.value, reason=str(trouble))
        # Whoever it would keep waiting next should not find out for themselves. A job's batch is another matter: it may
        # simply have waited too long behind others.
        has_hung = trouble.kind is TroubleKind.HUNG and lane is Lane.INTERACTIVE
        self.workers.failed(worker, is_certain=has_hung or trouble.kind is TroubleKind.REFUSED)

    def _timeout_for(self, batch: Batch) -> float:
        timeout_s = self._timeout_s + TIMEOUT_PER_MEGAPIXEL_S * batch.n_bytes / 3e6
        return timeout_s * (BULK_PATIENCE if batch.lane is Lane.BULK else 1.0)

    def _probe(self) -> None:
        """Ask workers that have rested long enough for something small, so that no caller has to find out."""
        while not self._closing.is_set() and (worker := self.workers.take_for_probe()) is not None:
            try:
                self._ask_one(worker, Batch([_PROBE_IMAGE], [1], Lane.INTERACTIVE), self._timeout_s)
                log.info("inference.worker_back", url=worker.url)
            except Trouble:
                pass


def connect(settings: Settings, wait_s: float | None = None) -> RemoteRunner:
    """Reach the workers of `settings.inference_addresses`; those that do not answer yet are used when they do.

    Raises:
        ModelError: a worker runs other networks than the settings say, or takes nothing from us.
        InferenceAwayError: none has answered for `wait_s`, START_WAIT_S unless said otherwise.
    """
    client = WorkerClient(settings.inference_token, settings.inference_at_once * len(settings.inference_addresses))
    try:
        found = _first_facts(settings, client, START_WAIT_S if wait_s is None else wait_s)
        card = _card_of_all(found, settings)
    except BaseException:
        client.close()
        raise
    runner = RemoteRunner(settings, client, list(found.values()), card)
    for url in set(settings.inference_addresses) - set(found):
        runner.workers.rest(url)
    return runner


def _first_facts(settings: Settings, client: WorkerClient, wait_s: float) -> dict[str, EngineFacts]:
    """What the workers say that answer, as soon as one does."""
    until_s = monotonic() + wait_s
    while True:
        found, reasons = _ask_for_facts(settings, client)
        if found:
            return found
        if monotonic() >= until_s:
            raise InferenceAwayError("; ".join(reasons))
        log.info("inference.waiting_for_workers", reasons=reasons)
        sleep(_ASK_AGAIN_S)


def _ask_for_facts(settings: Settings, client: WorkerClient) -> tuple[dict[str, EngineFacts], list[str]]:
    found, reasons = {}, []
    for url in settings.inference_addresses:
        try:
            found[url] = client.facts(url, settings.inference_timeout_s)
        except Trouble as trouble:
            if trouble.kind is TroubleKind.REFUSED:
                raise ModelError(f"the inference worker at {url} cannot be used: {trouble}") from trouble
            reasons.append(f"{url}: {trouble}")
    return found, reasons


def _card_of_all(found: Mapping[str, EngineFacts], settings: Settings) -> ModelCard:
    """The backbone's card, where every worker is what the settings say."""
    for url, facts in found.items():
        try:
            card = facts.card_for(settings)
        except ModelError as error:
            raise ModelError(f"the inference worker at {url} cannot be used: {error}") from error
    if len({facts.word for facts in found.values()}) > 1:  # two ONNX files of one name
        words = ", ".join(f"{url}: {facts.word}" for url, facts in found.items())
        raise ModelError(f"the inference workers differ ({words}): give all of them the same networks")
    return card

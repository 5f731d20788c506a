"""The networks in this process."""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from time import perf_counter
from typing import TypeAlias

import numpy as np
from prometheus_client import Metric

from app.inference.port import Analysis, Ask, BatchLimits, EngineInfo, Lane, ModelNotHeldError
from app.inference.tuning import Ground, chosen_plan
from app.settings import Settings
from ml.backbones.card import ModelCard
from ml.backbones.trained import load_embedder
from ml.backbones.trained_file import TrainedWeights
from ml.embedding import ChipEmbedder
from ml.engine import FaceEngine
from ml.errors import ModelError
from ml.plan import EnginePlan
from ml.types import Chip, FloatArray, Sample

# On a CPU, images take as long together as one after the other: a batch only makes the first of it wait for the last.
# Small ones still share what a batch costs by itself.
_ON_CPU = BatchLimits(max_images=4, max_pixels=1_000_000)
# A GPU is hardly busy with one picture.
_ON_GPU = BatchLimits(max_images=32, max_pixels=32_000_000, linger_s=0.002)
# A camera's picture waits no longer than these take.
_CHIPS_AT_ONCE = 8
# Of a picture from a small camera.
_WARM_UP_HW = 480, 640


class LocalRunner:
    """The networks of this process, one batch at a time: two at once would fight for the same cores.

    The detector is shared by all models.
    """

    n_at_once = 1
    takes_chips = True

    def __init__(self, engine: FaceEngine, ground: Ground, load: "Load") -> None:
        self._engines = {engine.model: engine}
        self._cards: dict[str, ModelCard] = {}
        self._served = engine
        self._ground = ground
        self._load = load
        self._running = Lock()
        self.limits = _ON_CPU if engine.device == "cpu" else _ON_GPU

    @property
    def card(self) -> ModelCard:
        return self.card_of(self._served.model)

    @property
    def info(self) -> EngineInfo:
        engine = self._served
        return EngineInfo(engine.model, engine.detector, engine.device, str(engine.plan), self._ground)

    @property
    def models(self) -> Sequence[str]:
        return tuple(self._engines)

    def card_of(self, model: str) -> ModelCard:
        return self._cards.get(model) or self._engine(model).card

    def hold(self, model: str, backbone: str, weights: TrainedWeights | None) -> None:
        if model in self._engines:
            return
        engine = self._served.with_embedder(self._load(backbone, weights))
        if engine.model != model:
            raise ModelError(f"{backbone} is {engine.model} here and not {model}: give all machines the same files")
        side = engine.card.chip_size_px
        with self._running:  # the first batch allocates, and would be slow for whoever stands at the door
            engine.embed_chips([np.zeros((side, side, 3), np.uint8)])
        self._engines = {**self._engines, model: engine}

    def describe(self, model: str, card: ModelCard) -> None:
        self._cards = {**self._cards, self._engine(model).model: card}

    def serve(self, model: str) -> None:
        self._served = self._engine(model)

    def let_go(self, model: str) -> None:
        if model != self._served.model:
            self._engines = {word: engine for word, engine in self._engines.items() if word != model}
            self._cards = {word: card for word, card in self._cards.items() if word != model}

    def embed_chips(self, chips: Sequence[Chip], model: str | None = None) -> FloatArray:
        engine = self._engine(model)
        parts = [np.empty((0, engine.card.dim), dtype=np.float32)]
        for start in range(0, len(chips), _CHIPS_AT_ONCE):
            with self._running:
                parts.append(engine.embed_chips(chips[start : start + _CHIPS_AT_ONCE]))
        return np.concatenate(parts)

    def run(self, asks: Sequence[Ask], lane: Lane) -> list[Analysis]:
        with self._running:
            return self._run(asks)

    def _run(self, asks: Sequence[Ask]) -> list[Analysis]:
        engines = [self._engine(ask.model) for ask in asks]  # the one in force may change meanwhile
        images = [image for ask in asks for image in ask.images]
        wanted = [ask.max_faces for ask in asks for _ in ask.images]
        started = perf_counter()
        faces = iter([found[:n] for found, n in zip(engines[0].detect(images), wanted, strict=True)])
        found = [[next(faces) for _ in ask.images] for ask in asks]
        detected = perf_counter()
        samples: dict[int, list[list[Sample]]] = {}
        for engine in dict.fromkeys(engines):
            own = [number for number, each in enumerate(engines) if each is engine]
            embedded = iter(
                engine.embed(
                    [image for number in own for image in asks[number].images],
                    [each for number in own for each in found[number]],
                )
            )
            samples.update({number: [next(embedded) for _ in asks[number].images] for number in own})
        ended = perf_counter()
        return [Analysis(samples[number], 0.0, detected - started, ended - detected) for number in range(len(asks))]

    def collect(self) -> Iterable[Metric]:
        return ()

    def close(self) -> None:
        pass

    def _engine(self, model: str | None) -> FaceEngine:
        if model is None:
            return self._served
        engine = self._engines.get(model)
        if engine is None:
            raise ModelNotHeldError(model)
        return engine


Load: TypeAlias = Callable[[str, TrainedWeights | None], ChipEmbedder]
"""A backbone's name and what was trained of it -> the model, on the device of the settings."""


def load_engine(settings: Settings, plan: EnginePlan) -> FaceEngine:
    """Load the networks that the settings name, to be run in this way."""
    return FaceEngine.load(
        settings.backbone,
        device=settings.device,
        detector=settings.detector,
        models_dir=settings.models_path,
        min_face_px=settings.min_face_px,
        mirrored=settings.mirrored_embedding,
        plan=plan,
    )


def load_local_runner(settings: Settings) -> LocalRunner:
    """Load the networks that the settings name; takes seconds."""
    chosen = chosen_plan(settings)
    engine = load_engine(settings, chosen.plan)
    # The first batch allocates, and would be slow for whoever stands at the door.
    engine.detect([np.zeros((*_WARM_UP_HW, 3), np.uint8)])

    def load(backbone: str, weights: TrainedWeights | None) -> ChipEmbedder:
        return load_embedder(
            weights,
            backbone,
            models_dir=settings.models_path,
            device=settings.device,
            plan=chosen.plan,
            mirrored=settings.mirrored_embedding,
        )

    return LocalRunner(engine, chosen.ground, load)

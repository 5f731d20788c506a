"""The networks in this process."""

from collections.abc import Iterable, Sequence
from time import perf_counter

import numpy as np
from prometheus_client import Metric

from app.inference.port import Analysis, Ask, BatchLimits, EngineInfo, Lane
from app.inference.tuning import Ground, chosen_plan
from app.settings import Settings
from ml.backbones.card import ModelCard
from ml.engine import FaceEngine
from ml.plan import EnginePlan

# On a CPU, images take as long together as one after the other: a batch only makes the first of it wait for the last.
# Small ones still share what a batch costs by itself.
_ON_CPU = BatchLimits(max_images=4, max_pixels=1_000_000)
# A GPU is hardly busy with one picture.
_ON_GPU = BatchLimits(max_images=32, max_pixels=32_000_000, linger_s=0.002)
# Of a picture from a small camera.
_WARM_UP_HW = 480, 640


class LocalRunner:
    """One engine, one batch at a time: two at once would fight for the same cores."""

    n_at_once = 1

    def __init__(self, engine: FaceEngine, ground: Ground) -> None:
        self._engine = engine
        self.info = EngineInfo(engine.model, engine.detector, engine.device, str(engine.plan), ground)
        self.limits = _ON_CPU if engine.device == "cpu" else _ON_GPU

    @property
    def card(self) -> ModelCard:
        return self._engine.card

    def run(self, asks: Sequence[Ask], lane: Lane) -> list[Analysis]:
        images = [image for ask in asks for image in ask.images]
        wanted = [ask.max_faces for ask in asks for _ in ask.images]
        started = perf_counter()
        faces = [found[:n] for found, n in zip(self._engine.detect(images), wanted, strict=True)]
        detected = perf_counter()
        samples = iter(self._engine.embed(images, faces))
        ended = perf_counter()
        return [
            Analysis([next(samples) for _ in ask.images], 0.0, detected - started, ended - detected) for ask in asks
        ]

    def collect(self) -> Iterable[Metric]:
        return ()

    def close(self) -> None:
        pass


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
    return LocalRunner(engine, chosen.ground)

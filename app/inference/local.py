"""The networks in this process."""

from collections.abc import Sequence
from time import perf_counter

from app.inference.port import Analysis, Ask, EngineInfo, Lane
from app.settings import Settings
from ml.backbones.card import ModelCard
from ml.engine import FaceEngine


class LocalRunner:
    """One engine, one batch at a time: two at once would fight for the same cores."""

    n_at_once = 1

    def __init__(self, engine: FaceEngine) -> None:
        self._engine = engine
        self.info = EngineInfo(engine.model, engine.detector, engine.device)

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

    def close(self) -> None:
        pass


def load_local_runner(settings: Settings) -> LocalRunner:
    """Load the networks that the settings name; takes seconds."""
    engine = FaceEngine.load(
        settings.backbone,
        device=settings.device,
        detector=settings.detector,
        models_dir=settings.models_path,
        min_face_px=settings.min_face_px,
        mirrored=settings.mirrored_embedding,
    )
    return LocalRunner(engine)

"""Inference in this process."""

from collections.abc import Sequence
from threading import Lock
from time import perf_counter

from app.inference.port import MAX_FACES, Analysis, EngineInfo
from app.settings import Settings
from ml.backbones.card import ModelCard
from ml.engine import FaceEngine
from ml.types import RgbImage


class LocalInference:
    """One engine, one batch at a time: two at once would fight for the same cores."""

    def __init__(self, engine: FaceEngine) -> None:
        self._engine = engine
        self._lock = Lock()
        self.info = EngineInfo(engine.model, engine.detector, engine.device)

    @property
    def card(self) -> ModelCard:
        return self._engine.card

    def analyze(self, images: Sequence[RgbImage], max_faces: int = MAX_FACES) -> Analysis:
        with self._lock:
            started = perf_counter()
            faces = [found[:max_faces] for found in self._engine.detect(images)]
            detected = perf_counter()
            samples = self._engine.embed(images, faces)
            return Analysis(samples, detected - started, perf_counter() - detected)


def load_local_inference(settings: Settings) -> LocalInference:
    """Load the networks that the settings name; takes seconds."""
    engine = FaceEngine.load(
        settings.backbone,
        device=settings.device,
        detector=settings.detector,
        models_dir=settings.models_path,
        min_face_px=settings.min_face_px,
        mirrored=settings.mirrored_embedding,
    )
    return LocalInference(engine)

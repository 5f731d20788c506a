"""One queue of asks before the networks: whoever shares them is run together."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from app.inference.port import MAX_FACES, Analysis, Ask, BatchRunner, EngineInfo, Lane
from ml.backbones.card import ModelCard
from ml.types import RgbImage


class BatchedInference:
    """Inference through one runner, which may be the networks of this process or other machines."""

    def __init__(self, runner: BatchRunner) -> None:
        self._runner = runner
        self._threads = ThreadPoolExecutor(runner.n_at_once, "inference")

    @property
    def card(self) -> ModelCard:
        return self._runner.card

    @property
    def info(self) -> EngineInfo:
        return self._runner.info

    def submit(self, ask: Ask, lane: Lane = Lane.INTERACTIVE) -> Future[Analysis]:
        return self._threads.submit(lambda: self._runner.run([ask], lane)[0])

    def analyze(
        self, images: Sequence[RgbImage], max_faces: int = MAX_FACES, lane: Lane = Lane.INTERACTIVE
    ) -> Analysis:
        return self.submit(Ask(images, max_faces), lane).result()

    def close(self) -> None:
        self._threads.shutdown()
        self._runner.close()

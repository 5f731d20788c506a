"""What the application asks of inference, wherever it runs."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from ml.backbones.card import ModelCard
from ml.types import RgbImage, Sample

# Most faces of one image that are embedded: nobody is shown more, and a photo to enrol is of one person. Without a
# bound, a picture with thousands of faces in it would keep everybody else waiting for minutes.
MAX_FACES: Final = 100


class Lane(StrEnum):
    """Who waits: somebody in front of a camera, or a job. Bulk work runs when no interactive work waits."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Upright `(H, W, 3)` uint8 RGB images of one caller, and how many faces of each are wanted, the biggest first."""

    images: Sequence[RgbImage]
    max_faces: int = MAX_FACES


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The faces of each image of an `Ask`, the biggest first, and where the time went.

    `queue_s` was spent waiting; `detect_s` and `embed_s` are those of the whole batch that the images were part of.
    """

    samples: list[list[Sample]]
    queue_s: float
    detect_s: float
    embed_s: float


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What really runs."""

    model: str
    detector: str
    device: str


class BatchRunner(Protocol):
    """Runs one batch on the networks, here or on another machine; safe for as many threads as `n_at_once`."""

    @property
    def card(self) -> ModelCard:
        """The backbone's model card."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""

    @property
    def n_at_once(self) -> int:
        """Batches that may run side by side."""

    def run(self, asks: Sequence[Ask], lane: Lane) -> list[Analysis]:
        """Find, measure and embed the faces of all images of all asks together; one analysis per ask, `queue_s` 0."""

    def close(self) -> None:
        """Let go of connections and memory."""


class Inference(Protocol):
    """Finds and embeds faces; may be called from any thread."""

    @property
    def card(self) -> ModelCard:
        """The backbone's model card."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""

    def submit(self, ask: Ask, lane: Lane = Lane.INTERACTIVE) -> "Future[Analysis]":
        """Queue an ask. Cancelling the future takes it out of the queue, unless its batch runs already.

        Raises:
            InferenceBusyError: so much waits already that this would wait too long; tells when to try again.
        """

    def analyze(
        self, images: Sequence[RgbImage], max_faces: int = MAX_FACES, lane: Lane = Lane.INTERACTIVE
    ) -> Analysis:
        """`submit`, and wait for the result."""

    def close(self) -> None:
        """Refuse new work, fail what waits, and let go of the networks."""

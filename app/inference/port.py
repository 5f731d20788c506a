"""What the application asks of inference, wherever it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ml.backbones.card import ModelCard
from ml.types import RgbImage, Sample

# Most faces of one image that are embedded: nobody is shown more, and a photo to enrol is of one person. Without a
# bound, a picture with thousands of faces in it would keep everybody else waiting for minutes.
MAX_FACES: Final = 100


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The faces of each image, the biggest first, and the seconds that the batch spent in each stage."""

    samples: list[list[Sample]]
    detect_s: float
    embed_s: float


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What really runs."""

    model: str
    detector: str
    device: str


class Inference(Protocol):
    """Finds and embeds faces; may be called from any thread."""

    @property
    def card(self) -> ModelCard:
        """The backbone's model card."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""

    def analyze(self, images: Sequence[RgbImage], max_faces: int = MAX_FACES) -> Analysis:
        """Find, measure and embed the biggest faces of upright RGB `uint8` images; one list per image."""

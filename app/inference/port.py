"""What the application asks of inference, wherever it runs."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from prometheus_client import Metric

from app.inference.admission import InferenceBusyError as InferenceBusyError
from app.inference.admission import InferenceClosedError as InferenceClosedError
from ml.backbones.card import ModelCard
from ml.backbones.trained_file import TrainedWeights
from ml.errors import ModelError
from ml.types import Chip, FloatArray, RgbImage, Sample

# Most faces of one image that are embedded: nobody is shown more, and a photo to enrol is of one person. Without a
# bound, a picture with thousands of faces in it would keep everybody else waiting for minutes.
MAX_FACES: Final = 100


class ModelNotHeldError(ModelError):
    """A model that is not loaded, or not any more: what was asked of it has to be asked of the one in force."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} is not loaded here: send the picture again, for the model in force")
        self.model = model


class Lane(StrEnum):
    """Who waits: somebody in front of a camera, or a job.

    Bulk work runs when no interactive work waits, and now and then when some always does. Interactive work is refused
    when it would wait too long; bulk work waits.
    """

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Upright `(H, W, 3)` uint8 RGB images of one caller, and how many faces of each are wanted, the biggest first.

    `model` is the word of the model that shall embed them, for whoever asks several times and compares the answers;
    None: the one in force.
    """

    images: Sequence[RgbImage]
    max_faces: int = MAX_FACES
    model: str | None = None

    @property
    def n_images(self) -> int:
        return len(self.images)

    @property
    def n_pixels(self) -> int:
        return sum(image.shape[0] * image.shape[1] for image in self.images)


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
    """What really runs; `plan` is how, as `ml.plan.EnginePlan` is written, and `ground` why so.

    The ground is "set" by the operator, "measured" on that machine, or "assumed".
    """

    model: str
    detector: str
    device: str
    plan: str
    ground: str


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a runner likes to be given at once: at most so many images and pixels, unless a single ask has more.

    `linger_s` is how long a batch that has room for more waits for it; 0 where starting at once is best.
    """

    max_images: int
    max_pixels: int
    linger_s: float = 0.0


class Models(Protocol):
    """The models that are loaded, one of which is in force; safe for use from several threads.

    Every answer says by its samples' `model` what embedded them, so that nobody has to guess.
    """

    @property
    def card(self) -> ModelCard:
        """The card of the model in force."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""

    @property
    def models(self) -> Sequence[str]:
        """The words of all that are loaded."""

    @property
    def takes_chips(self) -> bool:
        """Whether `embed_chips` can be asked: networks on other machines take whole pictures only."""

    def card_of(self, model: str) -> ModelCard:
        """The card of a loaded model.

        Raises:
            ModelNotHeldError: it is not loaded.
        """

    def hold(self, model: str, backbone: str, weights: TrainedWeights | None) -> None:
        """Load a model beside the others, unless it is there.

        Args:
            model: its word.
            backbone: as `ml.backbones.load_backbone` takes it.
            weights: what was trained; None: the backbone as it was published.

        Raises:
            ModelError: it cannot be loaded, or these networks run where it cannot be brought to.
        """

    def describe(self, model: str, card: ModelCard) -> None:
        """Use this card for a loaded model from now on: what its scores mean was measured here.

        Raises:
            ModelNotHeldError: it is not loaded.
        """

    def serve(self, model: str) -> None:
        """Embed with this loaded model from the next batch on."""

    def let_go(self, model: str) -> None:
        """Unload a model; nothing where it is in force, or not loaded."""

    def embed_chips(self, chips: Sequence[Chip], model: str | None = None) -> FloatArray:
        """Embed `(S, S, 3)` uint8 RGB chips as a loaded model wants them: `(N, D)` float32 unit-norm.

        Pictures of cameras go between portions of a few chips. Empty case: `(0, D)`.

        Raises:
            ModelNotHeldError: the model is not loaded.
            ModelError: chips of another size, or the networks run on other machines, which take whole pictures only.
        """


class BatchRunner(Models, Protocol):
    """Runs one batch on the networks, here or on another machine; safe for as many threads as `n_at_once`."""

    @property
    def n_at_once(self) -> int:
        """Batches that may run side by side."""

    @property
    def limits(self) -> BatchLimits:
        """How large a batch it likes best."""

    def run(self, asks: Sequence[Ask], lane: Lane) -> list[Analysis]:
        """Find, measure and embed the faces of all images of all asks together; one analysis per ask, `queue_s` 0."""

    def collect(self) -> Iterable[Metric]:
        """What it counts about itself, beside what `BatchedInference` does, for Prometheus."""

    def close(self) -> None:
        """Let go of connections and memory."""


class Place(Protocol):
    """A place in the interactive lane, for one caller's asks, one after the other: who is let in once stays in."""

    def submit(self, ask: Ask) -> "Future[Analysis]":
        """Queue an ask. Cancelling the future takes it out of the queue, unless its batch runs already.

        Raises:
            InferenceBusyError: the images are too large to be kept beside those that wait already.
            InferenceClosedError: the service is ending.
        """


class Inference(Models, Protocol):
    """Finds and embeds faces; may be called from any thread."""

    def check_room(self) -> None:
        """Ask whether `place` would refuse, without taking one; quick.

        Raises:
            InferenceBusyError: it would.
        """

    def place(self) -> AbstractContextManager[Place]:
        """Take a place in the interactive lane, before an upload is decoded for it.

        Raises:
            InferenceBusyError: so much waits already that this would wait too long; tells when to try again.
        """

    def submit(self, ask: Ask, lane: Lane = Lane.INTERACTIVE) -> "Future[Analysis]":
        """Queue an ask. Cancelling the future takes it out of the queue, unless its batch runs already.

        In the bulk lane this waits until there is room.

        Raises:
            InferenceBusyError: in the interactive lane, as `place`.
            InferenceClosedError: the service is ending.
        """

    def analyze(
        self,
        images: Sequence[RgbImage],
        max_faces: int = MAX_FACES,
        lane: Lane = Lane.INTERACTIVE,
        model: str | None = None,
    ) -> Analysis:
        """`submit`, and wait for the result."""

    def collect(self) -> Iterable[Metric]:
        """What it counts about itself, for Prometheus."""

    def close(self) -> None:
        """Refuse new work, fail what waits, and let go of the networks."""

"""Images -> samples: detection, alignment, quality and embedding composed; the whole of inference behind one call."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ml.alignment import align_face
from ml.backbones import load_backbone
from ml.backbones.card import ModelCard
from ml.detection import Detector, load_detector
from ml.embedding import ChipEmbedder, Embedder
from ml.plan import PLAIN, EnginePlan, default_plan
from ml.quality import measure_quality
from ml.types import Chip, Face, FloatArray, RgbImage, Sample


class FaceEngine:
    """Finds, measures and embeds every face of a batch of images.

    Not safe for use from several threads at once: whoever shares it lets one batch run at a time.
    """

    def __init__(self, detector: Detector, embedder: ChipEmbedder, plan: EnginePlan = PLAIN) -> None:
        self._detector = detector
        self._embedder = embedder
        self.plan = plan
        self._template = embedder.card.template_array

    @classmethod
    def load(
        cls,
        backbone: str = "dlib-resnet",
        *,
        device: str = "cpu",
        detector: str = "mtcnn",
        models_dir: Path | None = None,
        min_face_px: int = 40,
        mirrored: bool = True,
        plan: EnginePlan | None = None,
    ) -> "FaceEngine":
        """Load networks.

        Args:
            backbone: name of a model card, or `onnx:<file>`.
            device: "cpu", "cuda" or "cuda:<n>"; what is asked for is what runs.
            detector: "mtcnn" or "yunet".
            models_dir: folder of the files that `rollcall models pull` fetched.
            min_face_px: smallest face looked for, px of its shorter side.
            mirrored: also embed every chip's mirror image and take the mean.
            plan: how networks are run; unset: `default_plan`. On the CPU, torch keeps to its threads from then on in
                the whole process, and to one where another runtime does the work.

        Raises:
            ModelError: an unknown name, a missing or altered file, or a device that is not there.
        """
        plan = plan or default_plan(device)
        network = load_backbone(backbone, models_dir=models_dir, device=device, plan=plan)
        finder = load_detector(detector, models_dir=models_dir, device=device, min_face_px=min_face_px, plan=plan)
        torch.set_num_threads(plan.n_threads if plan.runtime == "torch" else 1)
        return cls(finder, Embedder(network, mirrored=mirrored), plan)

    @property
    def card(self) -> ModelCard:
        """The backbone's model card."""
        return self._embedder.card

    @property
    def model(self) -> str:
        """The word that is stored with every embedding, e.g. "dlib-resnet/1"."""
        return self._embedder.model

    @property
    def device(self) -> str:
        """The device in use."""
        return self._embedder.device

    @property
    def detector(self) -> str:
        """The detector's name."""
        return self._detector.name

    def with_embedder(self, embedder: ChipEmbedder) -> "FaceEngine":
        """The same detector, run in the same way, before another model; both may be used in turn."""
        return FaceEngine(self._detector, embedder, self.plan)

    def embed_chips(self, chips: Sequence[Chip]) -> FloatArray:
        """Embed `(S, S, 3)` uint8 RGB chips that are aligned already: `(N, D)` float32 unit-norm."""
        return self._embedder.embed(chips)

    def analyze(self, images: Sequence[RgbImage]) -> list[list[Sample]]:
        """Find and embed all faces: `detect`, then `embed`."""
        return self.embed(images, self.detect(images))

    def detect(self, images: Sequence[RgbImage]) -> list[list[Face]]:
        """Find all faces of upright `(H, W, 3)` uint8 RGB images of any sizes; the biggest of each image first."""
        return self._detector.detect(images)

    def embed(self, images: Sequence[RgbImage], faces: Sequence[Sequence[Face]]) -> list[list[Sample]]:
        """Measure and embed faces in one batch.

        Args:
            images: as given to `detect`.
            faces: per image, in pixels of that image.

        Returns:
            One sample per face, in the same order.
        """
        chips = [self._chip(image, face) for image, found in zip(images, faces, strict=True) for face in found]
        embeddings = iter(self._embedder.embed(chips))
        pictures = iter(chips)
        return [[self._sample(face, next(pictures), next(embeddings)) for face in found] for found in faces]

    def _chip(self, image: RgbImage, face: Face) -> Chip:
        return align_face(image, face, self._template, self.card.chip_size_px)

    def _sample(self, face: Face, chip: Chip, embedding: FloatArray) -> Sample:
        return Sample(face, measure_quality(chip, face), embedding, self.model)

"""The product's own engine, plus the one thing it throws away: how long a network's raw vectors were."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.backbones import Backbone
from ml.backbones.card import ModelCard
from ml.detection import Detector
from ml.embedding import Embedder
from ml.engine import FaceEngine
from ml.types import Face, FloatArray, RgbImage, Sample


class LengthKeeper:
    """A backbone that remembers the lengths of its raw vectors: the customary rule compares these, not unit vectors."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._lengths: list[float] = []

    @property
    def card(self) -> ModelCard:
        return self._backbone.card

    @property
    def device(self) -> str:
        return self._backbone.device

    def embed_batch(self, chips: NDArray[np.uint8]) -> FloatArray:
        raw = self._backbone.embed_batch(chips)
        self._lengths.extend(float(length) for length in np.linalg.norm(raw, axis=1))
        return raw

    def take(self) -> list[float]:
        """The lengths since the last call, in the order of the chips."""
        taken, self._lengths = self._lengths, []
        return taken


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A backbone with the mirror image's embedding averaged in, or plain: then `keeper` knows the raw lengths."""

    engine: FaceEngine
    keeper: LengthKeeper | None

    @classmethod
    def mirrored(cls, detector: Detector, backbone: Backbone) -> "Network":
        """As the service makes embeddings by default."""
        return cls(FaceEngine(detector, Embedder(backbone, mirrored=True)), None)

    @classmethod
    def plain(cls, detector: Detector, backbone: Backbone) -> "Network":
        """One embedding per chip."""
        keeper = LengthKeeper(backbone)
        return cls(FaceEngine(detector, Embedder(keeper, mirrored=False)), keeper)

    @property
    def model(self) -> str:
        """The word that is stored with the embeddings."""
        return self.engine.model

    @property
    def card(self) -> ModelCard:
        return self.engine.card

    def embed(
        self, images: Sequence[RgbImage], faces: Sequence[Sequence[Face]]
    ) -> list[tuple[list[Sample], list[float]]]:
        """Per image its samples and, for each, the length of the raw vector; 1 with mirroring, where there is none."""
        samples = self.engine.embed(images, faces)
        taken = iter(self.keeper.take()) if self.keeper else None
        return [(found, [next(taken) if taken else 1.0 for _ in found]) for found in samples]

"""What an inference worker says of itself at `GET /v1/engine`, and whether it is the one that the settings ask for."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from app.inference import wire
from app.inference.port import BatchRunner
from app.settings import Settings
from ml.backbones import ONNX_PREFIX
from ml.backbones.card import ModelCard
from ml.backbones.cards import find_card
from ml.embedding import PLAIN_SUFFIX
from ml.errors import ModelError

_CARD = TypeAdapter(ModelCard)


class EngineFacts(BaseModel):
    """The networks of one worker, and the largest batch it takes."""

    wire_version: int = Field(description="Of the batches that `POST /v1/analyze` takes.")
    word: str = Field(description="Everything that embeddings and faces depend on, in one word; ends every answer.")
    model: str = Field(description="What is stored with every embedding.")
    detector: str
    min_face_px: int
    device: str
    plan: str = Field(description="How it runs them: runtime, arithmetic, threads.")
    ground: str = Field(description="Why so: set, measured or assumed.")
    max_images: int = Field(description="Most images of one batch.")
    max_bytes: int = Field(description="Longest body of one batch.")
    best_images: int = Field(description="Images of a batch that it likes best, at most.")
    best_pixels: int = Field(description="Pixels of all images of such a batch.")
    card: dict[str, Any] = Field(description="The backbone's model card.")

    @classmethod
    def of(cls, runner: BatchRunner, settings: Settings, *, max_images: int, max_bytes: int) -> Self:
        info, limits = runner.info, runner.limits
        return cls(
            wire_version=wire.VERSION,
            word=f"{info.model} {info.detector} {settings.min_face_px}",
            model=info.model,
            detector=info.detector,
            min_face_px=settings.min_face_px,
            device=info.device,
            plan=info.plan,
            ground=info.ground,
            max_images=max_images,
            max_bytes=max_bytes,
            best_images=limits.max_images,
            best_pixels=limits.max_pixels,
            card=_CARD.dump_python(runner.card, mode="json"),
        )

    def card_for(self, settings: Settings) -> ModelCard:
        """The backbone's card: our own of a network that we know, the worker's of an ONNX file, which it alone has.

        Raises:
            ModelError: the worker runs something else than the settings ask for: its answers are not to be used.
        """
        card = self._expected_card(settings)
        wanted = card.model + ("" if settings.mirrored_embedding else PLAIN_SUFFIX)
        for what, found, expected, setting in (
            ("speaks version", self.wire_version, wire.VERSION, "release"),
            ("has the network", self.model, wanted, "ROLLCALL_BACKBONE and ROLLCALL_MIRRORED_EMBEDDING"),
            ("has the detector", self.detector, settings.detector, "ROLLCALL_DETECTOR"),
            ("looks for faces from px", self.min_face_px, settings.min_face_px, "ROLLCALL_MIN_FACE_PX"),
        ):
            if found != expected:
                raise ModelError(f"it {what} {found} and not {expected}: give both the same {setting}")
        needed = wire.largest_image_bytes(settings.max_image_pixels)
        if self.max_bytes < needed:
            raise ModelError(
                f"it takes bodies of {self.max_bytes:,} bytes and the largest image here has {needed:,}: "
                "give both the same ROLLCALL_MAX_IMAGE_PIXELS"
            )
        return card

    def _expected_card(self, settings: Settings) -> ModelCard:
        if not settings.backbone.startswith(ONNX_PREFIX):
            return find_card(settings.backbone)
        card = self._own_card()
        is_onnx = card.weights is not None and card.weights.filename.endswith(".onnx")
        if not is_onnx and card.name != f"onnx-{Path(settings.backbone.removeprefix(ONNX_PREFIX)).stem}":
            raise ModelError(f"it has the network {self.model} and not {settings.backbone}")
        return card

    def _own_card(self) -> ModelCard:
        try:
            return _CARD.validate_python(self.card)
        except ValidationError as error:
            raise ModelError("its model card cannot be read: give both the same release") from error

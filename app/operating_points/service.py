"""Which operating point is in force."""

from dataclasses import dataclass

from app.gallery.replica import GalleryVersion
from ml.backbones.card import ModelCard
from ml.calibration import operating_point_from_card

DEFAULT_TARGET_FPIR = 0.01


@dataclass(frozen=True, slots=True)
class CurrentPoint:
    """What a decision needs of an operating point."""

    id: str
    threshold: float
    target_fpir: float | None


class OperatingPoints:
    """Hands out the operating point in force."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    def current(self, version: GalleryVersion) -> CurrentPoint:
        """The point for a gallery of this size."""
        point = operating_point_from_card(self._card, DEFAULT_TARGET_FPIR, version.n_people, version.n_templates)
        return CurrentPoint("card", point.threshold, point.target_fpir)

"""Drawn faces for trainings on chips, checkpoints in memory, and a training that is stopped."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.training.types import Report, Rows, TrainingCurves


class StopError(Exception):
    """Raised where a training is to end."""


class InMemory:
    """Keeps the last state, as a file would."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.n_saved = 0

    def load(self) -> bytes | None:
        return self.state

    def save(self, state: bytes) -> None:
        self.state, self.n_saved = state, self.n_saved + 1


def stop_after(n_epochs: int) -> Report:
    """A report that ends the training once so many epochs are over."""

    def report(share: float, message: str, curves: TrainingCurves) -> None:
        if len(curves.loss) >= n_epochs:
            raise StopError

    return report


def drawn_chips(*, people: Rows, side_px: int, seed: int = 0) -> NDArray[np.uint8]:
    """A face for each row: colours and shape are the person's, light, place and noise the photo's."""
    generator = np.random.default_rng(seed)
    return np.stack([_draw(int(person), side_px, generator) for person in people])


def _draw(person: int, side_px: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    own = np.random.default_rng([77, person])
    skin, hair, eyes = (tuple(int(value) for value in own.integers(20, 236, 3)) for _ in range(3))
    width, mouth, apart = own.uniform(0.24, 0.4), own.uniform(0.06, 0.2), own.uniform(0.12, 0.22)
    centre = np.array([0.5, 0.52]) + generator.uniform(-0.02, 0.02, 2)
    chip = np.full((side_px, side_px, 3), hair, np.uint8)

    def oval(x: float, y: float, half_wh: tuple[float, float], colour: tuple[int, ...]) -> None:
        place, axes = np.array([centre[0] + x, centre[1] + y]) * side_px, np.array(half_wh) * side_px
        cv2.ellipse(chip, place.astype(int).tolist(), axes.astype(int).tolist(), 0, 0, 360, colour, -1)

    oval(0, 0, (width, 0.42), skin)
    for side in (-apart, apart):
        oval(side, -0.1, (0.06, 0.04), eyes)
    oval(0, 0.22, (mouth, 0.04), hair)
    light = generator.uniform(0.8, 1.2)
    return np.clip(chip * light + generator.normal(0, 6, chip.shape), 0, 255).astype(np.uint8)

"""What a model card says: facts about a network as plain, frozen data."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.errors import ModelError
from ml.priors import ScorePrior
from ml.types import FloatArray, PairBounds, ScoreRule

Landmarks = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file of weights: where it comes from, where it is looked for, and how it is recognised.

    `n_bytes` and `sha256` are None where upstream publishes neither. `url` is None where the file comes inside an
    installed package; `package_file` then says where: the import name of the package, then the path inside it.
    """

    name: str
    filename: str
    n_bytes: int | None
    sha256: str | None
    url: str | None
    package_file: str | None = None


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What the network sees: `(x - mean) * scale` for raw `x` 0..255; `mean` per channel in the card's colour order."""

    mean: tuple[float, float, float]
    scale: float


@dataclass(frozen=True, slots=True)
class ScoringFacts:
    """What a backbone's cosines mean: how they become a decision score, and what is known of those scores.

    `look_alike_margin` is the lead that two people who look alike must have over each other to be named.
    """

    rule: ScoreRule
    bounds: PairBounds
    prior: ScorePrior
    look_alike_margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Everything the rest of the code, and a person choosing a network, has to know about it.

    `version` changes whenever equal chips would give other embeddings, or equal faces other chips: it is stored with
    every template. `chip_size_px` is the side S of the chip and `dim` the length D of the embedding; both are 0 for a
    detector, which takes whole images and makes no embedding. `landmark_template` is 5 x 2, in chip pixels
    (x, y), ordered image-left eye, image-right eye, nose, image-left and image-right mouth corner. `weights` is None
    where an installed package loads its own. `colour` is what the network wants inside: chips are RGB for all of them.
    """

    name: str
    version: str
    kind: Literal["backbone", "detector"]
    chip_size_px: int
    dim: int
    landmark_template: Landmarks | None
    colour: Literal["RGB", "BGR"]
    normalisation: Normalisation
    licence: str
    weights_origin: str
    weights: WeightsFile | None
    quality_note: str
    limits: str
    scoring: ScoringFacts | None = None

    @property
    def score_rule(self) -> ScoreRule:
        """How cosines become a decision score."""
        return self._scoring_facts.rule

    @property
    def pair_bounds(self) -> PairBounds:
        """What the cosine of two single templates says."""
        return self._scoring_facts.bounds

    @property
    def prior(self) -> ScorePrior:
        """What is known of decision scores before there is evidence."""
        return self._scoring_facts.prior

    @property
    def look_alike_margin(self) -> float:
        """The lead that two people who look alike must have over each other to be named."""
        return self._scoring_facts.look_alike_margin

    @property
    def _scoring_facts(self) -> ScoringFacts:
        if self.scoring is None:
            raise ModelError(f"{self.name} is a detector and makes no embeddings to score: choose a backbone")
        return self.scoring

    @property
    def model(self) -> str:
        """Name and version as one word, e.g. `dlib-resnet/1`: what is stored with every embedding."""
        return f"{self.name}/{self.version}"

    @property
    def template_array(self) -> FloatArray:
        """The landmark template as `(5, 2)` float32 chip pixels.

        Raises:
            ModelError: the card is a detector's, which has none.
        """
        if self.landmark_template is None:
            raise ModelError(f"{self.name} is a detector and has no landmark template: choose a backbone")
        return np.array(self.landmark_template, dtype=np.float32)

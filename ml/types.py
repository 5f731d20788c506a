"""Plain, frozen data on the arrows between the stages.

Coordinates are pixels of the upright image, x to the right and y down, pixel centres at whole numbers.
Colours are RGB. Arrays are float32 unless a name says otherwise.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RgbImage: TypeAlias = NDArray[np.uint8]
"""`(H, W, 3)` upright RGB, 0..255."""
Chip: TypeAlias = NDArray[np.uint8]
"""`(S, S, 3)` aligned RGB crop that a backbone expects."""
FloatArray: TypeAlias = NDArray[np.float32]


class Reason(StrEnum):
    """Why a face or a file is not good enough; the words of the REST contract."""

    NO_FACE = "no_face"
    SEVERAL_PEOPLE = "several_people"
    FACE_TOO_SMALL = "face_too_small"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    EXTREME_POSE = "extreme_pose"
    OCCLUDED = "occluded"
    LOW_DETECTION_SCORE = "low_detection_score"
    LOW_QUALITY = "low_quality"
    IDENTITY_CONFLICT = "identity_conflict"
    DUPLICATE_FRAME = "duplicate_frame"


class Outcome(StrEnum):
    """What was decided about one face."""

    IDENTIFIED = "identified"
    UNKNOWN = "unknown"
    LOW_QUALITY = "low_quality"
    ATTACK_SUSPECTED = "attack_suspected"


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected face: `box_xyxy (4,)` px, `landmarks (5, 2)` px, `detection_score` 0..1.

    Landmark order: image-left eye, image-right eye, nose, image-left and image-right mouth corner.
    """

    box_xyxy: FloatArray
    landmarks: FloatArray
    detection_score: float

    @property
    def size_px(self) -> float:
        """Shorter side of the box, in pixels."""
        x1, y1, x2, y2 = (float(v) for v in self.box_xyxy)
        return min(x2 - x1, y2 - y1)


@dataclass(frozen=True, slots=True)
class Pose:
    """Head turn in degrees. Yaw > 0: nose towards image right; pitch > 0: up; roll > 0: clockwise in the image."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured of one face; `ml.quality.reasons_against` says what stands against using it.

    `score` 0..1 as a whole; `size_px` shorter side of the box; `sharpness` >= 0; `brightness` 0..255;
    `detection_score` 0..1.
    """

    score: float
    pose: Pose
    size_px: float
    sharpness: float
    brightness: float
    detection_score: float


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One face ready to be searched or enrolled: unit-norm `embedding (D,)` made by backbone `model`."""

    face: Face
    quality: Quality
    embedding: FloatArray
    model: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One person the probe might be. `score`: higher is more alike; rank 1 is the best."""

    person_id: str
    score: float
    rank: int
    template_id: int


@dataclass(frozen=True, slots=True)
class Decision:
    """`person_id` is None unless `outcome` is identified; `margin` is the score's lead over the runner-up."""

    outcome: Outcome
    person_id: str | None
    score: float | None
    margin: float | None
    candidates: tuple[Candidate, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """How cosines become a decision score; measured per backbone and kept on its model card.

    person score   = centroid_weight * cosine(probe, fused template) + (1 - centroid_weight) * cosine(probe, nearest)
    decision score = person score - runner_up_weight * max(best other person's score, runner_up_floor)

    A stranger is about equally far from everybody, an enrolled person stands out from the rest: taking off part of
    the runner-up's score turns "near" into "nearer than anybody else" (measured: FNIR at FPIR 1 % falls from 0.069
    to 0.048 with 305 people). In a small gallery the runner-up is far away by chance, which would flatter strangers,
    so it counts at least `runner_up_floor` (10 people: FNIR at FPIR 1 % falls from 0.033 to 0.014); with the floor
    the same threshold means about the same FPIR from 2 to 305 people.
    """

    centroid_weight: float
    runner_up_weight: float
    runner_up_floor: float


@dataclass(frozen=True, slots=True)
class PairBounds:
    """What the cosine of two single templates says about one person; measured per backbone, on its model card.

    Below `different` two photos do not show one person; from `same` on they do.
    """

    different: float
    same: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A rate with its 95 % interval, all 0..1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an operating point was tuned on: how many searches of each kind, and in words where they came from."""

    n_mated: int
    n_non_mated: int
    source: str


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold together with everything it means: `score >= threshold` names somebody."""

    threshold: float
    target_fpir: float | None
    expected_fpir: Interval
    expected_fnir: Interval
    method: str
    model: str
    n_people: int
    n_templates: int
    evidence: Evidence

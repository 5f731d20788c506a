"""Makes clips of numbers for tests: who is seen in which frame, where, and how well. No picture is involved."""

from collections.abc import Sequence

import numpy as np

from ml.enrolling import Photo
from ml.quality import ENROLL_LIMITS, QualityLimits
from ml.tracking import TrackedClip, Tracker
from ml.types import FloatArray, PairBounds, Pose, Quality, Sample
from tests.ml.factories import make_embeddings, make_near, make_sample

# Cosines on the scale of the default backbone: strangers at about 0.82, frames of one person at about 0.97.
BOUNDS = PairBounds(different=0.90, same=0.92)
DIM = 128
SIZE_WH = (640, 360)
_STRANGERS = 0.82
_SAME_PERSON = 0.97
_ANYBODY = make_embeddings(n=1, dim=DIM, seed=7)[0]


def make_person(*, seed: int) -> FloatArray:
    """The middle of one person's embeddings."""
    return make_near(embedding=_ANYBODY, cosine=float(np.sqrt(_STRANGERS)), seed=1000 + seed)


ANA, BEA, CAL = (make_person(seed=seed) for seed in range(3))


def make_look(*, person: FloatArray, seed: int) -> FloatArray:
    """One embedding of a person; the same seed is the same picture."""
    return make_near(embedding=person, cosine=float(np.sqrt(_SAME_PERSON)), seed=seed)


def make_seen(
    *,
    person: FloatArray,
    look: int = 0,
    x: float = 320,
    y: float = 180,
    width: float = 90,
    yaw_deg: float = 0,
    pitch_deg: float = 0,
    sharpness: float = 0.05,
    brightness: float = 120,
    score: float = 0.9,
) -> Sample:
    """A face with its middle at `x, y`; `look` is the seed of its embedding."""
    box_xyxy = (x - width / 2, y - width * 0.6, x + width / 2, y + width * 0.6)
    quality = Quality(score, Pose(yaw_deg, pitch_deg, 0.0), width, sharpness, brightness, 0.999)
    return make_sample(embedding=make_look(person=person, seed=look), box_xyxy=box_xyxy, quality=quality)


BLURRED = {"sharpness": 0.001, "score": 0.05}


def make_stay(*, person: FloatArray, n: int, first: int = 0, **seen: float) -> list[list[Sample]]:
    """`n` frames with one person who keeps still, looking a little different in each."""
    return [[make_seen(person=person, look=first + number, **seen)] for number in range(n)]  # type: ignore[arg-type]


def make_turn(*, person: FloatArray, n: int = 40, first: int = 0, **seen: float) -> list[list[Sample]]:
    """`n` frames with one person who looks left, right, up and down, once each, as if asked to."""
    turns = np.sin(np.linspace(0, 4 * np.pi, n))
    return [
        [
            make_seen(
                person=person,
                look=first + number,
                yaw_deg=float(40 * turn) if number < n / 2 else 0.0,
                pitch_deg=float(30 * turn) if number >= n / 2 else 0.0,
                **seen,  # type: ignore[arg-type]
            )
        ]
        for number, turn in enumerate(turns)
    ]


def together(a: Sequence[Sequence[Sample]], b: Sequence[Sequence[Sample]], at: int = 0) -> list[list[Sample]]:
    """The frames of `a`, with those of `b` in them from frame `at` on."""
    frames = [list(samples) for samples in a]
    for number, samples in enumerate(b):
        frames[at + number].extend(samples)
    return frames


def track(
    frames: Sequence[Sequence[Sample]],
    *,
    fps: float = 10.0,
    limits: QualityLimits = ENROLL_LIMITS,
    bounds: PairBounds = BOUNDS,
) -> TrackedClip:
    """Follow the faces through frames that come `fps` times a second."""
    tracker = Tracker(bounds, limits)
    for number, samples in enumerate(frames):
        tracker.add(number, number / fps, Photo(samples, SIZE_WH))
    return tracker.finish()

"""Which way of running the networks is fastest on this machine, found by trying."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import median
from time import perf_counter, sleep
from typing import Final

import numpy as np
from PIL import Image

from ml.engine import FaceEngine
from ml.plan import PLAIN, EnginePlan, Precision, Runtime, has_openvino, multiplies_bfloat16
from ml.types import FloatArray, RgbImage

_ROUNDS: Final = 5
# Pictures come after a pause, when threads sleep and caches hold other things: measured without one, torch's threads,
# which spin for a while, win against OpenVINO's, and are half as fast in the service.
_PAUSE_S: Final = 0.02
_ENOUGH_S: Final = 0.5  # of one kind of batch, where the machine is slow or busy
_TOGETHER: Final = 4  # pictures in the batch that is timed
# Fewer bits must pay, and must leave embeddings as they are: between two photos of one person lies a cosine of 0.9.
_WORTH_FEWER_BITS: Final = 0.9
_LEAST_AGREEMENT: Final = 0.999


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one plan takes.

    `one_ms` for a picture with a face, from pixels to embedding; `each_ms` for each of four such pictures at once;
    `agreement` is the cosine of its embedding to that of the plain plan.
    """

    plan: EnginePlan
    one_ms: float
    each_ms: float
    agreement: float


def plans_to_try(device: str, n_cpus: int) -> list[EnginePlan]:
    """Every runtime in every arithmetic that makes sense on this device, with all processors."""
    runtimes: list[Runtime] = ["torch"]
    precisions: list[Precision] = ["float32"]
    if device.startswith("cuda"):
        precisions += ["float16", "bfloat16"]
    else:
        runtimes += ["openvino"] if has_openvino() else []
        precisions += ["bfloat16"] if multiplies_bfloat16() else []
    return [EnginePlan(runtime, precision, n_cpus) for runtime in runtimes for precision in precisions]


def measure(
    plans: Iterable[EnginePlan], load: Callable[[EnginePlan], FaceEngine], picture: RgbImage
) -> Iterator[Timing]:
    """Try plans one after the other, which takes some seconds each.

    Args:
        plans: what to try.
        load: makes an engine that runs so.
        picture: `(H, W, 3)` uint8 RGB with at least one face.

    Yields:
        One timing per plan.
    """
    reference = _embedding(load(PLAIN), picture)
    for plan in plans:
        engine = load(plan)
        agreement = float(_embedding(engine, picture) @ reference)
        one, together = _time(engine, [picture]), _time(engine, [picture] * _TOGETHER)
        yield Timing(plan, one * 1000, together * 1000 / _TOGETHER, agreement)


def choose(timings: Sequence[Timing]) -> Timing:
    """The fastest for one picture and for many, equally weighted; fewer bits only where they pay and change nothing.

    Raises:
        ValueError: no timings.
    """
    good = [timing for timing in timings if timing.agreement >= _LEAST_AGREEMENT]
    full = [timing for timing in good if timing.plan.precision == "float32"]
    best = min(full or timings, key=_cost)
    return min([best, *(each for each in good if _cost(each) < _WORTH_FEWER_BITS * _cost(best))], key=_cost)


def _cost(timing: Timing) -> float:
    return timing.one_ms * timing.each_ms


def _embedding(engine: FaceEngine, picture: RgbImage) -> FloatArray:
    [samples] = engine.analyze([picture])
    return samples[0].embedding


def _time(engine: FaceEngine, pictures: Sequence[RgbImage]) -> float:
    """Seconds, the median of a few rounds after one that nobody counts."""
    engine.analyze(pictures)
    rounds: list[float] = []
    while len(rounds) < _ROUNDS and sum(rounds) < _ENOUGH_S:
        rounds.append(_seconds(engine, pictures))
    return median(rounds)


def _seconds(engine: FaceEngine, pictures: Sequence[RgbImage]) -> float:
    sleep(_PAUSE_S)
    started = perf_counter()
    engine.analyze(pictures)
    return perf_counter() - started


def picture_with_a_face() -> RgbImage:
    """A face of 100 px, 250 x 250, from the portrait that scikit-image carries (NASA, public domain)."""
    with Image.open(str(files("skimage") / "data" / "astronaut.png")) as portrait:
        return np.asarray(portrait.convert("RGB").crop((100, 0, 350, 250)))

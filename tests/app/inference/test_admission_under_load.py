"""The rules at work: minutes of cameras against networks of a known pace, on a clock that costs nothing."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import pytest

from app.inference.admission import NOTHING, Admission, Size
from app.inference.lanes import Lanes, Waiting
from app.inference.port import Ask, BatchLimits, Lane
from ml.types import RgbImage

CPU = BatchLimits(max_images=4, max_pixels=1_000_000)
GPU = BatchLimits(max_images=32, max_pixels=32_000_000)
MOST_WAITING = 64
DECODE_S = 0.002
SMALL, LARGE = (np.zeros((side, side, 3), np.uint8) for side in (250, 1000))


def on_cpu(work: float) -> float:
    return 0.04 * work


def on_gpu(work: float) -> float:
    return 0.005 + 0.0005 * work


@dataclass
class Site:
    """Cameras, the queue and the networks; `latencies` of who was served, by when they came."""

    pace: Callable[[float], float]
    limits: BatchLimits
    latencies: list[tuple[float, float]] = field(default_factory=list)
    n_refused: int = 0

    def __post_init__(self) -> None:
        self.lanes = Lanes(self.limits)
        self.admission = Admission(MOST_WAITING, self.limits.max_images)
        self.n_reserved, self.is_busy, self.now_s = 0, False, 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.batch_sizes: list[int] = []

    def at(self, when_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._numbers), what))

    def run(self, until_s: float) -> None:
        while self._events and self._events[0][0] < until_s:
            self.now_s, _, what = heapq.heappop(self._events)
            what()

    def come(self, image: RgbImage, when_done: Callable[[bool], None] = lambda is_served: None) -> None:
        """A camera asks now."""
        came_s, usual = self.now_s, self.admission.usual
        waiting = self.lanes.size(Lane.INTERACTIVE) + usual.times(self.n_reserved)
        if self.admission.refusal(waiting, usual, came_s) is not None:
            self.n_refused += 1
            when_done(False)
            return
        self.n_reserved += 1
        self.at(came_s + DECODE_S, lambda: self._decoded(image, came_s, when_done))

    def _decoded(self, image: RgbImage, came_s: float, when_done: Callable[[bool], None]) -> None:
        self.n_reserved -= 1
        waiting = Waiting(Ask([image]), Lane.INTERACTIVE, came_s)

        def served(_future: object) -> None:
            self.latencies.append((came_s, self.now_s - came_s))
            when_done(True)

        waiting.future.add_done_callback(served)
        self.admission.saw(waiting.size)
        self.lanes.add(waiting)
        self._begin()

    def _begin(self) -> None:
        if self.is_busy or self.lanes.next_lane(self.now_s) is None:
            return
        batch = self.lanes.take(Lane.INTERACTIVE, self.now_s)
        size = sum((waiting.size for waiting in batch), NOTHING)
        number = len(self.batch_sizes)
        self.batch_sizes.append(len(batch))
        self.is_busy = True
        self.admission.began(number, size, is_interactive=True, now_s=self.now_s)
        took_s = self.pace(size.work)
        self.at(self.now_s + took_s, lambda: self._end(number, batch, size, took_s))

    def _end(self, number: int, batch: list[Waiting], size: Size, took_s: float) -> None:
        self.is_busy = False
        self.admission.ended(number, size, took_s, self.now_s)
        for waiting in batch:
            waiting.future.set_result(None)  # type: ignore[arg-type]
        self._begin()

    def p95_s(self, since_s: float = 0.0) -> float:
        return float(np.quantile([took_s for came_s, took_s in self.latencies if came_s >= since_s], 0.95))

    def n_served(self, since_s: float = 0.0) -> int:
        return sum(came_s >= since_s for came_s, _ in self.latencies)


def cameras_come(
    site: Site, *, per_second: float, until_s: float, images: list[RgbImage], since_s: float = 0.0
) -> None:
    dice = random.Random(0)
    when_s = since_s
    while (when_s := when_s + dice.expovariate(per_second)) < until_s:
        image = dice.choice(images)
        site.at(when_s, lambda image=image: site.come(image))  # type: ignore[misc]


def alone_s(site: Site, image: RgbImage) -> float:
    return DECODE_S + site.pace(Size(1, image.shape[0] * image.shape[1]).work)


@pytest.mark.parametrize("times", [1.5, 4.0, 10.0])
@pytest.mark.parametrize("image", [SMALL, LARGE], ids=["small", "large"])
def test_with_too_many_cameras_those_who_are_let_in_wait_little_and_the_networks_never_rest(
    times: float, image: RgbImage
) -> None:
    site = Site(on_cpu, CPU)
    alone = alone_s(site, image)
    capacity = 1 / (alone - DECODE_S)
    cameras_come(site, per_second=times * capacity, until_s=30.0, images=[image])
    site.run(30.0)
    assert site.p95_s(since_s=10.0) <= 2.5 * alone
    assert site.n_served(since_s=10.0) >= 0.75 * 20 * capacity
    assert site.n_refused > 0


def test_the_onset_of_too_many_is_short() -> None:
    """Only who came before the queue was full waits long."""
    site = Site(on_cpu, CPU)
    alone = alone_s(site, SMALL)
    cameras_come(site, per_second=4 / alone, until_s=20.0, images=[SMALL])
    site.run(20.0)
    slow = [came_s for came_s, took_s in site.latencies if took_s > 3 * alone]
    assert len(slow) <= 1.6 * MOST_WAITING
    assert max(slow) < 1.6 * MOST_WAITING * alone


def test_large_and_small_pictures_are_both_let_in() -> None:
    site = Site(on_cpu, CPU)
    cameras_come(site, per_second=150.0, until_s=60.0, images=[SMALL, SMALL, LARGE])
    site.run(60.0)
    assert site.p95_s(since_s=10.0) <= 2.5 * alone_s(site, LARGE)
    assert site.n_served(since_s=10.0) > 500


def test_a_gpu_keeps_its_batches_large_enough_and_its_answers_quick() -> None:
    site = Site(on_gpu, GPU)
    cameras_come(site, per_second=4000.0, until_s=6.0, images=[SMALL])
    site.run(6.0)
    assert site.p95_s(since_s=2.0) <= 3.0 * alone_s(site, SMALL)
    assert np.mean(site.batch_sizes[-1000:]) > 4


def test_what_can_just_be_done_is_done_even_after_too_much_was_asked() -> None:
    site = Site(on_cpu, CPU)
    capacity = 1 / site.pace(Size(1, 250 * 250).work)
    cameras_come(site, per_second=4 * capacity, until_s=5.0, images=[SMALL])
    cameras_come(site, per_second=0.9 * capacity, since_s=5.0, until_s=30.0, images=[SMALL])
    site.run(10.0)
    n_refused = site.n_refused
    site.run(31.0)
    assert site.n_refused - n_refused < 0.02 * 20 * capacity


@pytest.mark.parametrize("n_cameras", [8, 32, 64])
def test_a_burst_is_served_whole(n_cameras: int) -> None:
    site = Site(on_cpu, CPU)
    cameras_come(site, per_second=20.0, until_s=5.0, images=[SMALL])  # an ordinary morning
    for _ in range(n_cameras):
        site.at(5.0, lambda: site.come(SMALL))
    site.run(30.0)
    assert site.n_refused == 0


@pytest.mark.parametrize("n_cameras", [1, 8, 32, 60])
@pytest.mark.parametrize("image", [SMALL, LARGE], ids=["small", "large"])
def test_cameras_that_wait_for_their_answers_are_never_refused(n_cameras: int, image: RgbImage) -> None:
    site = Site(on_cpu, CPU)

    def ask_again(is_served: bool) -> None:
        assert is_served
        site.come(image, ask_again)

    for _ in range(n_cameras):
        site.at(0.0, lambda: site.come(image, ask_again))
    site.run(20.0)
    assert site.n_refused == 0 and site.n_served() > 100


def test_when_the_crowd_is_gone_bursts_are_served_again() -> None:
    site = Site(on_cpu, CPU)
    cameras_come(site, per_second=1000.0, until_s=10.0, images=[SMALL])
    site.run(10.0)
    n_refused = site.n_refused
    cameras_come(site, per_second=20.0, since_s=10.0, until_s=20.0, images=[SMALL])
    for _ in range(32):
        site.at(15.0, lambda: site.come(SMALL))
    site.run(30.0)
    assert n_refused > 1000
    assert site.n_refused - n_refused < 20  # some of those who came at once

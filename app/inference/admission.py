"""Who may wait for the networks, and who is told to come back: pure rules, on times and sizes that they are given.

A burst is served: as long as the networks keep up on the whole, up to `most_images` wait, each for a few seconds at
most. Once that is not enough, more is asked than can be done, and a long queue would only make everybody wait: then
nobody is let in who would wait long beside their own work, until less is asked again than can be done. So those
who are let in are answered about as quickly as ever, and the others learn at once when to try again.
"""

from dataclasses import dataclass, field
from math import ceil, exp
from typing import Final

# What is waited at most, whatever there is room for: less than ROLLCALL_INFERENCE_TIMEOUT_S, after which a replica
# takes these networks for dead.
LONGEST_WAIT_S: Final = 8.0
# Decoded pixels that wait at most, 3 bytes each: 64 pictures of 1080p fit.
MOST_PIXELS: Final = 150_000_000
# With more than can be done, whoever would wait longer than this share of what their own work takes is refused, unless
# nobody else waits: one is always there when the networks are free. Above 1 two of a size wait, and their p95 triples.
PATIENCE: Final = 0.5
# Over how long it is looked at whether less is asked than can be done.
_MEMORY_S: Final = 2.0
# What an image costs beside its pixels, as pixels: faces are looked at one by one, however small the picture.
_PIXELS_PER_IMAGE: Final = 100_000
# How much each batch counts for less with every later one.
_FADING: Final = 0.9
_USUAL_FADING: Final = 0.95


class InferenceBusyError(Exception):
    """So much waits already that this would wait too long; `retry_after_s` is when to try again, in whole seconds."""

    def __init__(self, retry_after_s: int = 1) -> None:
        super().__init__(f"too much waits for the networks; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class InferenceClosedError(Exception):
    """The service is ending: nothing is asked of its networks any more."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is asked of the networks at once."""

    n_images: int
    n_pixels: int

    @property
    def work(self) -> float:
        """In megapixels, the images themselves counted as some."""
        return (self.n_pixels + self.n_images * _PIXELS_PER_IMAGE) / 1e6

    def __add__(self, other: "Size") -> "Size":
        return Size(self.n_images + other.n_images, self.n_pixels + other.n_pixels)

    def __sub__(self, other: "Size") -> "Size":
        return Size(self.n_images - other.n_images, self.n_pixels - other.n_pixels)

    def times(self, n: int) -> "Size":
        return Size(self.n_images * n, self.n_pixels * n)


NOTHING: Final = Size(0, 0)


@dataclass(frozen=True, slots=True)
class Load:
    """What whoever asks now finds: the size of what waits, how long until all of that is done, and `is_overrun`."""

    waiting: Size
    wait_s: float
    is_overrun: bool


def fits_memory(waiting: Size, asked: Size) -> bool:
    """Whether so many pixels can wait together; what waits alone is never too large."""
    return waiting.n_images == 0 or (waiting + asked).n_pixels <= MOST_PIXELS


def is_full(load: Load, asked: Size, most_images: int) -> bool:
    """Whether one more would be more than may ever wait; whoever waits alone always may."""
    if load.waiting.n_images == 0:
        return False
    is_crowded = (load.waiting + asked).n_images > most_images or load.wait_s > LONGEST_WAIT_S
    return is_crowded or not fits_memory(load.waiting, asked)


def is_too_late(load: Load, alone_s: float) -> bool:
    """Whether, with more asked than can be done, an ask that takes `alone_s` would wait too long."""
    return load.is_overrun and load.waiting.n_images > 0 and load.wait_s > PATIENCE * alone_s


def retry_after_s(wait_s: float) -> int:
    """When what waits now will be done, in whole seconds as HTTP wants them."""
    return max(1, ceil(wait_s))


@dataclass(slots=True)
class Pace:
    """How long a batch takes: `fixed_s` + work x `per_work_s`, learned from the latest batches by least squares."""

    _n: float = 0.0
    _x: float = 0.0
    _y: float = 0.0
    _xx: float = 0.0
    _xy: float = 0.0
    fixed_s: float = 0.0
    per_work_s: float = 0.1  # a guess, until the first batch is done

    def learn(self, work: float, seconds: float) -> None:
        """Take in one batch; `work` is positive."""
        for name, value in (("_n", 1.0), ("_x", work), ("_y", seconds), ("_xx", work**2), ("_xy", work * seconds)):
            setattr(self, name, _FADING * getattr(self, name) + value)
        self.fixed_s, self.per_work_s = self._line()

    def seconds(self, work: float, n_batches: int = 1) -> float:
        return n_batches * self.fixed_s + work * self.per_work_s

    def _line(self) -> tuple[float, float]:
        spread = self._xx - self._x**2 / self._n
        if spread > 1e-3 * self._xx:  # else all had the same size, and nothing tells what a batch costs by itself
            slope = (self._xy - self._x * self._y / self._n) / spread
            fixed = (self._y - slope * self._x) / self._n
            if slope >= 0.0 and fixed >= 0.0:
                return fixed, slope
            if slope < 0.0:
                return self._y / self._n, 0.0
        return 0.0, self._y / self._x


@dataclass(slots=True)
class BusyShare:
    """The share of the last seconds in which the networks were busy, 0..1."""

    _share: float = 0.0
    _now_busy: float = 0.0
    _at_s: float = 0.0

    def note(self, busy: float, now_s: float) -> None:
        """From now on this share of the networks is busy."""
        self._share, self._at_s, self._now_busy = self.read(now_s), now_s, busy

    def forget_rest(self, now_s: float) -> None:
        """Count from now on, as if there had been none."""
        self._share, self._at_s = 1.0, now_s

    def read(self, now_s: float) -> float:
        kept = exp(-max(now_s - self._at_s, 0.0) / _MEMORY_S)
        return kept * self._share + (1.0 - kept) * self._now_busy


@dataclass(slots=True)
class RefusedWork:
    """Seconds of work that were refused in each of the last seconds."""

    _per_second: float = 0.0
    _at_s: float = 0.0

    def add(self, work_s: float, now_s: float) -> None:
        self._per_second, self._at_s = self.read(now_s) + work_s / _MEMORY_S, now_s

    def read(self, now_s: float) -> float:
        return self._per_second * exp(-max(now_s - self._at_s, 0.0) / _MEMORY_S)


@dataclass(slots=True)
class _Running:
    ends_s: float
    is_interactive: bool


@dataclass(slots=True)
class Admission:
    """Keeps count of what the rules need; whoever has it sees to it that one thread at a time calls it."""

    most_images: int
    batch_images: int
    n_at_once: int = 1
    pace: Pace = field(default_factory=Pace)
    _usual: Size = Size(1, 300_000)
    _busy: BusyShare = field(default_factory=BusyShare)
    _refused: RefusedWork = field(default_factory=RefusedWork)
    _is_overrun: bool = False
    _running: dict[int, _Running] = field(default_factory=dict)

    @property
    def usual(self) -> Size:
        """One image of the size that was asked about lately: what is expected of whoever has not sent one yet."""
        return self._usual

    def began(self, batch: int, size: Size, *, is_interactive: bool, now_s: float) -> None:
        """A batch of this number runs."""
        self._running[batch] = _Running(now_s + self.pace.seconds(size.work), is_interactive)
        self._note_busy(now_s)

    def ended(self, batch: int, size: Size, took_s: float | None, now_s: float) -> None:
        """It runs no more; `took_s` None when it failed, which teaches nothing."""
        self._running.pop(batch)
        self._note_busy(now_s)
        if took_s is not None and size.work > 0:
            self.pace.learn(size.work, took_s)

    def saw(self, size: Size) -> None:
        """An interactive ask of this size was let in."""
        each = size.n_pixels / max(size.n_images, 1)
        pixels = _USUAL_FADING * self._usual.n_pixels + (1 - _USUAL_FADING) * each
        self._usual = Size(1, round(pixels))

    def refusal(self, waiting: Size, asked: Size, now_s: float) -> InferenceBusyError | None:
        """Why one more of size `asked` has to come back later, with so much `waiting`; None when it may stay."""
        if self._is_overrun and self._asked_share(now_s) < 1.0:
            self._is_overrun = False
        load = Load(waiting, self._wait_s(waiting, now_s), self._is_overrun)
        alone_s = self.pace.seconds(max(asked.work, self._usual.work))
        if is_full(load, asked, self.most_images):
            self._is_overrun = True
            self._busy.forget_rest(now_s)  # only rest from now on says that this is over
        elif not is_too_late(load, alone_s):
            return None
        self._refused.add(alone_s, now_s)
        return InferenceBusyError(retry_after_s(load.wait_s))

    def _asked_share(self, now_s: float) -> float:
        """How much was asked lately, as a multiple of what can be done; what is done counts as long as it takes."""
        return self._busy.read(now_s) + self._refused.read(now_s) / self.n_at_once

    def _wait_s(self, waiting: Size, now_s: float) -> float:
        rest_s = 0.0
        if len(self._running) >= self.n_at_once:
            rest_s = max(0.0, min(batch.ends_s for batch in self._running.values()) - now_s)
        n_batches = waiting.n_images // self.batch_images  # what fills no batch will share one with whoever asks
        return rest_s + self.pace.seconds(waiting.work, n_batches) / self.n_at_once

    def _note_busy(self, now_s: float) -> None:
        n_busy = sum(batch.is_interactive for batch in self._running.values())
        self._busy.note(n_busy / self.n_at_once, now_s)

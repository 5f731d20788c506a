"""The gate that spares a camera's small computer most of the work."""

import numpy as np

from app.camera.motion import MotionGate
from ml.types import RgbImage

HEIGHT, WIDTH = 360, 640


def make_room(*, seed: int, brightness: float = 0.0) -> RgbImage:
    """The same empty room, with a sensor's noise."""
    room = np.random.default_rng(0).integers(40, 200, (HEIGHT // 40, WIDTH // 40, 3)).repeat(40, 0).repeat(40, 1)
    noise = np.random.default_rng(seed).normal(brightness, 6, (HEIGHT, WIDTH, 3))
    return np.clip(room + noise, 0, 255).astype(np.uint8)


def make_visitor(*, seed: int, x: int) -> RgbImage:
    image = make_room(seed=seed)
    image[120:320, x : x + 60] = (20, 30, 90)
    return image


def quiet(gate: MotionGate, *, until_s: float) -> bool:
    """An empty room until then; whether the gate is open at last."""
    is_open = True
    for number in range(int(until_s * 10)):
        is_open = gate.is_open(number / 10, make_room(seed=number))
    return is_open


def test_the_first_frame_is_looked_at_because_somebody_may_stand_there() -> None:
    assert MotionGate().is_open(0.0, make_room(seed=0))


def test_it_closes_on_an_empty_noisy_room() -> None:
    assert not quiet(MotionGate(), until_s=5.0)


def test_it_opens_for_somebody_who_comes_in_and_stays_open_a_while() -> None:
    gate = MotionGate()
    quiet(gate, until_s=5.0)
    assert gate.is_open(5.0, make_visitor(seed=100, x=300))
    assert gate.is_open(5.1, make_visitor(seed=101, x=310))
    assert gate.is_open(7.0, make_room(seed=102))


def test_whoever_stands_still_becomes_part_of_the_room_in_time() -> None:
    gate = MotionGate()
    quiet(gate, until_s=5.0)
    opened = [gate.is_open(5 + number / 10, make_visitor(seed=number, x=300)) for number in range(300)]
    assert opened[0] and all(opened[:30]) and not opened[-1]


def test_a_lamp_or_the_exposure_is_no_movement() -> None:
    gate = MotionGate()
    quiet(gate, until_s=5.0)
    assert not gate.is_open(5.0, make_room(seed=200, brightness=25))


def test_a_camera_that_changes_its_size_is_looked_at_anew() -> None:
    gate = MotionGate()
    quiet(gate, until_s=5.0)
    assert gate.is_open(5.0, np.zeros((HEIGHT * 2, WIDTH, 3), np.uint8))

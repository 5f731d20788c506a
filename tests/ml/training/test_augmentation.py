from dataclasses import replace

import cv2
import numpy as np
import pytest

from ml.training.augmentation import DEFAULT, Augmentation, augment, augment_batch
from ml.types import Chip

NEVER = Augmentation(mirror=0, move=0, light=0, blur=0, jpeg=0, downscale=0)


def make_chip(*, side: int = 64, seed: int = 0) -> Chip:
    """Smooth colours with a sharp square, so that every change shows."""
    noise = np.random.default_rng(seed).integers(40, 200, size=(8, 8, 3)).astype(np.uint8)
    chip = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    chip[side // 4 : side // 2, side // 4 : side // 2] = [200, 90, 20]
    return np.asarray(chip, dtype=np.uint8)


def test_the_same_generator_gives_the_same_chip_and_goes_on_to_another() -> None:
    chip = make_chip()
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    first = [augment(chip, one) for _ in range(10)]
    again = [augment(chip, two) for _ in range(10)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(first[0], other) for other in first[1:])


def test_without_chances_a_chip_stays_as_it_is() -> None:
    chip = make_chip()
    changed = augment(chip, np.random.default_rng(0), NEVER)
    assert np.array_equal(changed, chip)
    assert not np.shares_memory(changed, chip)


def test_mirroring_alone_mirrors() -> None:
    chip = make_chip()
    assert np.array_equal(augment(chip, np.random.default_rng(0), replace(NEVER, mirror=1)), chip[:, ::-1])


@pytest.mark.parametrize("name", ["move", "light", "blur", "jpeg", "downscale"])
def test_each_chance_changes_a_chip_but_leaves_the_face_what_it_is(name: str) -> None:
    chip = make_chip()
    generator = np.random.default_rng(1)
    changed = [augment(chip, generator, replace(NEVER, **{name: 1.0})) for _ in range(8)]
    assert any(not np.array_equal(each, chip) for each in changed)
    for each in changed:
        assert each.shape == chip.shape and each.dtype == np.uint8
        assert np.corrcoef(each.ravel().astype(float), chip.ravel().astype(float))[0, 1] > 0.75


def test_colours_keep_their_order_through_jpeg() -> None:
    red = np.zeros((32, 32, 3), dtype=np.uint8)
    red[..., 0] = 220
    changed = augment(red, np.random.default_rng(0), replace(NEVER, jpeg=1))
    assert changed[..., 0].mean() > 200 and changed[..., 2].mean() < 20


def test_a_face_far_away_loses_what_is_fine() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    changed = augment(stripes, np.random.default_rng(0), replace(NEVER, downscale=1, smallest=0.0))
    assert changed.std() < 0.7 * stripes.std()


def test_the_chip_that_was_given_is_not_written_to() -> None:
    chip = make_chip()
    kept = chip.copy()
    chip.setflags(write=False)
    always = replace(DEFAULT, mirror=1, move=1, light=1, blur=1, jpeg=1, downscale=1)
    augment(chip, np.random.default_rng(0), always)
    assert np.array_equal(chip, kept)


def test_a_batch_is_its_chips_in_turn() -> None:
    chips = np.array([make_chip(seed=n) for n in range(4)])
    generator = np.random.default_rng(9)
    singly = [augment(chip, generator) for chip in chips]
    assert np.array_equal(augment_batch(chips, np.random.default_rng(9)), np.array(singly))
    assert augment_batch(chips[:0], generator).shape == (0, 64, 64, 3)

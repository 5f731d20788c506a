"""Which parts of a face make its score, on pictures where that is known, and on a real face with a real network."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from ml.alignment import align_face
from ml.backbones import load_backbone
from ml.backbones.cards import find_card
from ml.embedding import Embedder
from ml.explanation import HeatMap, covered_chips, grid_to_chip, grid_to_image, heat_overlay, occlusion_map
from ml.types import Chip, Face, FloatArray, RgbImage
from tests.ml.faces import grace_hopper

SIDE = 84
CELL = SIDE // 7
TEMPLATE = find_card("dlib-resnet").template_array
# MTCNN's, written down so that this needs no detector.
HOPPER_LANDMARKS = np.array(
    [[221.7, 192.2], [309.8, 186.1], [269.4, 239.2], [232.7, 279.6], [306.6, 275.9]], np.float32
)


def make_chip(*, side: int = SIDE) -> Chip:
    """Noise: blurring takes its texture away wherever it is covered."""
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def texture_of(chip: Chip, row: int, column: int) -> float:
    """0..1 how rough the chip is in one cell of 7 x 7."""
    cell = chip[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
    return float(np.std(cell) / 74)


def looks_at(row: int, column: int, chips: Sequence[Chip]) -> FloatArray:
    """Embeddings that depend on the roughness of one cell and on nothing else."""
    angles = np.array([texture_of(chip, row, column) for chip in chips])
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def make_heat(*, row: int = 3, column: int = 3, value: float = 0.1, n_across: int = 7) -> HeatMap:
    heat = np.zeros((n_across, n_across), np.float32)
    heat[row, column] = value
    return HeatMap(heat, 0.5)


def saturation(picture: RgbImage) -> np.ndarray:
    return picture.max(axis=2).astype(int) - picture.min(axis=2)


@pytest.mark.parametrize(("row", "column"), [(3, 3), (0, 6), (5, 1)])
def test_the_part_that_the_network_looks_at_is_the_hottest_and_far_ones_are_cold(row: int, column: int) -> None:
    chip = make_chip()
    (target,) = looks_at(row, column, [chip])
    found = occlusion_map(chip, lambda chips: looks_at(row, column, chips), target)
    assert found.base == pytest.approx(1.0)
    assert found.heat.shape == (7, 7) and found.heat.dtype == np.float32
    assert np.unravel_index(found.heat.argmax(), (7, 7)) == (row, column)
    far = [found.heat[y, x] for y, x in np.ndindex(7, 7) if max(abs(y - row), abs(x - column)) > 2]
    assert found.heat[row, column] > 0.1
    np.testing.assert_allclose(far, 0, atol=1e-3)


def test_what_stands_in_the_way_of_the_match_is_below_zero() -> None:
    chip = make_chip()
    smooth = np.array([1.0, 0.0], np.float32)  # what a face without any texture there would have
    found = occlusion_map(chip, lambda chips: looks_at(2, 4, chips), smooth)
    assert np.unravel_index(found.heat.argmin(), (7, 7)) == (2, 4)
    assert found.heat[2, 4] < -0.1
    assert found.base == pytest.approx(float(looks_at(2, 4, [chip])[0, 0]))


def test_all_chips_are_embedded_at_once_the_whole_one_first() -> None:
    chip, asked = make_chip(), list[Sequence[Chip]]()

    def embed(chips: Sequence[Chip]) -> FloatArray:
        asked.append(chips)
        return looks_at(0, 0, chips)

    assert occlusion_map(chip, embed, looks_at(0, 0, [chip])[0], n_across=3).n_across == 3
    (chips,) = asked
    assert len(chips) == 10
    np.testing.assert_array_equal(chips[0], chip)


def test_every_pixel_is_covered_by_some_patch_and_a_patch_leaves_the_rest_alone() -> None:
    chip = make_chip()
    changes = np.stack([np.abs(each.astype(int) - chip).max(axis=2) for each in covered_chips(chip)])
    assert all(each.shape == chip.shape and each.dtype == np.uint8 for each in covered_chips(chip))
    assert (changes.max(axis=0) > 5).mean() > 0.99
    assert (changes[0][4 * CELL :, 4 * CELL :] == 0).all()


def test_a_chip_of_one_colour_stays_as_it_is() -> None:
    plain = np.full((SIDE, SIDE, 3), 77, np.uint8)
    assert all((each == plain).all() for each in covered_chips(plain))


def test_the_middle_of_a_real_face_counts_and_its_corners_do_not() -> None:
    torch.set_num_threads(1)
    card = find_card("dlib-resnet")
    image = grace_hopper()
    chip = align_face(image, Face(np.zeros(4, np.float32), HOPPER_LANDMARKS, 1.0), TEMPLATE, card.chip_size_px)
    embedder = Embedder(load_backbone("dlib-resnet"), mirrored=False)
    (target,) = embedder.embed([np.ascontiguousarray(chip[:, ::-1])])
    found = occlusion_map(chip, embedder.embed, target, n_across=5)
    assert found.base > 0.97
    assert found.heat[2, 2] > 0.005
    corners = np.abs(found.heat[[0, 0, -1, -1], [0, -1, 0, -1]])
    assert corners.max() < found.heat[1:4, 1:4].max() / 3


def test_the_grid_lies_on_the_picture_as_the_landmarks_say() -> None:
    on_chip = grid_to_chip(150, 7)
    np.testing.assert_allclose(on_chip @ [0, 0, 1], [10.2143, 10.2143], atol=1e-4)
    np.testing.assert_allclose(on_chip @ [6, 6, 1], [138.7857, 138.7857], atol=1e-4)
    np.testing.assert_allclose(grid_to_image(TEMPLATE, TEMPLATE, 150, 7), on_chip, atol=1e-4)
    doubled = (2 * TEMPLATE + [30, -10]).astype(np.float32)
    np.testing.assert_allclose(
        grid_to_image(doubled, TEMPLATE, 150, 7), 2 * on_chip + [[0, 0, 30], [0, 0, -10]], atol=1e-3
    )


def test_a_part_glows_where_it_lies_and_the_rest_is_the_picture_in_grey() -> None:
    picture = np.full((300, 300, 3), (200, 120, 60), np.uint8)
    grid = grid_to_chip(300, 7)
    x, y = np.rint(grid @ [5, 1, 1]).astype(int)
    shown = heat_overlay(picture, make_heat(row=1, column=5), grid)
    assert shown.shape == picture.shape and shown.dtype == np.uint8
    assert saturation(shown)[y, x] > 80
    assert shown[y, x, 0] > shown[y, x, 2], "what spoke for the match is warm"
    assert (saturation(shown)[:, : 300 // 2] == 0).all()
    assert (shown[:, : 300 // 2] == 137).all()  # 0.299 * 200 + 0.587 * 120 + 0.114 * 60


def test_what_spoke_against_the_match_is_blue() -> None:
    picture = np.full((70, 70, 3), 128, np.uint8)
    shown = heat_overlay(picture, make_heat(value=-0.1), grid_to_chip(70, 7))
    red, _, blue = shown[35, 35].astype(int)
    assert blue - red > 80


def test_a_map_in_which_nothing_counts_is_not_stretched_into_colours() -> None:
    picture = np.full((70, 70, 3), 128, np.uint8)
    shown = heat_overlay(picture, make_heat(value=0.0002), grid_to_chip(70, 7))
    assert (shown == 128).all()

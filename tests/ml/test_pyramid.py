"""The levels of a pyramid, laid out on canvases."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ml.mtcnn import edges_of, painted
from ml.mtcnn_networks import Proposer
from ml.pyramid import PIXELS_PER_CANVAS, lay_out, pyramid_scales, remembered
from ml.running_sums import RunningSums, bins_of_whole
from tests.ml.faces import astronaut

CPU = torch.device("cpu")
FACTOR = 0.709
sides = st.integers(1, 4096)


@given(sides, sides, st.sampled_from([12, 20, 40, 100]))
def test_every_level_has_a_place_of_its_own(height: int, width: int, min_face_px: int) -> None:
    canvases = lay_out((height, width), min_face_px, FACTOR)
    levels = [level for canvas in canvases for level in canvas.levels]
    assert [level.scale for level in levels] == pyramid_scales((height, width), min_face_px, FACTOR)
    for level in levels:
        assert level.size_hw == (int(height * level.scale + 1), int(width * level.scale + 1))
    for canvas in canvases:
        taken = np.zeros(canvas.size_hw, dtype=np.int8)
        for level in canvas.levels:
            (y, x), (rows, columns) = level.at_yx, level.size_hw
            assert y % 2 == x % 2 == 0
            assert y + rows <= canvas.size_hw[0]
            assert x + columns <= canvas.size_hw[1]
            taken[y : y + rows, x : x + columns] += 1
        assert taken.max() == 1
        n_pixels = canvas.size_hw[0] * canvas.size_hw[1]
        assert n_pixels <= PIXELS_PER_CANVAS * 1.15 or len(canvas.levels) == 1


@pytest.mark.parametrize("size_hw", [(250, 250), (480, 640), (1080, 1920), (1920, 1080), (3000, 4000)])
def test_little_of_a_canvas_is_empty(size_hw: tuple[int, int]) -> None:
    canvases = lay_out(size_hw, 40, FACTOR)
    filled = sum(height * width for canvas in canvases for height, width in (level.size_hw for level in canvas.levels))
    assert sum(canvas.size_hw[0] * canvas.size_hw[1] for canvas in canvases) < 1.15 * filled


def test_what_is_made_of_a_canvas_is_kept_unless_it_is_large() -> None:
    make = remembered(lambda canvas, word: [canvas, word])
    [small], *_, [large] = (lay_out(size_hw, 40, FACTOR) for size_hw in ((250, 250), (4000, 4000)))
    assert make(small, "a") is make(small, "a")
    assert make(small, "a") is not make(small, "b")
    assert make(large, "a") is not make(large, "a")


@given(sides, sides)
def test_a_position_belongs_to_the_level_that_holds_its_whole_window(height: int, width: int) -> None:
    for canvas in lay_out((height, width), 40, FACTOR):
        for index, level in enumerate(canvas.levels):
            rows, columns = (canvas.level_at == index).nonzero()
            (y, x), (n_rows, n_columns) = (at // 2 for at in level.at_yx), level.n_positions_hw
            assert (rows.min(), columns.min()) == (y, x)
            assert (rows.max(), columns.max()) == (y + n_rows - 1, x + n_columns - 1)
            assert len(rows) == n_rows * n_columns


def test_levels_that_share_a_canvas_are_seen_as_if_each_were_alone() -> None:
    """The astronaut's sizes at this factor are odd and even, so that levels end in the middle of a pool, too."""
    image = np.ascontiguousarray(astronaut()[:301, :403])
    sums, network = RunningSums.of([image], CPU), Proposer().eval()
    with torch.inference_mode():
        [canvas] = lay_out((301, 403), 40, FACTOR)
        together = network(painted(sums, [0], canvas), edges_of(canvas, CPU))[0]
        for index, level in enumerate(canvas.levels):
            height, width = level.size_hw
            alone = torch.empty(1, height, width, 3)
            sums.fill(alone[0], 0, bins_of_whole((301, 403), (height, width), CPU))
            expected: Tensor = network(alone, torch.zeros(1, 1, height - 2, width - 2))[0]
            assert expected.shape[1:] == level.n_positions_hw
            rows, columns = (torch.from_numpy(each) for each in (canvas.level_at == index).nonzero())
            assert torch.allclose(together[:, rows, columns], expected.flatten(1), atol=1e-4)
    assert len(canvas.levels) > 4
    assert any(level.size_hw[0] % 2 for level in canvas.levels)
    assert any(level.size_hw[1] % 2 for level in canvas.levels)

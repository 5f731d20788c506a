"""Means over rectangles, against torch's own area interpolation."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from ml.running_sums import RunningSums, bin_edges, bins_of_whole, summed_by_opencv, summed_by_torch
from ml.types import RgbImage

CPU = torch.device("cpu")


def make_noise(height: int, width: int, *, seed: int = 0) -> RgbImage:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(image: RgbImage, out_hw: tuple[int, int]) -> torch.Tensor:
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).unsqueeze(0).double()
    return interpolate(planes, size=out_hw, mode="area")[0].permute(1, 2, 0).float()


def shrunk(sums: RunningSums, index: int, out_hw: tuple[int, int]) -> torch.Tensor:
    out = torch.empty(*out_hw, 3)
    sums.fill(out, index, bins_of_whole(sums.sizes_hw[index], out_hw, CPU))
    return out


@pytest.mark.parametrize("out_hw", [(31, 47), (1, 1), (60, 90), (59, 7), (100, 200)])
def test_a_shrunk_image_is_torchs_area_interpolation(out_hw: tuple[int, int]) -> None:
    image = make_noise(60, 90)
    assert torch.allclose(shrunk(RunningSums.of([image], CPU), 0, out_hw), reference(image, out_hw), atol=1e-4)


def test_images_of_several_sizes_are_shrunk_each_from_its_own_pixels() -> None:
    images = [make_noise(20, 30), make_noise(50, 40, seed=1), make_noise(20, 30, seed=2)]
    sums = RunningSums.of(images, CPU)
    assert sums.by_size() == {(20, 30): [0, 2], (50, 40): [1]}
    for index, image in enumerate(images):
        assert torch.allclose(shrunk(sums, index, (7, 9)), reference(image, (7, 9)), atol=1e-4)


def test_a_shrunk_image_fills_its_place_on_a_larger_picture_and_no_more() -> None:
    image, picture = make_noise(20, 30), torch.full((12, 20, 3), -1.0)
    RunningSums.of([image], CPU).fill(picture[2:9, 4:13], 0, bins_of_whole((20, 30), (7, 9), CPU))
    assert torch.allclose(picture[2:9, 4:13], reference(image, (7, 9)), atol=1e-4)
    picture[2:9, 4:13] = -1
    assert (picture == -1).all()


@pytest.mark.parametrize("side_px", [24, 48])
def test_crops_of_several_images_are_torchs_area_interpolation(side_px: int) -> None:
    images = [make_noise(60, 90), make_noise(200, 100, seed=1)]
    owners = torch.tensor([1, 0, 1, 0])
    bounds = torch.tensor([[0, 0, 100, 200], [3, 5, 40, 59], [99, 199, 100, 200], [10, 10, 34, 34]])
    crops = RunningSums.of(images, CPU).crops(owners, bounds, side_px)
    for owner, (x0, y0, x1, y1), crop in zip(owners.tolist(), bounds.tolist(), crops, strict=True):
        assert torch.allclose(crop, reference(images[owner][y0:y1, x0:x1], (side_px, side_px)), atol=1e-4)


def test_several_threads_make_the_means_that_one_makes() -> None:
    image = make_noise(700, 900)
    corners = torch.randint(0, 500, (300, 2), generator=torch.Generator().manual_seed(0))
    bounds, owners = torch.cat([corners, corners + 101], dim=1), torch.zeros(300, dtype=torch.int64)
    alone = RunningSums.of([image], CPU)
    with ThreadPoolExecutor(3) as workers:
        shared = RunningSums.of([image], CPU, workers)
        assert torch.equal(shrunk(shared, 0, (350, 449)), shrunk(alone, 0, (350, 449)))
        assert torch.equal(shared.crops(owners, bounds, 24), alone.crops(owners, bounds, 24))


def test_no_rectangles_are_no_crops() -> None:
    crops = RunningSums.of([make_noise(9, 9)], CPU).crops(
        torch.empty(0, dtype=torch.int64), torch.empty(0, 4).long(), 24
    )
    assert crops.shape == (0, 24, 24, 3)


def test_sums_that_overflow_32_bits_cancel() -> None:
    white = np.full((4096, 4096, 3), 255, dtype=np.uint8)
    assert 255 * 4096**2 > 2**31
    sums = RunningSums.of([white], CPU)
    crops = sums.crops(torch.tensor([0, 0]), torch.tensor([[4000, 4000, 4096, 4096], [0, 0, 2000, 4096]]), 24)
    assert (crops == 255).all()
    assert (shrunk(sums, 0, (13, 1000)) == 255).all()


def test_bins_cover_every_pixel_and_share_one_where_the_division_is_not_even() -> None:
    first, past = bin_edges(torch.tensor([7]), 3)
    assert first.tolist() == [0, 2, 4]
    assert past.tolist() == [3, 5, 7]


def test_more_bins_than_pixels_repeat_pixels() -> None:
    first, past = bin_edges(torch.tensor([2]), 4)
    assert first.tolist() == [0, 0, 1, 1]
    assert past.tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 5), (300, 411)])
def test_a_gpus_way_of_summing_up_gives_the_same_points(size_hw: tuple[int, int]) -> None:
    image = make_noise(*size_hw)
    mirrored = image[:, ::-1]
    mirrored.flags.writeable = False
    for each in (image, mirrored):
        ours, theirs = (sums.view(torch.int32) for sums in (summed_by_torch([each], CPU), summed_by_opencv([each])))
        assert torch.equal(ours.view(-1, 4)[:, :3], theirs.view(-1, 4)[:, :3])


def test_a_gpus_sums_that_overflow_32_bits_cancel_too() -> None:
    white = np.full((4096, 4096, 3), 255, dtype=np.uint8)
    ours, theirs = (
        sums.view(torch.int32).view(-1, 4)[-1, :3]
        for sums in (summed_by_torch([white], CPU), summed_by_opencv([white]))
    )
    assert torch.equal(ours, theirs)

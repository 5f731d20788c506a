"""Means over rectangles of many images, four look-ups each: what MTCNN's pyramid and crops are made of."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor

from ml.types import RgbImage

# On a CPU, means are made in parts: their temporaries, four megabytes, stay near the processor that makes them, and
# several processors can make them. Measured from 16 to 512 thousand; smaller ones wait for each other in Python.
_MEANS_PER_PART: Final = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Rectangles whose means are wanted, in any order.

    `corners (4, ...)` int32 are the places of their corner points: bottom right, bottom left, top right and top left;
    `areas (..., 3)` float32 their pixels, once for each colour: dividing by one number for three takes eight times as
    long.
    """

    corners: Tensor
    areas: Tensor

    @classmethod
    def grids(cls, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], start: Tensor, line: Tensor) -> "Bins":
        """Grids of rows and columns.

        Args:
            rows: `(N, h, 1)` int32, first pixel of each row, and one past its last.
            columns: `(N, 1, w)` int32, the same of each column.
            start: `(N, 1, 1)` int32, place of the first point of each grid's image.
            line: `(N, 1, 1)` int32, points from one line of the image to the next.

        Returns:
            `(N, h, w)` rectangles.
        """
        (top, bottom), (left, right) = rows, columns
        above, below = start + top * line, start + bottom * line
        corners = above.new_empty((4, len(top), top.shape[1], left.shape[2]))
        for corner, (y, x) in zip(corners, ((below, right), (below, left), (above, right), (above, left)), strict=True):
            torch.add(y, x, out=corner)
        areas = (bottom - top).float() * (right - left).float().repeat_interleave(3, dim=2)
        return cls(corners, areas.view(*corners.shape[1:], 3))

    def part(self, rows: slice) -> "Bins":
        """Those whose first index is among `rows`."""
        return Bins(self.corners[:, rows], self.areas[rows])


@dataclass(frozen=True, slots=True, eq=False)
class RunningSums:
    """Summed-area tables of several images, laid end to end.

    `points (sum of (H+1)(W+1),)` holds, for each point between pixels, the sums of everything above and to its left:
    four int32, red, green, blue and one unused, that are looked up as one complex128, because a look-up takes as long
    for 16 bytes as for 4. The largest images overflow them, which cancels in the differences: only a rectangle's own
    sum must fit. `starts (N,)` int32 says where each image begins, `limits_wh (N, 2)` int32 and `sizes_hw` how big it
    is.

    Source: Crow, "Summed-area tables for texture mapping", 1984.
    """

    points: Tensor
    starts: Tensor
    limits_wh: Tensor
    sizes_hw: list[tuple[int, int]]
    workers: Executor | None = None

    @classmethod
    def of(cls, images: Sequence[RgbImage], device: torch.device, workers: Executor | None = None) -> "RunningSums":
        """Sum up at least one `(H, W, 3)` uint8 image; the tables then lie on `device`.

        `workers` share the look-ups on a CPU; without them, the caller's thread makes them all.
        """
        sizes_hw = [(image.shape[0], image.shape[1]) for image in images]
        starts = np.cumsum([0] + [_n_points(size_hw) for size_hw in sizes_hw[:-1]], dtype=np.int32)
        points = summed_by_opencv(images) if device.type == "cpu" else summed_by_torch(images, device)
        limits_wh = torch.tensor([(width, height) for height, width in sizes_hw], dtype=torch.int32)
        return cls(points, torch.from_numpy(starts).to(device), limits_wh.to(device), sizes_hw, workers)

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return self.points.device

    def by_size(self) -> dict[tuple[int, int], list[int]]:
        """Indices of the images of each `(H, W)`."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, size_hw in enumerate(self.sizes_hw):
            groups.setdefault(size_hw, []).append(index)
        return groups

    def fill(self, out: Tensor, index: int, bins: Bins) -> None:
        """Put means over rectangles of one image in their places.

        Args:
            out: `(h, w, 3)` float32 that is filled with mean RGB levels, 0..255.
            index: which image.
            bins: `(h, w)`, with corners counted from the image's first point.
        """
        start = sum(map(_n_points, self.sizes_hw[:index]))
        points = self.points[start : start + _n_points(self.sizes_hw[index])]
        self._in_parts(out, lambda rows: _put_means(out[rows], points, bins.part(rows)))

    def crops(self, owners: Tensor, bounds: Tensor, side_px: int) -> Tensor:
        """Cut rectangles out and bring each to a square, smaller or bigger than it was.

        Args:
            owners: `(N,)` int64 index of the image that each rectangle lies in.
            bounds: `(N, 4)` int32 half-open xyxy, within the image and not empty.
            side_px: side of the squares.

        Returns:
            `(N, side_px, side_px, 3)` float32 mean RGB levels, 0..255.
        """
        starts, lines = self.starts[owners].view(-1, 1, 1), self.limits_wh[owners, 0].view(-1, 1, 1) + 1
        out = torch.empty((len(bounds), side_px, side_px, 3), device=self.device)

        def cut(part: slice) -> None:
            _put_means(out[part], self.points, _bins_of_crops(bounds[part], side_px, starts[part], lines[part]))

        self._in_parts(out, cut)
        return out

    def _in_parts(self, out: Tensor, make: Callable[[slice], None]) -> None:
        """Have all of `out (n, h, 3)` or `(n, h, w, 3)` made; on a CPU part by part."""
        n = len(out)
        step = n if self.device.type != "cpu" else max(1, _MEANS_PER_PART * 3 * n // max(1, out.numel()))
        if n <= step or self.workers is None:
            for first in range(0, n, max(1, step)):
                make(slice(first, first + step))
            return

        def make_there(first: int) -> None:
            with torch.inference_mode():  # which counts for one thread only
                make(slice(first, first + step))

        list(self.workers.map(make_there, range(0, n, step)))


def _put_means(out: Tensor, points: Tensor, bins: Bins) -> None:
    """Look up the four corners of each rectangle, and divide."""

    def at(corner: Tensor) -> Tensor:
        return points.index_select(0, corner.flatten()).view(torch.int32)

    bottom_right, bottom_left, top_right, top_left = bins.corners
    sums = at(bottom_right).sub_(at(bottom_left)).sub_(at(top_right)).add_(at(top_left))
    # all four numbers at once: taking three apart is nine times as slow
    torch.div(sums.float().view(*out.shape[:-1], 4)[..., :3], bins.areas, out=out)


def _bins_of_crops(bounds: Tensor, side_px: int, starts: Tensor, lines: Tensor) -> Bins:
    corners, sizes = bounds[:, :2, None], (bounds[:, 2:] - bounds[:, :2]).unsqueeze(2)
    first, past = (corners + edges for edges in bin_edges(sizes, side_px))  # (N, 2, side_px), columns before rows
    return Bins.grids((first[:, 1, :, None], past[:, 1, :, None]), (first[:, :1], past[:, :1]), starts, lines)


def bins_of_whole(size_hw: tuple[int, int], out_hw: tuple[int, int], device: torch.device) -> Bins:
    """`(h, w)` rectangles that share out a whole image, with corners counted from its first point."""
    rows, columns = (
        bin_edges(torch.tensor([[[length]]], dtype=torch.int32, device=device), n_bins)
        for length, n_bins in zip(size_hw, out_hw, strict=True)
    )
    start, line = torch.tensor([[0], [size_hw[1] + 1]], dtype=torch.int32, device=device).view(2, 1, 1, 1)
    bins = Bins.grids((rows[0].mT, rows[1].mT), columns, start, line)
    return Bins(bins.corners[:, 0], bins.areas[0])


def summed_by_opencv(images: Sequence[RgbImage]) -> Tensor:
    """The points of images, as `RunningSums` holds them; fast on a CPU."""
    # Summed up in their places, in memory that NumPy asks for in big pages: two frames of 1080p took 47 ms when torch
    # put their tables together, and take 6.
    points = np.empty(sum(_n_points(image.shape) for image in images), dtype=np.complex128)
    start = 0
    for image in images:
        table = points[start : start + _n_points(image.shape)].view(np.int32)
        height, width = image.shape[:2]
        in_place = table.reshape(height + 1, width + 1, 4)
        cv2.integral(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), in_place, sdepth=cv2.CV_32S)
        start += _n_points(image.shape)
    return torch.from_numpy(points)


def summed_by_torch(images: Sequence[RgbImage], device: torch.device) -> Tensor:
    """The same, summed up on the device: only the pictures are sent there, a fifth of the bytes."""
    return torch.cat([_summed_there(image, device) for image in images])


def _summed_there(image: RgbImage, device: torch.device) -> Tensor:
    height, width = image.shape[:2]
    pixels = torch.from_numpy(np.require(image, np.uint8, ["C", "W"]))
    if device.type == "cuda":
        pixels = pixels.pin_memory()
    sums = torch.zeros((height + 1, width + 1, 4), dtype=torch.int32, device=device)
    sums[1:, 1:, :3] = pixels.to(device, non_blocking=True)
    sums = sums.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32)
    return sums.view(torch.complex128).flatten()


def _n_points(shape: Sequence[int]) -> int:
    """Of a table of an image of this shape, of which the first two numbers count."""
    return (shape[0] + 1) * (shape[1] + 1)


def bin_edges(lengths: Tensor, n_bins: int) -> tuple[Tensor, Tensor]:
    """Share out lengths over bins of whole pixels, where neighbours may share one.

    These are the bins of torch's adaptive average pooling, and so of `interpolate(mode="area")`.

    Args:
        lengths: `(..., 1)` px, int32 or int64.
        n_bins: how many bins; more than there are pixels is allowed.

    Returns:
        `(..., n_bins)` first pixel of each bin, and one past its last.
    """
    bins = torch.arange(n_bins, dtype=lengths.dtype, device=lengths.device)
    return bins * lengths // n_bins, ((bins + 1) * lengths + n_bins - 1) // n_bins

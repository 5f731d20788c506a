"""Means over rectangles of many images, four look-ups each: what MTCNN's pyramid and crops are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from ml.types import RgbImage


@dataclass(frozen=True, slots=True, eq=False)
class RunningSums:
    """Summed-area tables of several images, laid end to end.

    `points (sum of (H+1)(W+1),)` holds, for each point between pixels, the sums of everything above and to its left:
    four int32, red, green, blue and one unused, that are looked up as one complex128, because a look-up takes as long
    for 16 bytes as for 4. The largest images overflow them, which cancels in the differences: only a rectangle's own
    sum must fit. `starts (N,)` int64 says where each image begins, `limits_wh (N, 2)` int64 and `sizes_hw` how big it
    is.

    Source: Crow, "Summed-area tables for texture mapping", 1984.
    """

    points: Tensor
    starts: Tensor
    limits_wh: Tensor
    sizes_hw: list[tuple[int, int]]

    @classmethod
    def of(cls, images: Sequence[RgbImage], device: torch.device) -> "RunningSums":
        """Sum up at least one `(H, W, 3)` uint8 image; the tables then lie on `device`."""
        sizes_hw = [(image.shape[0], image.shape[1]) for image in images]
        sum_up = summed_by_opencv if device.type == "cpu" else summed_by_torch
        tables = [sum_up(image, device) for image in images]
        starts = np.cumsum([0] + [len(table) for table in tables[:-1]])
        points = torch.cat(tables) if len(tables) > 1 else tables[0]
        limits_wh = torch.tensor([(width, height) for height, width in sizes_hw])
        return cls(points, torch.from_numpy(starts).to(device), limits_wh.to(device), sizes_hw)

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

    def shrink_into(self, out: Tensor, index: int) -> None:
        """Shrink a whole image.

        Args:
            out: `(h, w, 3)` float32 that is filled with mean RGB levels, 0..255.
            index: which image.
        """
        height, width = self.sizes_hw[index]
        y0, y1 = (edge.unsqueeze(1) for edge in _edges_of_whole(height, out.shape[0], self.device))
        x0, x1 = _edges_of_whole(width, out.shape[1], self.device)
        top, bottom = (self.starts[index] + y * (width + 1) for y in (y0, y1))
        torch.div(self._sums(top, bottom, x0, x1), _area(y1 - y0, x1 - x0), out=out)

    def crops(self, owners: Tensor, bounds: Tensor, side_px: int) -> Tensor:
        """Cut rectangles out and bring each to a square, smaller or bigger than it was.

        Args:
            owners: `(N,)` int64 index of the image that each rectangle lies in.
            bounds: `(N, 4)` int64 half-open xyxy, within the image and not empty.
            side_px: side of the squares.

        Returns:
            `(N, side_px, side_px, 3)` float32 mean RGB levels, 0..255.
        """
        x0, x1 = (bounds[:, :1] + edge for edge in bin_edges(bounds[:, 2:3] - bounds[:, :1], side_px))
        y0, y1 = (bounds[:, 1:2] + edge for edge in bin_edges(bounds[:, 3:] - bounds[:, 1:2], side_px))
        line = self.limits_wh[owners, 0].view(-1, 1) + 1
        top, bottom = ((self.starts[owners].view(-1, 1) + y * line).unsqueeze(2) for y in (y0, y1))
        x0, x1 = x0.unsqueeze(1), x1.unsqueeze(1)
        return self._sums(top, bottom, x0, x1) / _area((y1 - y0).unsqueeze(2), x1 - x0)

    def _sums(self, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """Sums over rectangles: `(..., h, w, 3)` float32.

        Rows `top` and `bottom (..., h, 1)` are given as places of their first points, columns `(..., 1, w)` as numbers.
        """
        sums = self._at(bottom + right)
        sums -= self._at(bottom + left)
        sums -= self._at(top + right)
        sums += self._at(top + left)
        return sums.float()[..., :3]  # all four at once: taking three apart is nine times as slow

    def _at(self, places: Tensor) -> Tensor:
        return self.points.index_select(0, places.flatten()).view(*places.shape, 1).view(torch.int32)


def _area(heights: Tensor, widths: Tensor) -> Tensor:
    return (heights * widths).unsqueeze(-1).float()


def summed_by_opencv(image: RgbImage, device: torch.device) -> Tensor:
    """The points of one image, as `RunningSums` holds them; fast on a CPU."""
    sums = cv2.integral(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), sdepth=cv2.CV_32S)
    return torch.from_numpy(sums.view(np.complex128).reshape(-1)).to(device)


def summed_by_torch(image: RgbImage, device: torch.device) -> Tensor:
    """The same, summed up on the device: only the picture is sent there, a fifth of the bytes."""
    height, width = image.shape[:2]
    pixels = torch.from_numpy(np.require(image, np.uint8, ["C", "W"]))
    if device.type == "cuda":
        pixels = pixels.pin_memory()
    sums = torch.zeros((height + 1, width + 1, 4), dtype=torch.int32, device=device)
    sums[1:, 1:, :3] = pixels.to(device, non_blocking=True)
    sums = sums.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32)
    return sums.view(torch.complex128).flatten()


@lru_cache(maxsize=256)
def _edges_of_whole(length: int, n_bins: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """`bin_edges` of a side of a whole picture: cameras send few sizes."""
    return bin_edges(torch.tensor(length, device=device), n_bins)


def bin_edges(lengths: Tensor, n_bins: int) -> tuple[Tensor, Tensor]:
    """Share out lengths over bins of whole pixels, where neighbours may share one.

    These are the bins of torch's adaptive average pooling, and so of `interpolate(mode="area")`.

    Args:
        lengths: `(..., 1)` int64 px.
        n_bins: how many bins; more than there are pixels is allowed.

    Returns:
        `(..., n_bins)` int64 first pixel of each bin, and one past its last.
    """
    bins = torch.arange(n_bins, device=lengths.device)
    return bins * lengths // n_bins, ((bins + 1) * lengths + n_bins - 1) // n_bins

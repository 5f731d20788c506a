"""Means over rectangles of many images, four look-ups each: what MTCNN's pyramid and crops are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ml.types import RgbImage


@dataclass(frozen=True, slots=True, eq=False)
class RunningSums:
    """Summed-area tables of several images, laid end to end.

    `table (sum of (H+1)(W+1), 3)` int32 holds, for each point between pixels, the sum of everything above and to its
    left. The largest images overflow it, which cancels in the differences: only a rectangle's own sum must fit.
    `starts (N,)` int64 says where each image begins, `limits_wh (N, 2)` int64 and `sizes_hw` how big it is.

    Source: Crow, "Summed-area tables for texture mapping", 1984.
    """

    table: Tensor
    starts: Tensor
    limits_wh: Tensor
    sizes_hw: list[tuple[int, int]]

    @classmethod
    def of(cls, images: Sequence[RgbImage], device: torch.device) -> "RunningSums":
        """Sum up at least one `(H, W, 3)` uint8 image; the tables then lie on `device`."""
        sizes_hw = [(image.shape[0], image.shape[1]) for image in images]
        tables = [cv2.integral(image, sdepth=cv2.CV_32S).reshape(-1, 3) for image in images]
        starts = np.cumsum([0] + [len(table) for table in tables[:-1]])
        table = torch.from_numpy(np.concatenate(tables) if len(tables) > 1 else tables[0])
        limits_wh = torch.tensor([(width, height) for height, width in sizes_hw])
        return cls(table.to(device), torch.from_numpy(starts).to(device), limits_wh.to(device), sizes_hw)

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return self.table.device

    def by_size(self) -> dict[tuple[int, int], list[int]]:
        """Indices of the images of each `(H, W)`."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, size_hw in enumerate(self.sizes_hw):
            groups.setdefault(size_hw, []).append(index)
        return groups

    def shrunk(self, members: Sequence[int], out_hw: tuple[int, int]) -> Tensor:
        """Shrink whole images.

        Args:
            members: indices of images of one size.
            out_hw: height and width to shrink them to.

        Returns:
            `(len(members), 3, *out_hw)` float32 mean RGB levels, 0..255.
        """
        height, width = self.sizes_hw[members[0]]
        y0, y1 = bin_edges(torch.tensor(height, device=self.device), out_hw[0])
        x0, x1 = bin_edges(torch.tensor(width, device=self.device), out_hw[1])
        area = ((y1 - y0)[:, None] * (x1 - x0)).unsqueeze(-1)
        levels = []
        for start in self.starts[list(members)].tolist():
            table = self.table[start : start + (height + 1) * (width + 1)].view(height + 1, width + 1, 3)
            rows = table[y1] - table[y0]
            levels.append((rows[:, x1] - rows[:, x0]) / area)
        return torch.stack(levels).permute(0, 3, 1, 2)

    def crops(self, owners: Tensor, bounds: Tensor, side_px: int) -> Tensor:
        """Cut rectangles out and bring each to a square, smaller or bigger than it was.

        Args:
            owners: `(N,)` int64 index of the image that each rectangle lies in.
            bounds: `(N, 4)` int64 half-open xyxy, within the image and not empty.
            side_px: side of the squares.

        Returns:
            `(N, 3, side_px, side_px)` float32 mean RGB levels, 0..255.
        """
        x0, x1 = (bounds[:, :1] + edge for edge in bin_edges(bounds[:, 2:3] - bounds[:, :1], side_px))
        y0, y1 = (bounds[:, 1:2] + edge for edge in bin_edges(bounds[:, 3:] - bounds[:, 1:2], side_px))
        line = self.limits_wh[owners, 0].view(-1, 1) + 1
        top, bottom = ((self.starts[owners].view(-1, 1) + y * line).unsqueeze(2) for y in (y0, y1))
        left, right = x0.unsqueeze(1), x1.unsqueeze(1)
        total = self.table[bottom + right] - self.table[bottom + left]
        total -= self.table[top + right] - self.table[top + left]
        area = (y1 - y0).unsqueeze(2) * (x1 - x0).unsqueeze(1)
        return (total / area.unsqueeze(3)).permute(0, 3, 1, 2)


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

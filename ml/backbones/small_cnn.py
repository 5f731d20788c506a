"""A small network that can be trained from nothing on a folder of people: 112 x 112 chips, 128 numbers, 0.4 M weights.

Source: the blocks of MobileFaceNets (Chen, Liu, Gao, Han 2018): depthwise-separable with a narrow middle, and a
depthwise convolution over the whole last map instead of its mean, because not every place of a face says as much.
"""

from typing import Final

import torch
from torch import Tensor, nn

from ml.backbones.card import ModelCard
from ml.backbones.cards import ARCFACE_CHIP_SIZE_PX, ARCFACE_NORMALISATION, ARCFACE_SCORING, ARCFACE_TEMPLATE

SMALL_CNN: Final = ModelCard(
    name="small-cnn",
    version="0",
    kind="backbone",
    chip_size_px=ARCFACE_CHIP_SIZE_PX,
    dim=128,
    landmark_template=ARCFACE_TEMPLATE,
    colour="RGB",
    normalisation=ARCFACE_NORMALISATION,
    licence="yours: it knows nothing but your own photos",
    weights_origin="Trained from nothing on a folder of photos of this deployment.",
    weights=None,
    quality_note="As good as the folder: hundreds of people with tens of photos each are a beginning.",
    limits="Far behind the published networks, which saw millions of faces. Measure it before it is used.",
    scoring=ARCFACE_SCORING,
)
"""What is known of the network before it is trained; version 0 has no weights."""

# (channels, blocks) of the stages; each halves the map: 56, 28, 14, 7 px.
_STAGES = ((32, 0), (64, 2), (96, 3), (128, 2))
_EXPANSION = 2  # MobileFaceNets' own
_LAST_CHANNELS = 256


class SmallCnn(nn.Module):
    """`(N, 112, 112, 3)` uint8 RGB -> `(N, 128)` float32, not normalised."""

    def __init__(self) -> None:
        """Draw weights from torch's random numbers: seed them before."""
        super().__init__()
        n_in, layers = 3, list[nn.Module]()
        for index, (n_out, n_blocks) in enumerate(_STAGES):
            layers += _convolution(n_in, n_out, 3, stride=2) if index == 0 else [_Block(n_in, n_out, stride=2)]
            layers += [_Block(n_out, n_out, stride=1) for _ in range(n_blocks)]
            n_in = n_out
        self.blocks = nn.Sequential(*layers, *_convolution(n_in, _LAST_CHANNELS, 1))
        self.pool = nn.Sequential(
            *_convolution(_LAST_CHANNELS, _LAST_CHANNELS, 7, padding=0, groups=_LAST_CHANNELS)[:2]
        )
        self.dense = nn.Linear(_LAST_CHANNELS, SMALL_CNN.dim, bias=False)
        self.norm = nn.BatchNorm1d(SMALL_CNN.dim)
        self.to(memory_format=torch.channels_last)

    def forward(self, chips: Tensor) -> Tensor:
        """Embed `(N, 112, 112, 3)` uint8 RGB chips: `(N, 128)` float32."""
        normalisation = SMALL_CNN.normalisation
        x = (chips.permute(0, 3, 1, 2).float() - normalisation.mean[0]) * normalisation.scale
        x = self.pool(self.blocks(x.to(self.dense.weight.dtype))).flatten(1)
        embeddings: Tensor = self.norm(self.dense(x))
        return embeddings.float()


class _Block(nn.Module):
    """Widen, look at each channel for itself, narrow; added to what came in where the shapes are equal."""

    def __init__(self, n_in: int, n_out: int, *, stride: int) -> None:
        super().__init__()
        n_wide = _EXPANSION * n_in
        self.layers = nn.Sequential(
            *_convolution(n_in, n_wide, 1),
            *_convolution(n_wide, n_wide, 3, stride=stride, groups=n_wide),
            *_convolution(n_wide, n_out, 1)[:2],
        )
        self._adds = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self._adds else y


def _convolution(
    n_in: int, n_out: int, size: int, *, stride: int = 1, padding: int | None = None, groups: int = 1
) -> list[nn.Module]:
    """Convolution, normalisation, activation."""
    pad = size // 2 if padding is None else padding
    layer = nn.Conv2d(n_in, n_out, size, stride=stride, padding=pad, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(n_out), nn.PReLU(n_out)]

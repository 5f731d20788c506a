"""dlib's face recognition ResNet-29 in torch: the same embeddings to 6e-7, without dlib.

Source: dlib's `examples/dnn_face_recognition_ex.cpp` (Boost Software License) for the architecture; weights by Davis
King, public domain.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from ml.backbones.card import ModelCard
from ml.backbones.dlib_format import DlibLayer, DlibNetwork, parse_dlib_network
from ml.backbones.torch_backbone import TorchBackbone
from ml.backbones.weights import require_weights
from ml.errors import ModelError
from ml.networks import torch_type
from ml.plan import PLAIN, EnginePlan

# (channels, whether the first block halves the map, blocks), from the input outwards.
_STAGES = ((32, False, 3), (64, True, 4), (128, True, 3), (256, True, 3), (256, True, 1))
_N_UPPER_BLOCKS = 4  # those of 256 channels
_PIXEL_SCALE = 1 / 256  # dlib's input layer, a constant in its code and not in the file
_NO_BIAS = 1

_Float64 = NDArray[np.float64]
_Folded = tuple[_Float64, _Float64]
"""Weights `[N, C, kh, kw]` and bias `[N]` of a convolution that has swallowed the affine layer after it."""


def load_dlib_resnet(
    card: ModelCard, models_dir: Path | None = None, *, device: str = "cpu", plan: EnginePlan = PLAIN
) -> TorchBackbone:
    """Read dlib's file and build the network.

    Args:
        card: the card `dlib-resnet`.
        models_dir: looked in if the package that carries the file is not installed.
        device: `cpu`, `cuda` or `cuda:N`.
        plan: how it is run; bfloat16 is about three times faster on a CPU with AMX and keeps a cosine of 0.99998 to
            float32 (the least of 320 development chips: 0.9998).

    Returns:
        Backbone from 150 x 150 RGB chips to 128 numbers of length about 1.4.

    Raises:
        ModelError: file absent, not the published one, or the device does not exist.
    """
    return TorchBackbone(card, dlib_network(card, models_dir, torch_type(plan, device)), device=device, plan=plan)


def dlib_network(card: ModelCard, models_dir: Path | None = None, dtype: torch.dtype = torch.float32) -> "DlibResNet":
    """Build the network with the published weights, on the CPU.

    Args:
        card: the card `dlib-resnet`.
        models_dir: looked in if the package that carries the file is not installed.
        dtype: of its convolutions.

    Raises:
        ModelError: file absent, or not the published one.
    """
    return DlibResNet(parse_dlib_network(require_weights(card, models_dir).read_bytes()), dtype)


class DlibResNet(nn.Module):
    """`(N, 150, 150, 3)` uint8 RGB -> `(N, 128)` float32, not normalised.

    The affine layers and the input's mean and scale are folded into the convolutions, which is exact: the first
    convolution has no padding, so every tap sees a pixel. It therefore takes raw 0..255, whole numbers that bfloat16
    holds exactly.
    """

    def __init__(self, network: DlibNetwork, dtype: torch.dtype = torch.float32) -> None:
        """Build from a parsed file.

        Raises:
            ModelError: the file holds another network.
        """
        super().__init__()
        convolutions = _folded_convolutions(network)
        stem = _convolution(next(convolutions), stride=2, padding=0)
        blocks = [
            _Residual(next(convolutions), next(convolutions), is_down=has_down and index == 0)
            for _, has_down, n_blocks in _STAGES
            for index in range(n_blocks)
        ]
        self.lower = _Lower(stem, blocks[:-_N_UPPER_BLOCKS], dtype)
        self.upper = _Upper(blocks[-_N_UPPER_BLOCKS:])
        self.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
        self.upper.dense = nn.Parameter(_dense_weights(network.layers[-1]))

    def forward(self, chips: Tensor) -> Tensor:
        """Embed `(N, 150, 150, 3)` uint8 RGB chips: `(N, 128)` float32."""
        embeddings: Tensor = self.upper(self.lower(chips))
        return embeddings


class _Lower(nn.Module):
    """`(N, 150, 150, 3)` uint8 RGB -> `(N, 128, 8, 8)`: what all faces have in common."""

    def __init__(self, stem: nn.Module, blocks: Sequence[nn.Module], dtype: torch.dtype) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self._dtype = dtype

    def forward(self, chips: Tensor) -> Tensor:
        x = chips.permute(0, 3, 1, 2).to(self._dtype)  # already channels_last in memory
        x = F.relu_(F.max_pool2d(self.stem(x), 3, 2))  # relu after the pool: the same numbers, a quarter of the work
        features: Tensor = self.blocks(x)
        return features


class _Upper(nn.Module):
    """`(N, 128, 8, 8)` -> `(N, 128)` float32: what tells them apart."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.dense: nn.Parameter  # always float32: it costs nothing and rounds once less

    def forward(self, features: Tensor) -> Tensor:
        x: Tensor = self.blocks(features)
        return x.float().mean((2, 3)) @ self.dense


class _Residual(nn.Module):
    """relu(x + conv(relu(conv(x)))); a block that halves the map adds to the averaged and zero-padded x instead."""

    def __init__(self, first: _Folded, second: _Folded, *, is_down: bool) -> None:
        super().__init__()
        # dlib pads only its stride-1 kernels
        self._first = _convolution(first, stride=2, padding=0) if is_down else _convolution(first, stride=1, padding=1)
        self._second = _convolution(second, stride=1, padding=1)
        self._is_down = is_down
        self._n_new_channels = second[0].shape[0] - first[0].shape[1]

    def forward(self, x: Tensor) -> Tensor:
        y = self._second(F.relu_(self._first(x)))
        if not self._is_down:
            return F.relu_(y.add_(x))
        x = F.avg_pool2d(x, 2)
        n_missing = x.shape[-1] - y.shape[-1]  # without padding 8 -> 3 and 4 -> 1, where the average gives 4 and 2
        if n_missing:
            y = F.pad(y, (0, n_missing, 0, n_missing))
        return F.relu_(y.add_(F.pad(x, (0, 0, 0, 0, 0, self._n_new_channels))))


def _convolution(folded: _Folded, *, stride: int, padding: int) -> nn.Conv2d:
    weights, bias = folded
    n_out, n_in, size, _ = weights.shape
    layer = nn.Conv2d(n_in, n_out, size, stride=stride, padding=padding, device="meta")  # no random weights first
    layer.weight = nn.Parameter(torch.from_numpy(weights))
    layer.bias = nn.Parameter(torch.from_numpy(bias))
    return layer


def _folded_convolutions(network: DlibNetwork) -> Iterator[_Folded]:
    """Fold in float64 each convolution of the file with the affine layer after it, and check that it fits its place."""
    pairs = [(con, affine) for con, affine in pairwise(network.layers) if con.kind == "con_4"]
    _require_architecture(network, pairs)
    for index, ((con, affine), (n_in, n_out)) in enumerate(zip(pairs, _expected_channels(), strict=True)):
        weights, bias = _fold_affine(con, affine, n_in, n_out)
        yield _fold_input(weights, bias, network.mean_rgb) if index == 0 else (weights, bias)


def _expected_channels() -> list[tuple[int, int]]:
    outputs = [3, _STAGES[0][0]] + [channels for channels, _, n_blocks in _STAGES for _ in range(2 * n_blocks)]
    return list(pairwise(outputs))


def _require_architecture(network: DlibNetwork, pairs: list[tuple[DlibLayer, DlibLayer]]) -> None:
    n_expected = len(_expected_channels())
    kinds_fit = len(pairs) == n_expected and all(affine.kind == "affine_" for _, affine in pairs)
    strides = [con.settings[3] for con, _ in pairs]
    if not kinds_fit or strides != _expected_strides() or network.layers[-1].kind != "fc_2":
        raise ModelError("this dlib file holds another network than the face recognition ResNet-29")


def _expected_strides() -> list[int]:
    blocks = [[2 if has_down and i == 0 else 1, 1] for _, has_down, n_blocks in _STAGES for i in range(n_blocks)]
    return [2] + [stride for block in blocks for stride in block]


def _fold_affine(con: DlibLayer, affine: DlibLayer, n_in: int, n_out: int) -> _Folded:
    size = con.settings[1]
    n_weights = n_out * n_in * size * size
    if con.params.size != n_weights + n_out or affine.params.size != 2 * n_out:
        raise ModelError(f"this dlib file has a convolution that is not {n_in} -> {n_out} channels")
    gamma, beta = affine.params.astype(np.float64).reshape(2, n_out)
    weights = con.params[:n_weights].astype(np.float64).reshape(n_out, n_in, size, size)
    return weights * gamma[:, None, None, None], con.params[n_weights:] * gamma + beta


def _fold_input(weights: _Float64, bias: _Float64, mean_rgb: tuple[float, float, float]) -> _Folded:
    weights = weights * _PIXEL_SCALE
    return weights, bias - np.einsum("ncyx,c->n", weights, np.array(mean_rgb))


def _dense_weights(layer: DlibLayer) -> Tensor:
    n_outputs, n_inputs, bias_mode = layer.settings
    if bias_mode != _NO_BIAS or layer.params.size != n_inputs * n_outputs:
        raise ModelError("this dlib file has a last layer with a bias: it is not the face recognition ResNet-29")
    return torch.from_numpy(layer.params.reshape(n_inputs, n_outputs))

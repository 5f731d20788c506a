"""MTCNN's three networks as they are run: facenet_pytorch's weights, with what can be computed beforehand folded in.

Each takes grey levels as they are, 0..255: the scale of the input is folded into the first convolution, which is exact
because none of them pads. Each has one head: the two outputs of the softmax become one logit, and corrections stand
beside it. Landmarks and corrections are untouched; scores differ by rounding.

Source: networks and weights of facenet_pytorch 2.5.3 (MIT). Only the files of weights are read: to import the package
takes as long as to load torch, because it brings torchvision's data sets and torch's compiler along.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from ml.errors import ModelError

# How the weights' training changed grey levels: x -> (x - mean) * scale.
_MEAN: Final = 127.5
_SCALE: Final = 0.0078125
# What a network puts beside a position that does not exist, so that no maximum is ever taken there.
NOWHERE: Final = -1e6

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class Proposer(nn.Module):
    """P-Net: `canvas (N, H, W, 3)` float32 grey levels, `edges (1, 1, H - 2, W - 2)` -> `(N, 5, h, w)`.

    The five channels are the logit of a face in the 12 px window at each second pixel, and the window's four
    corrections. `edges` is 0, and `NOWHERE` at positions of the first layer that no later one shall see: several
    pictures can then lie on one canvas, each as if it were alone.
    """

    def __init__(self) -> None:
        super().__init__()
        net = _Published("pnet")
        self._first, self._second, self._third = net.first(), net.convolution("conv2"), net.convolution("conv3")
        self._relus = net.relus(3)
        self._head = _convolution(*net.one_logit("conv4_1", "conv4_2"))

    def forward(self, canvas: Tensor, edges: Tensor) -> Tensor:
        x = self._relus[0](self._first(canvas.permute(0, 3, 1, 2))) + edges
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = self._relus[1](self._second(x))
        x = self._relus[2](self._third(x))
        return cast(Tensor, self._head(x))


class Refiner(nn.Module):
    """R-Net: `(N, 24, 24, 3)` float32 grey levels -> `(N, 5)`: the logit of a face and four corrections."""

    def __init__(self) -> None:
        super().__init__()
        net = _Published("rnet")
        self._first, self._second, self._third = net.first(), net.convolution("conv2"), net.convolution("conv3")
        self._relus = net.relus(4)
        self._dense = net.dense_after_map("dense4", channels=64, side=3)
        self._head = _linear(*net.one_logit("dense5_1", "dense5_2"))

    def forward(self, crops: Tensor) -> Tensor:
        x = F.max_pool2d(self._relus[0](self._first(crops.permute(0, 3, 1, 2))), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._relus[1](self._second(x)), 3, 2, ceil_mode=True)
        x = self._relus[2](self._third(x))
        return cast(Tensor, self._head(self._relus[3](self._dense(x.flatten(1)))))


class Finisher(nn.Module):
    """O-Net: `(N, 48, 48, 3)` float32 grey levels -> `(N, 15)`: logit, four corrections, five x, five y."""

    def __init__(self) -> None:
        super().__init__()
        net = _Published("onet")
        self._first, self._second = net.first(), net.convolution("conv2")
        self._third, self._fourth = net.convolution("conv3"), net.convolution("conv4")
        self._relus = net.relus(5)
        self._dense = net.dense_after_map("dense5", channels=128, side=3)
        self._head = _linear(*net.one_logit("dense6_1", "dense6_2", "dense6_3"))

    def forward(self, crops: Tensor) -> Tensor:
        x = F.max_pool2d(self._relus[0](self._first(crops.permute(0, 3, 1, 2))), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._relus[1](self._second(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._relus[2](self._third(x)), 2, 2, ceil_mode=True)
        x = self._relus[3](self._fourth(x))
        return cast(Tensor, self._head(self._relus[4](self._dense(x.flatten(1)))))


class _Published:
    """The weights of one network, as facenet_pytorch's file names them; raises ModelError where it is not installed."""

    def __init__(self, name: str) -> None:
        package = find_spec("facenet_pytorch")
        if package is None or not package.submodule_search_locations:
            raise ModelError("facenet-pytorch, whose detector this is, is not installed")
        path = Path(package.submodule_search_locations[0], "data", f"{name}.pt")
        self._weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)

    def convolution(self, name: str) -> nn.Conv2d:
        return _convolution(*self._layer(name))

    def first(self) -> nn.Conv2d:
        """The first layer, for grey levels 0..255."""
        weights, bias = (each.double() for each in self._layer("conv1"))
        return _convolution(weights * _SCALE, bias - weights.sum((1, 2, 3)) * _MEAN * _SCALE)

    def relus(self, n: int) -> nn.ModuleList:
        """The activations `prelu1` to `prelu<n>`, in this order."""
        return nn.ModuleList([_prelu(self._weights[f"prelu{number}.weight"]) for number in range(1, n + 1)])

    def one_logit(self, softmax: str, *others: str) -> tuple[Tensor, Tensor]:
        """Weights and bias of one layer: the difference of the softmax's two inputs, then the others' outputs."""
        weights, bias = (each.double() for each in self._layer(softmax))
        rest = [self._layer(name) for name in others]
        return (
            torch.cat([weights[1:] - weights[:1], *(each for each, _ in rest)]),
            torch.cat([bias[1:] - bias[:1], *(each for _, each in rest)]),
        )

    def dense_after_map(self, name: str, *, channels: int, side: int) -> nn.Linear:
        """The layer for a map flattened as torch does, instead of the column, row, channel of the original."""
        weights, bias = self._layer(name)
        return _linear(weights.view(-1, side, side, channels).permute(0, 3, 2, 1).flatten(1), bias)

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]


def _convolution(weights: Tensor, bias: Tensor) -> nn.Conv2d:
    n_out, n_in, height, width = weights.shape
    return _set(nn.Conv2d(n_in, n_out, (height, width)), weights, bias)


def _linear(weights: Tensor, bias: Tensor) -> nn.Linear:
    return _set(nn.Linear(weights.shape[1], weights.shape[0]), weights, bias)


def _prelu(weights: Tensor) -> nn.PReLU:
    layer = nn.PReLU(len(weights))
    with torch.no_grad():
        layer.weight.copy_(weights)
    return layer


def _set(layer: Layer, weights: Tensor, bias: Tensor) -> Layer:
    with torch.no_grad():
        layer.weight.copy_(weights)
        cast(Tensor, layer.bias).copy_(bias)
    return layer

"""MTCNN's three networks as they are run: facenet_pytorch's weights, with what can be computed beforehand folded in.

Each takes grey levels as they are, 0..255: the scale of the input is folded into the first convolution, which is exact
because none of them pads. Each has one head: the two outputs of the softmax become one logit, and corrections stand
beside it. Landmarks and corrections are untouched; scores differ by rounding.

Source: networks and weights of facenet_pytorch 2.5.3 (MIT).
"""

from typing import Final, cast

import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

# How the weights' training changed grey levels: x -> (x - mean) * scale.
_MEAN: Final = 127.5
_SCALE: Final = 0.0078125
# What a network puts beside a position that does not exist, so that no maximum is ever taken there.
NOWHERE: Final = -1e6


class Proposer(nn.Module):
    """P-Net: `canvas (N, H, W, 3)` float32 grey levels, `edges (1, 1, H - 2, W - 2)` -> `(N, 5, h, w)`.

    The five channels are the logit of a face in the 12 px window at each second pixel, and the window's four
    corrections. `edges` is 0, and `NOWHERE` at positions of the first layer that no later one shall see: several
    pictures can then lie on one canvas, each as if it were alone.
    """

    def __init__(self) -> None:
        super().__init__()
        net = PNet()
        self._first, self._second, self._third = _scaled(net.conv1), net.conv2, net.conv3
        self._relus = nn.ModuleList([net.prelu1, net.prelu2, net.prelu3])
        head = nn.Conv2d(net.conv3.out_channels, 5, 1)
        _set(head, *_one_logit(net.conv4_1, net.conv4_2))
        self._head = head

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
        net = RNet()
        self._first, self._second, self._third = _scaled(net.conv1), net.conv2, net.conv3
        self._relus = nn.ModuleList([net.prelu1, net.prelu2, net.prelu3, net.prelu4])
        self._dense = _dense_after_map(net.dense4, channels=64, side=3)
        self._head = nn.Linear(128, 5)
        _set(self._head, *_one_logit(net.dense5_1, net.dense5_2))

    def forward(self, crops: Tensor) -> Tensor:
        x = F.max_pool2d(self._relus[0](self._first(crops.permute(0, 3, 1, 2))), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._relus[1](self._second(x)), 3, 2, ceil_mode=True)
        x = self._relus[2](self._third(x))
        return cast(Tensor, self._head(self._relus[3](self._dense(x.flatten(1)))))


class Finisher(nn.Module):
    """O-Net: `(N, 48, 48, 3)` float32 grey levels -> `(N, 15)`: logit, four corrections, five x, five y."""

    def __init__(self) -> None:
        super().__init__()
        net = ONet()
        self._first, self._second, self._third, self._fourth = _scaled(net.conv1), net.conv2, net.conv3, net.conv4
        self._relus = nn.ModuleList([net.prelu1, net.prelu2, net.prelu3, net.prelu4, net.prelu5])
        self._dense = _dense_after_map(net.dense5, channels=128, side=3)
        self._head = nn.Linear(256, 15)
        _set(self._head, *_one_logit(net.dense6_1, net.dense6_2, net.dense6_3))

    def forward(self, crops: Tensor) -> Tensor:
        x = F.max_pool2d(self._relus[0](self._first(crops.permute(0, 3, 1, 2))), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._relus[1](self._second(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._relus[2](self._third(x)), 2, 2, ceil_mode=True)
        x = self._relus[3](self._fourth(x))
        return cast(Tensor, self._head(self._relus[4](self._dense(x.flatten(1)))))


def _scaled(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same layer for grey levels 0..255."""
    assert convolution.bias is not None
    weights = convolution.weight.double()
    folded = nn.Conv2d(convolution.in_channels, convolution.out_channels, 3)
    _set(folded, weights * _SCALE, convolution.bias.double() - weights.sum((1, 2, 3)) * _MEAN * _SCALE)
    return folded


def _one_logit(softmax: nn.Module, *others: nn.Module) -> tuple[Tensor, Tensor]:
    """Weights and bias of one layer: the difference of the softmax's two inputs, then the others' outputs."""
    weights, bias = cast(Tensor, softmax.weight).double(), cast(Tensor, softmax.bias).double()
    return (
        torch.cat([weights[1:] - weights[:1], *(cast(Tensor, layer.weight) for layer in others)]),
        torch.cat([bias[1:] - bias[:1], *(cast(Tensor, layer.bias) for layer in others)]),
    )


def _dense_after_map(layer: nn.Linear, *, channels: int, side: int) -> nn.Linear:
    """The layer for a map flattened as torch does, instead of the column, row, channel of the original."""
    weights = layer.weight.view(-1, side, side, channels).permute(0, 3, 2, 1)
    same = nn.Linear(layer.in_features, layer.out_features)
    _set(same, weights.flatten(1), cast(Tensor, layer.bias))
    return same


def _set(layer: nn.Conv2d | nn.Linear, weights: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        layer.weight.copy_(weights)
        cast(Tensor, layer.bias).copy_(bias)

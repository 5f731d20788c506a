"""facenet-pytorch's InceptionResnetV1 trained on VGGFace2, without its classification head.

Source: facenet-pytorch 2.5.3 (MIT) for the network; David Sandberg's facenet (MIT) for the weights.
"""

import pickle
from pathlib import Path
from typing import cast

import torch
from facenet_pytorch import InceptionResnetV1
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from ml.backbones.card import ModelCard, Normalisation
from ml.backbones.torch_backbone import TorchBackbone
from ml.backbones.weights import require_weights
from ml.errors import ModelError
from ml.networks import torch_type
from ml.plan import PLAIN, EnginePlan

_HEAD = "logits."  # the softmax layer over the training people: no use for people it has never seen
# InceptionResnetV1's layers in their order.
_LOWER = (
    "conv2d_1a",
    "conv2d_2a",
    "conv2d_2b",
    "maxpool_3a",
    "conv2d_3b",
    "conv2d_4a",
    "conv2d_4b",
    "repeat_1",
    "mixed_6a",
    "repeat_2",
    "mixed_7a",
)
_UPPER = ("repeat_3", "block8", "avgpool_1a", "flatten", "last_linear", "last_bn")


def load_facenet(
    card: ModelCard, models_dir: Path | None, *, device: str = "cpu", plan: EnginePlan = PLAIN
) -> TorchBackbone:
    """Load the network with the weights that were pulled.

    Args:
        card: the card `facenet-vggface2`.
        models_dir: folder of fetched weights.
        device: `cpu`, `cuda` or `cuda:N`.
        plan: how it is run.

    Returns:
        Backbone from 160 x 160 RGB chips to 512 numbers.

    Raises:
        ModelError: file absent, changed since it was pulled, or of another network; or no such device.
    """
    return TorchBackbone(card, facenet_network(card, models_dir, torch_type(plan, device)), device=device, plan=plan)


def facenet_network(card: ModelCard, models_dir: Path | None, dtype: torch.dtype = torch.float32) -> "FacenetResNet":
    """Build the network with the weights that were pulled, on the CPU.

    Args:
        card: the card `facenet-vggface2`.
        models_dir: folder of fetched weights.
        dtype: of its arithmetic.

    Raises:
        ModelError: file absent, changed since it was pulled, or of another network.
    """
    path = require_weights(card, models_dir)
    network = InceptionResnetV1(pretrained=None, classify=False)
    try:
        network.load_state_dict(_read_state(path))
    except RuntimeError as error:  # what torch raises for keys and shapes that do not fit
        raise ModelError(f"{path} holds weights of another network than InceptionResnetV1: pull it again") from error
    return FacenetResNet(network, card.normalisation, dtype)


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read tensors only: `weights_only` keeps a hostile file from running code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} is not a file of torch weights: pull it again") from error
    if not isinstance(state, dict):
        raise ModelError(f"{path} is not a file of torch weights: pull it again")
    return {str(key): value for key, value in state.items() if not str(key).startswith(_HEAD)}


class FacenetResNet(nn.Module):
    """`(N, 160, 160, 3)` uint8 RGB -> `(N, 512)` float32, unit length: InceptionResnetV1 of the normalised pixels."""

    def __init__(self, network: nn.Module, normalisation: Normalisation, dtype: torch.dtype) -> None:
        """Cut the network in two.

        Args:
            network: an InceptionResnetV1 without head.
            normalisation: of the card.
            dtype: of its arithmetic.
        """
        super().__init__()
        network = network.to(dtype=dtype)
        self.lower = _Lower(network, normalisation, dtype)
        self.upper = _Upper(network)

    def forward(self, chips: Tensor) -> Tensor:
        """Embed `(N, 160, 160, 3)` uint8 RGB chips: `(N, 512)` float32."""
        return cast(Tensor, self.upper(self.lower(chips)))


class _Lower(nn.Module):
    """`(N, S, S, 3)` uint8 -> `(N, 1792, 3, 3)`: what all faces have in common."""

    def __init__(self, network: nn.Module, normalisation: Normalisation, dtype: torch.dtype) -> None:
        super().__init__()
        self._mean: Tensor
        self._dtype = dtype
        self.blocks = nn.Sequential(*(getattr(network, name) for name in _LOWER))
        self.register_buffer("_mean", torch.tensor(normalisation.mean), persistent=False)
        self._scale = normalisation.scale

    def forward(self, chips: Tensor) -> Tensor:
        x = (chips.float() - self._mean) * self._scale
        return cast(Tensor, self.blocks(x.permute(0, 3, 1, 2).to(self._dtype)))


class _Upper(nn.Module):
    """`(N, 1792, 3, 3)` -> `(N, 512)` float32, unit length: what tells them apart."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(nn.Flatten() if name == "flatten" else getattr(network, name) for name in _UPPER))

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.blocks(features), dim=1).float()

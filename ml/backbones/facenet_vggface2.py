"""facenet-pytorch's InceptionResnetV1 trained on VGGFace2, without its classification head.

Source: facenet-pytorch 2.5.3 (MIT) for the network; David Sandberg's facenet (MIT) for the weights.
"""

import pickle
from pathlib import Path
from typing import cast

import torch
from facenet_pytorch import InceptionResnetV1
from torch import Tensor, nn

from ml.backbones.card import ModelCard, Normalisation
from ml.backbones.torch_backbone import TorchBackbone
from ml.backbones.weights import require_weights
from ml.errors import ModelError
from ml.networks import torch_type
from ml.plan import PLAIN, EnginePlan

_HEAD = "logits."  # the softmax layer over the training people: no use for people it has never seen


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
    path = require_weights(card, models_dir)
    network = InceptionResnetV1(pretrained=None, classify=False)
    try:
        network.load_state_dict(_read_state(path))
    except RuntimeError as error:  # what torch raises for keys and shapes that do not fit
        raise ModelError(f"{path} holds weights of another network than InceptionResnetV1: pull it again") from error
    raw = _RawPixels(network, card.normalisation, torch_type(plan, device))
    return TorchBackbone(card, raw, device=device, plan=plan)


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read tensors only: `weights_only` keeps a hostile file from running code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} is not a file of torch weights: pull it again") from error
    if not isinstance(state, dict):
        raise ModelError(f"{path} is not a file of torch weights: pull it again")
    return {str(key): value for key, value in state.items() if not str(key).startswith(_HEAD)}


class _RawPixels(nn.Module):
    """`(N, S, S, 3)` uint8 -> what the inner network returns for the normalised `(N, 3, S, S)`."""

    def __init__(self, network: nn.Module, normalisation: Normalisation, dtype: torch.dtype) -> None:
        super().__init__()
        self._mean: Tensor
        self._dtype = dtype
        self._network = network.to(dtype=dtype)
        self.register_buffer("_mean", torch.tensor(normalisation.mean), persistent=False)
        self._scale = normalisation.scale

    def forward(self, chips: Tensor) -> Tensor:
        x = (chips.float() - self._mean) * self._scale
        return cast(Tensor, self._network(x.permute(0, 3, 1, 2).to(self._dtype)).float())

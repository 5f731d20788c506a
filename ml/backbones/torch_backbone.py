"""What the torch networks share: the device that was asked for, and uint8 chips in, float32 embeddings out."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ml.backbones.card import ModelCard
from ml.errors import ModelError
from ml.networks import make_ready
from ml.plan import EnginePlan
from ml.types import FloatArray


def torch_device(device: str) -> torch.device:
    """Turn a device's name into the device, or refuse: never another one in its place.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ModelError: there is no such device on this machine.
    """
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"{device!r} is not a device: choose cpu, cuda or cuda:N") from error
    if chosen.type == "cpu":
        return chosen
    if chosen.type != "cuda":
        raise ModelError(f"device {device!r} is not supported: choose cpu, cuda or cuda:N")
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (chosen.index or 0) >= n_gpus:
        raise ModelError(
            f"device {device!r} was asked for, but torch sees {n_gpus} GPU(s) here: "
            "check `nvidia-smi` and the driver, or choose the device cpu"
        )
    return chosen


class TorchBackbone:
    """A torch network that takes raw uint8 RGB chips `(N, S, S, 3)` and returns `(N, D)`."""

    def __init__(self, card: ModelCard, network: nn.Module, *, device: str, plan: EnginePlan) -> None:
        """Move the network to the device and make it ready.

        Raises:
            ModelError: there is no such device on this machine, or the plan's runtime cannot be used.
        """
        self.card = card
        self.device = device
        self._device = torch_device(device)
        side = card.chip_size_px
        example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
        self._run = make_ready(network, [example], [[-1, side, side, 3]], self._device, plan)

    def embed_batch(self, chips: NDArray[np.uint8]) -> FloatArray:
        """Run the network once.

        Args:
            chips: `(N, S, S, 3)` uint8 RGB.

        Returns:
            `(N, D)` float32, not normalised; equal chips in batches of other sizes differ in the last bits.
            Empty case: `(0, D)`.
        """
        if not len(chips):
            return np.zeros((0, self.card.dim), dtype=np.float32)
        batch = torch.from_numpy(np.require(chips, np.uint8, ["C", "W"]))  # torch warns about read-only memory
        if self._device.type == "cuda":
            batch = batch.pin_memory()  # copied while the GPU still works
        embeddings = self._run(batch.to(self._device, non_blocking=True))
        return np.asarray(embeddings.float().cpu().numpy(), dtype=np.float32)

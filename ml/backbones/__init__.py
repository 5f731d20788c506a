"""Networks that turn chips into embeddings: one file per network, and model cards as data.

Nothing heavy is imported here, so reading a card does not load torch.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.backbones.card import ModelCard
from ml.backbones.cards import find_card
from ml.errors import ModelError
from ml.plan import PLAIN, EnginePlan
from ml.types import FloatArray

ONNX_PREFIX = "onnx:"


class Backbone(Protocol):
    """A loaded network, on the device that was asked for."""

    @property
    def card(self) -> ModelCard:
        """What the network is."""

    @property
    def device(self) -> str:
        """Where it really runs."""

    def embed_batch(self, chips: NDArray[np.uint8]) -> FloatArray:
        """Turn `(N, S, S, 3)` uint8 RGB chips into `(N, D)` float32, not normalised; `(0, D)` for none."""


def load_backbone(
    name: str, *, models_dir: Path | None = None, device: str = "cpu", plan: EnginePlan = PLAIN
) -> Backbone:
    """Load a network by name.

    Args:
        name: a card's name (`dlib-resnet`, `sface`, `facenet-vggface2`), or `onnx:FILE` for a network of your own.
        models_dir: folder of fetched weights; not needed for `dlib-resnet` and `onnx:FILE`.
        device: `cpu`, `cuda` or `cuda:N`; there is no fall-back to another one.
        plan: how torch networks are run, and how many threads others may use; by default torch in float32.

    Raises:
        ModelError: unknown name, weights absent or not the expected ones, a missing extra, or no such device.
    """
    if name.startswith(ONNX_PREFIX):
        from ml.backbones.onnx_file import load_onnx_file

        return load_onnx_file(Path(name.removeprefix(ONNX_PREFIX)), device=device, n_threads=plan.n_threads)
    return _load_known(find_card(name), models_dir, device, plan)


def _load_known(card: ModelCard, models_dir: Path | None, device: str, plan: EnginePlan) -> Backbone:
    """Import only what the chosen network needs: torch takes seconds, onnxruntime may be absent."""
    match card.name:
        case "dlib-resnet":
            from ml.backbones.dlib_resnet import load_dlib_resnet

            return load_dlib_resnet(card, models_dir, device=device, plan=plan)
        case "facenet-vggface2":
            from ml.backbones.facenet_vggface2 import load_facenet

            return load_facenet(card, models_dir, device=device, plan=plan)
        case "sface":
            from ml.backbones.onnx_file import load_onnx_card

            return load_onnx_card(card, models_dir, device=device, n_threads=plan.n_threads)
        case _:
            raise ModelError(f"{card.name} is a detector and makes no embeddings: choose a backbone")

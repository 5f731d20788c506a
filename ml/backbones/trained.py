"""Networks that were trained here, made ready to run; `ml.backbones.trained_file` is what is kept of them."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import nn

from ml.backbones import load_backbone
from ml.backbones.card import ModelCard, ScoringFacts
from ml.backbones.cards import find_card
from ml.backbones.small_cnn import SMALL_CNN, SmallCnn
from ml.backbones.torch_backbone import TorchBackbone
from ml.backbones.trained_file import BROKEN, Tensors, TrainedWeights, tensors_digest
from ml.embedding import ChipEmbedder, Embedder, ProjectedEmbedder
from ml.errors import ModelError
from ml.networks import torch_type
from ml.plan import PLAIN, EnginePlan
from ml.training.types import Kind
from ml.types import FloatArray

_VERSION_DIGITS: Final = 8


def trained_card(kind: Kind, base_card: ModelCard, tensors: Tensors, scoring: ScoringFacts) -> ModelCard:
    """Write the card of a network that was trained here.

    Args:
        kind: how.
        base_card: of the published network it started from; not looked at for `scratch`.
        tensors: what came out; the version is eight digits of their hash, so other weights never share a word.
        scoring: what its cosines mean, as measured.
    """
    base = SMALL_CNN if kind == "scratch" else base_card
    version = tensors_digest(tensors).hex()[:_VERSION_DIGITS]
    if kind == "scratch":
        return replace(base, version=version, scoring=scoring)
    how = "A projection of its embeddings" if kind == "projection" else "Its last blocks"
    return replace(
        base,
        name=f"{base.name}+{kind}",
        version=version,
        dim=len(tensors["weight"]) if kind == "projection" else base.dim,
        weights=None,
        weights_origin=f"{how} was trained here, on faces of this deployment. Underneath: {base.weights_origin}"
        if kind == "projection"
        else f"{how} were trained further here, on faces of this deployment. Before: {base.weights_origin}",
        quality_note="Measured here on people that it never saw: see the report of its training.",
        limits=f"Learnt from this deployment's people and cameras: measure it anew elsewhere. {base.limits}",
        scoring=scoring,
    )


def load_embedder(
    weights: TrainedWeights | None,
    backbone: str,
    *,
    models_dir: Path | None = None,
    device: str = "cpu",
    plan: EnginePlan = PLAIN,
    mirrored: bool = True,
    batch_size: int = 32,
) -> ChipEmbedder:
    """Load what makes embeddings: a network that was trained here, or a published one.

    Args:
        weights: a network that was trained here; None: the published `backbone`.
        backbone: a name for `load_backbone`; not looked at where there are weights, which name their own.
        models_dir: folder of the files that `rollcall models pull` fetched.
        device: `cpu`, `cuda` or `cuda:N`.
        plan: how networks are run.
        mirrored: also embed every chip's mirror image and take the mean.
        batch_size: most chips per run.

    Raises:
        ModelError: a missing or altered file, tensors that do not fit the network, a projection of embeddings that are
            made in another way than those it was trained on, or no such device.
    """
    if weights is None:
        network = load_backbone(backbone, models_dir=models_dir, device=device, plan=plan)
        return Embedder(network, batch_size=batch_size, mirrored=mirrored)
    if weights.kind == "projection":
        base = load_embedder(
            None,
            weights.backbone,
            models_dir=models_dir,
            device=device,
            plan=plan,
            mirrored=mirrored,
            batch_size=batch_size,
        )
        return projected(base, weights)
    module = trained_network(weights, models_dir, torch_type(plan, device))
    network = TorchBackbone(weights.card, module, device=device, plan=plan)
    return Embedder(network, batch_size=batch_size, mirrored=mirrored)


def projected(base: ChipEmbedder, weights: TrainedWeights) -> ProjectedEmbedder:
    """Set a trained projection on the embeddings that it was trained on.

    Raises:
        ModelError: they are others, or the tensors are not a projection of them.
    """
    if base.model != weights.base_word:
        raise ModelError(
            f"{weights.card.name} was trained on embeddings of {weights.base_word} and these are of {base.model}: "
            "set ROLLCALL_BACKBONE and ROLLCALL_MIRRORED_EMBEDDING as they were, or train it again"
        )
    if set(weights.tensors) != {"weight", "bias"}:
        raise ModelError(BROKEN)
    return ProjectedEmbedder(base, weights.card, weights.tensors["weight"], weights.tensors["bias"])


def trained_network(
    weights: TrainedWeights, models_dir: Path | None = None, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Build the whole network of a `finetune` or `scratch`, on the CPU.

    Raises:
        ModelError: its tensors are of another network, or the published file underneath is absent.
    """
    network = _empty_network(weights, models_dir, dtype)
    put_tensors(network, weights.tensors)
    return network


def _empty_network(weights: TrainedWeights, models_dir: Path | None, dtype: torch.dtype) -> nn.Module:
    if weights.kind == "scratch":
        return SmallCnn().to(dtype=dtype)
    return published_network(weights.backbone, models_dir, dtype)


def published_network(backbone: str, models_dir: Path | None = None, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Build a published torch network that can be trained further: it has the parts `lower` and `upper`.

    Args:
        backbone: a card's name.
        models_dir: folder of fetched weights.
        dtype: of its arithmetic.

    Raises:
        ModelError: there is no such network in torch, or its file is absent.
    """
    match backbone:
        case "dlib-resnet":
            from ml.backbones.dlib_resnet import dlib_network

            return dlib_network(find_card(backbone), models_dir, dtype)
        case "facenet-vggface2":
            from ml.backbones.facenet_vggface2 import facenet_network

            return facenet_network(find_card(backbone), models_dir, dtype)
        case _:
            raise ModelError(f"{backbone} is no network of torch: it cannot be trained further, but a projection can")


def tensors_of(network: nn.Module) -> dict[str, FloatArray]:
    """A network's float tensors by name, as copies on the CPU; counters are left out."""
    state = network.state_dict().items()
    return {name: value.detach().float().cpu().numpy().copy() for name, value in state if value.is_floating_point()}


def put_tensors(network: nn.Module, tensors: Tensors) -> None:
    """Put back what `tensors_of` took out, in the network's own arithmetic.

    Raises:
        ModelError: names or shapes are not the network's.
    """
    state = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    if {name: tuple(value.shape) for name, value in state.items()} != {n: t.shape for n, t in tensors.items()}:
        raise ModelError("these weights are of another network: train it again")
    network.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()}, strict=False)

"""Files of networks that were trained here: a header in JSON and raw numbers, nothing that could run code.

Apart from `ml.backbones.trained`, which runs them, because torch takes seconds to import and not everybody needs it.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ml.backbones.card import ModelCard
from ml.errors import ModelError
from ml.training.types import Kind
from ml.types import FloatArray

Tensors = Mapping[str, FloatArray]

_ENTRY: Final = "rollcall"

BROKEN: Final = "this file of a trained network is damaged or none of ours: train it again, or take another"


@dataclass(frozen=True, slots=True, eq=False)
class TrainedWeights:
    """A network that was trained here.

    `backbone` is the published network it started from or stands on, a name for `load_backbone`; "" for `scratch`.
    `base_word` is the model word of the embeddings that it was trained on, e.g. "dlib-resnet/1-plain"; "" likewise.
    `tensors` are named float32 arrays: of a projection `weight (D', D)` and `bias (D',)`, else the whole network's.
    """

    kind: Kind
    backbone: str
    base_word: str
    card: ModelCard
    tensors: Tensors


@dataclass(frozen=True, slots=True)
class _Facts:
    """All of it but the tensors."""

    kind: Kind
    backbone: str
    base_word: str
    card: ModelCard


_FACTS: Final = TypeAdapter(_Facts)


def to_bytes(weights: TrainedWeights) -> bytes:
    """Write a file; the same weights give the same bytes."""
    facts = _FACTS.dump_json(_Facts(weights.kind, weights.backbone, weights.base_word, weights.card)).decode()
    tensors = {name: np.ascontiguousarray(weights.tensors[name], np.float32) for name in sorted(weights.tensors)}
    # In one entry: the library writes several in any order.
    return save(tensors, metadata={_ENTRY: json.dumps({"facts": facts, "sha256": _digest(facts, tensors)})})


def from_bytes(data: bytes) -> TrainedWeights:
    """Read a file that `to_bytes` wrote.

    Raises:
        ModelError: it is damaged, cut off, or another file.
    """
    try:
        tensors = load(data)
        metadata = _metadata(data)
        facts = _FACTS.validate_json(metadata["facts"])
        is_whole = metadata["sha256"] == _digest(metadata["facts"], tensors)
    except (SafetensorError, ValidationError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelError(BROKEN) from error
    if not is_whole or not all(_is_usable(each) for each in tensors.values()):
        raise ModelError(BROKEN)
    return TrainedWeights(facts.kind, facts.backbone, facts.base_word, facts.card, tensors)


def _metadata(data: bytes) -> dict[str, str]:
    """What `safetensors` reads from files only: the header, after its length in 8 bytes."""
    (n_bytes,) = struct.unpack("<Q", data[:8])
    found = json.loads(json.loads(data[8 : 8 + n_bytes])["__metadata__"][_ENTRY])
    return {str(key): str(value) for key, value in found.items()}


def _is_usable(tensor: FloatArray) -> bool:
    return tensor.dtype == np.float32 and bool(np.isfinite(tensor).all())


def _digest(facts: str, tensors: Tensors) -> str:
    return hashlib.sha256(facts.encode() + tensors_digest(tensors)).hexdigest()


def tensors_digest(tensors: Tensors) -> bytes:
    """sha256 over names, shapes and numbers, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{len(name)} {name} {tensors[name].shape} ".encode())
        digest.update(np.ascontiguousarray(tensors[name], "<f4").tobytes())
    return digest.digest()

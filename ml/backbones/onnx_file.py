"""Any ArcFace-style ONNX network (112 x 112 chip in, one vector out) through onnxruntime, an optional extra."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.backbones.card import ModelCard, Normalisation
from ml.backbones.cards import ARCFACE_CHIP_SIZE_PX, ARCFACE_NORMALISATION, ARCFACE_SCORING, ARCFACE_TEMPLATE, all_cards
from ml.backbones.weights import require_weights, sha256_of
from ml.errors import ModelError
from ml.plan import PLAIN
from ml.types import FloatArray

_VERSION_DIGITS = 8  # of the sha256: enough to tell a person's files apart


def load_onnx_card(
    card: ModelCard, models_dir: Path | None, *, device: str = "cpu", n_threads: int = PLAIN.n_threads
) -> "OnnxBackbone":
    """Load a network that has a card of its own, e.g. `sface`.

    Args:
        card: its card; size, colour and normalisation are taken from it.
        models_dir: folder of fetched weights.
        device: `cpu`, `cuda` or `cuda:N`.
        n_threads: of one batch on the CPU.

    Raises:
        ModelError: onnxruntime, the file or the device is missing, or the file is another network.
    """
    network = _open(require_weights(card, models_dir), device, n_threads)
    if network.dim != card.dim:
        raise ModelError(f"{card.name} should return {card.dim} numbers, the file returns {network.dim}: pull it again")
    return OnnxBackbone(card, network, device=device)


def load_onnx_file(path: Path, *, device: str = "cpu", n_threads: int = PLAIN.n_threads) -> "OnnxBackbone":
    """Load a network of the operator's own; its card is made from the file.

    A file that belongs to a known card (recognised by sha256) gets that card. Any other is taken for an ArcFace
    network: RGB, `(x - 127.5) / 127.5`, and the usual landmark template.

    Args:
        path: the ONNX file.
        device: `cpu`, `cuda` or `cuda:N`.
        n_threads: of one batch on the CPU.

    Raises:
        ModelError: onnxruntime, the file or the device is missing, or the network has another shape.
    """
    if not path.is_file():
        raise ModelError(f"there is no file {path}: give the path of an ONNX network after `onnx:`")
    sha256 = sha256_of(path)
    network = _open(path, device, n_threads)
    card = _known_card(sha256) or _card_from_file(path, sha256, network.dim)
    return OnnxBackbone(card, network, device=device)


class OnnxBackbone:
    """An ONNX network that takes raw uint8 RGB chips `(N, 112, 112, 3)` and returns `(N, D)`."""

    def __init__(self, card: ModelCard, network: "_Network", *, device: str) -> None:
        """Join a loaded network and its card; `load_onnx_card` and `load_onnx_file` do so."""
        self.card = card
        self.device = device
        self._network = network

    def embed_batch(self, chips: NDArray[np.uint8]) -> FloatArray:
        """Run the network.

        Args:
            chips: `(N, 112, 112, 3)` uint8 RGB.

        Returns:
            `(N, D)` float32, not normalised. Empty case: `(0, D)`.
        """
        if not len(chips):
            return np.zeros((0, self.card.dim), dtype=np.float32)
        x = _normalise(chips if self.card.colour == "RGB" else chips[..., ::-1], self.card.normalisation)
        size = self._network.fixed_batch or len(chips)
        return np.concatenate([self._network.run(x[i : i + size]) for i in range(0, len(x), size)])


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    """A session with what was found out about its one input and its first output."""

    session: Any
    input_name: str
    output_name: str
    is_channels_first: bool
    fixed_batch: int | None
    dim: int = 0

    def run(self, x: FloatArray) -> FloatArray:
        """Run `(N, 112, 112, 3)` float32 once; a batch smaller than the network's fixed one is filled with zeros."""
        n_missing = (self.fixed_batch or len(x)) - len(x)
        padded = np.pad(x, ((0, n_missing), (0, 0), (0, 0), (0, 0)))
        if self.is_channels_first:
            padded = np.ascontiguousarray(padded.transpose(0, 3, 1, 2))
        (result,) = self.session.run([self.output_name], {self.input_name: padded})
        return np.asarray(result, dtype=np.float32)[: len(x)]


def _open(path: Path, device: str, n_threads: int) -> _Network:
    onnxruntime = _import_onnxruntime()
    provider = _provider(device, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the service has other work for its cores
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's own errors have no common base but this
        raise ModelError(f"onnxruntime cannot load {path} ({error}): give a valid ONNX network") from error
    if provider[0] not in session.get_providers():  # it only warns, and carries on with the CPU
        raise ModelError(f"onnxruntime could not start {device!r}: check its CUDA libraries, or choose the device cpu")
    return _probe(session, path)


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("ONNX networks need onnxruntime: run `pip install rollcall[onnx]`") from error
    return onnxruntime


def _provider(device: str, available: list[str]) -> tuple[str, dict[str, str]]:
    kind, _, index = device.partition(":")
    if kind == "cpu" and not index:
        return "CPUExecutionProvider", {}
    if kind != "cuda" or not (index.isdecimal() or device == "cuda"):
        raise ModelError(f"{device!r} is not a device: choose cpu, cuda or cuda:N")
    if "CUDAExecutionProvider" not in available:
        raise ModelError(
            f"device {device!r} was asked for, but this onnxruntime has no CUDA: "
            "run `pip install onnxruntime-gpu` in its place, or choose the device cpu"
        )
    return "CUDAExecutionProvider", {"device_id": index or "0"}


def _probe(session: Any, path: Path) -> _Network:
    """Find out layout, batch size and D: the last by running one black chip, because files often leave it open."""
    inputs, output = session.get_inputs(), session.get_outputs()[0]
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        raise _wrong_shape(path, inputs)
    batch, *rest = inputs[0].shape
    is_channels_first = _is_chip(rest[1:], rest[0])
    if not is_channels_first and not _is_chip(rest[:2], rest[2]):
        raise _wrong_shape(path, inputs)
    fixed_batch = batch if isinstance(batch, int) and batch > 0 else None
    network = _Network(session, inputs[0].name, output.name, is_channels_first, fixed_batch)
    return replace(network, dim=_output_dim(network, path))


def _is_chip(sides: list[int | str | None], channels: int | str | None) -> bool:
    return channels == 3 and all(not isinstance(side, int) or side == ARCFACE_CHIP_SIZE_PX for side in sides)


def _wrong_shape(path: Path, inputs: list[Any]) -> ModelError:
    found = ", ".join(f"{i.type} {i.shape}" for i in inputs)
    return ModelError(
        f"{path} wants {found}: choose a network with one float input (N, 3, 112, 112) or (N, 112, 112, 3)"
    )


def _output_dim(network: _Network, path: Path) -> int:
    try:
        result = network.run(np.zeros((1, ARCFACE_CHIP_SIZE_PX, ARCFACE_CHIP_SIZE_PX, 3), dtype=np.float32))
    except Exception as error:  # onnxruntime's own errors have no common base but this
        raise ModelError(f"onnxruntime cannot run {path} on a 112 x 112 chip: {error}") from error
    if result.ndim != 2:
        raise ModelError(f"{path} returns {result.shape}, not one vector for each chip: it is not a face backbone")
    return int(result.shape[1])


def _normalise(chips: NDArray[np.uint8], normalisation: Normalisation) -> FloatArray:
    mean = np.array(normalisation.mean, dtype=np.float32)
    return (chips - mean) * np.float32(normalisation.scale)


def _known_card(sha256: str) -> ModelCard | None:
    backbones = (card for card in all_cards() if card.kind == "backbone" and card.weights is not None)
    return next((card for card in backbones if card.weights and card.weights.sha256 == sha256), None)


def _card_from_file(path: Path, sha256: str, dim: int) -> ModelCard:
    return ModelCard(
        name=f"onnx-{path.stem}",
        version=sha256[:_VERSION_DIGITS],
        kind="backbone",
        chip_size_px=ARCFACE_CHIP_SIZE_PX,
        dim=dim,
        landmark_template=ARCFACE_TEMPLATE,
        colour="RGB",
        normalisation=ARCFACE_NORMALISATION,
        licence="unknown: ask whoever made the file",
        weights_origin=f"{path.name}, given by the operator of this server; sha256 {sha256}",
        weights=None,
        quality_note="unknown: measure it on your own people",
        limits=(
            "Taken for an ArcFace network: RGB, (x - 127.5) / 127.5. A network that normalises its own input, or wants "
            "BGR, would work badly without saying so."
        ),
        scoring=ARCFACE_SCORING,
    )

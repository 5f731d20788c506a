"""dlib's serialised networks (.dat), read without dlib.

The file is a flat stream. Every layer writes its version and then the layer below it, so all the versions come first,
from the output inwards; then the input layer; then the details of each layer, from the input outwards. One loop reads
it, and no C++ type has to be known.

Source: `dlib/serialize.h`, `dlib/dnn/core.h`, `dlib/dnn/layers.h` (Boost Software License), read for the format only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml.errors import ModelError
from ml.types import FloatArray

_LOSS_LAYER_VERSION = 1
_ADD_LAYER, _TAG_OR_SKIP, _INNERMOST_ADD_LAYER = 2, 1, 3
_TENSOR_VERSION, _ALIAS_VERSION = 2, 1
_INFINITY, _MINUS_INFINITY, _NAN = 32000, 32001, 32002  # exponents that mark the floats without a mantissa


@dataclass(frozen=True, slots=True, eq=False)
class DlibLayer:
    """One layer: its dlib name, its parameters and its whole-number settings.

    | kind | params | settings |
    |---|---|---|
    | `con_4` | weights `[N, C, kh, kw]`, then N biases | N, kh, kw, stride y, x, padding y, x |
    | `affine_` | gamma `[C]`, then beta `[C]` | mode (0: after a convolution) |
    | `max_pool_2`, `avg_pool_2` | none | kh, kw, stride y, x, padding y, x (kh = kw = 0: the whole map) |
    | `fc_2` | weights `[inputs, outputs]` | outputs, inputs, bias mode (1: none) |
    | `relu_`, `add_prev_` | none | none |
    """

    kind: str
    params: FloatArray
    settings: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DlibNetwork:
    """Input side (what is subtracted, the chip's side in pixels) and layers in the order they run."""

    mean_rgb: tuple[float, float, float]
    chip_size_px: int
    layers: tuple[DlibLayer, ...]


class _Stream:
    """Reads dlib's primitive types off a buffer, and refuses to read past its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def n_left(self) -> int:
        return len(self._data) - self._at

    def take(self, n_bytes: int) -> bytes:
        if n_bytes > self.n_left:
            raise ModelError(f"the dlib file ends in the middle of a value at byte {self._at}: fetch it again")
        start, self._at = self._at, self._at + n_bytes
        return self._data[start : self._at]

    def fail(self, what: str) -> ModelError:
        return ModelError(f"the dlib file is damaged near byte {self._at} ({what}): fetch it again")

    def integer(self) -> int:
        control = self.take(1)[0]
        if control & 0x70:
            raise self.fail("not a number")
        value = int.from_bytes(self.take(control & 0x0F), "little")
        return -value if control & 0x80 else value

    def integers(self, n: int) -> tuple[int, ...]:
        return tuple(self.integer() for _ in range(n))

    def boolean(self) -> bool:
        byte = self.take(1)
        if byte not in (b"0", b"1"):
            raise self.fail("not a truth value")
        return byte == b"1"

    def real(self) -> float:
        mantissa, exponent = self.integers(2)
        special = {_INFINITY: math.inf, _MINUS_INFINITY: -math.inf, _NAN: math.nan}
        if exponent in special:
            return special[exponent]
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError as error:
            raise self.fail("number out of range") from error

    def text(self) -> str:
        try:
            return self.take(self.count()).decode("ascii")
        except UnicodeDecodeError as error:
            raise self.fail("not a name") from error

    def count(self) -> int:
        value = self.integer()
        if value < 0:
            raise self.fail("negative size")
        return value

    def tensor(self) -> FloatArray:
        self.expect(_TENSOR_VERSION, "tensor version")
        n_values = math.prod(self.count() for _ in range(4))
        return np.frombuffer(self.take(4 * n_values), dtype="<f4").astype(np.float32)

    def skip_alias_tensors(self) -> None:
        for _ in range(2):  # views of the weights and of the biases, without data of their own
            self.expect(_ALIAS_VERSION, "alias tensor version")
            self.integers(4)

    def expect(self, value: int, what: str) -> None:
        found = self.integer()
        if found != value:
            raise self.fail(f"{what} {found} instead of {value}")


def parse_dlib_network(data: bytes) -> DlibNetwork:
    """Read one network trained with dlib's metric loss, as in `dlib_face_recognition_resnet_model_v1.dat`.

    Args:
        data: the whole file.

    Returns:
        Mean colour, chip size and layers with their parameters, float32.

    Raises:
        ModelError: the bytes are cut short, damaged, followed by others, or describe a network of another kind.
    """
    stream = _Stream(data)
    _read_loss(stream)
    n_layers = _count_layers(stream)
    mean_rgb, chip_size_px = _read_input(stream)
    layers = [_read_layer(stream, is_innermost=index == 0) for index in range(n_layers)]
    if stream.n_left:
        raise stream.fail(f"{stream.n_left} bytes too many")
    return DlibNetwork(mean_rgb, chip_size_px, tuple(layers))


def _read_loss(stream: _Stream) -> None:
    stream.expect(_LOSS_LAYER_VERSION, "loss layer version")
    loss = stream.text()
    if loss != "loss_metric_2":
        raise stream.fail(f"loss {loss!r} instead of 'loss_metric_2'")
    for _ in range(2):  # margin and distance threshold: only training needs them
        stream.real()


def _count_layers(stream: _Stream) -> int:
    """Read the run of versions down to the innermost layer; tags and skips write nothing else and are not counted."""
    n_layers = 1
    while (version := stream.integer()) != _INNERMOST_ADD_LAYER:
        if version not in (_ADD_LAYER, _TAG_OR_SKIP):
            raise stream.fail(f"layer version {version}")
        n_layers += version == _ADD_LAYER
    return n_layers


def _read_input(stream: _Stream) -> tuple[tuple[float, float, float], int]:
    kind = stream.text()
    if kind != "input_rgb_image_sized":
        raise stream.fail(f"input {kind!r} instead of 'input_rgb_image_sized'")
    mean_rgb = stream.real(), stream.real(), stream.real()
    n_rows, n_columns = stream.integers(2)
    if n_rows != n_columns:
        raise stream.fail(f"input of {n_rows} x {n_columns} pixels instead of a square")
    return mean_rgb, n_rows


def _read_layer(stream: _Stream, *, is_innermost: bool) -> DlibLayer:
    kind = stream.text()
    if kind not in _READERS:
        raise stream.fail(f"layer {kind!r} is not one that Rollcall can run")
    params, settings = _READERS[kind](stream)
    for _ in range(3):  # setup called, gradient stale, output disabled
        stream.boolean()
    for _ in range(3):  # gradients and cached output, empty in a finished network
        stream.tensor()
    if is_innermost:
        stream.integer()  # sample expansion factor
    return DlibLayer(kind, params, settings)


_Details = tuple[FloatArray, tuple[int, ...]]
_NO_PARAMS: FloatArray = np.zeros(0, dtype=np.float32)


def _read_convolution(stream: _Stream) -> _Details:
    params, settings = stream.tensor(), stream.integers(7)
    stream.skip_alias_tensors()
    for _ in range(4):  # learning rate and weight decay multipliers
        stream.real()
    return params, settings


def _read_affine(stream: _Stream) -> _Details:
    params = stream.tensor()
    stream.skip_alias_tensors()
    return params, stream.integers(1)


def _read_pool(stream: _Stream) -> _Details:
    return _NO_PARAMS, stream.integers(6)


def _read_dense(stream: _Stream) -> _Details:
    sizes, params = stream.integers(2), stream.tensor()
    stream.skip_alias_tensors()
    settings = (*sizes, *stream.integers(1))
    for _ in range(4):  # learning rate and weight decay multipliers
        stream.real()
    return params, settings


def _read_nothing(stream: _Stream) -> _Details:
    return _NO_PARAMS, ()


_READERS: dict[str, Callable[[_Stream], _Details]] = {
    "con_4": _read_convolution,
    "affine_": _read_affine,
    "max_pool_2": _read_pool,
    "avg_pool_2": _read_pool,
    "fc_2": _read_dense,
    "relu_": _read_nothing,
    "add_prev_": _read_nothing,
}

"""A torch network made ready to run: on which device, by which runtime, in which arithmetic, with how many threads."""

import sys
import warnings
from collections.abc import Callable, Sequence
from threading import local
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from ml.errors import ModelError
from ml.plan import EnginePlan, has_openvino

RunNetwork = Callable[..., Tensor]
"""Takes a network's inputs, tensors on its device, a batch of at least one first, and returns its one output there."""

Shapes = Sequence[Sequence[int]]
"""Of each input; -1 where it varies."""

_TORCH_TYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_OPENVINO_TYPES: Final = {"float32": "f32", "bfloat16": "bf16"}
# Batches that OpenVINO is given; others are filled up to the next of these, or cut. For each size that it has not seen
# it spends 5 to 40 ms on making code, and keeps that. A second, small batch would cost more than some rows too many.
_BATCH_SIZES: Final = (*range(1, 8), *range(8, 32, 2), *range(32, 65, 4))


def make_ready(
    network: nn.Module,
    examples: Sequence[Tensor],
    shapes: Shapes,
    device: torch.device,
    plan: EnginePlan,
) -> RunNetwork:
    """Make a network ready to run.

    Args:
        network: takes a batch, and inputs that hold for all of it; returns one tensor with a row for each of the batch.
        examples: one small input of each kind.
        shapes: of each input, -1 where it varies.
        device: where it shall run.
        plan: its runtime, precision and threads.

    Raises:
        ModelError: the runtime is not installed, or cannot do this on this device.
    """
    network = network.eval().requires_grad_(False)
    if plan.runtime == "openvino":
        return _on_openvino(network, examples, shapes, device, plan)
    return _on_torch(network, device)


def torch_type(plan: EnginePlan, device: str) -> torch.dtype:
    """The arithmetic that a torch network shall be built with; OpenVINO lowers it by itself.

    Raises:
        ModelError: this device does not do that in a time that anybody would wait.
    """
    if plan.precision == "float16" and device == "cpu":
        raise ModelError("float16 is for GPUs: choose float32 or bfloat16 for the device cpu")
    return _TORCH_TYPES[plan.precision] if plan.runtime == "torch" else torch.float32


def _on_torch(network: nn.Module, device: torch.device) -> RunNetwork:
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(*inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            output: Tensor = network(*inputs)
        return output

    return run


def _on_openvino(
    network: nn.Module,
    examples: Sequence[Tensor],
    shapes: Shapes,
    device: torch.device,
    plan: EnginePlan,
) -> RunNetwork:
    if device.type != "cpu":
        raise ModelError(f"OpenVINO runs on the CPU only: choose torch for {device}")
    if plan.precision not in _OPENVINO_TYPES:
        raise ModelError(f"OpenVINO runs float32 or bfloat16 on a CPU, not {plan.precision}")
    if not has_openvino():
        raise ModelError("the runtime openvino is not installed: `pip install 'rollcall[openvino]'`, or choose torch")
    compiled = _compiled(network, examples, shapes, plan)
    requests = local()  # one per thread: a request holds the memory of one run

    def run(batch: Tensor, *others: Tensor) -> Tensor:
        if not hasattr(requests, "mine"):
            requests.mine = compiled.create_infer_request()
        parts = []
        for first in range(0, len(batch), _BATCH_SIZES[-1]):
            part = batch[first : first + _BATCH_SIZES[-1]]
            arrays = [np.ascontiguousarray(each.numpy()) for each in (filled_up(part), *others)]
            parts.append(torch.from_numpy(requests.mine.infer(arrays, share_inputs=True)[0])[: len(part)])
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    return run


def filled_up(rows: Tensor) -> Tensor:
    """At least one row and at most 64, with zeros behind them up to the next size that is used."""
    size = next(size for size in _BATCH_SIZES if size >= len(rows))
    return rows if size == len(rows) else torch.cat([rows, rows.new_zeros((size - len(rows), *rows.shape[1:]))])


def _compiled(network: nn.Module, examples: Sequence[Tensor], shapes: Shapes, plan: EnginePlan) -> Any:
    # OpenVINO reports its use to its maker unless somebody objects; without this module it cannot.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenVINO traces by a way that torch has announced to drop
        decoder = TorchScriptPythonDecoder(network, example_input=tuple(examples))
    front_end = FrontEndManager().load_by_framework("pytorch")
    model = front_end.convert(front_end.load(decoder))
    model.reshape(dict(zip(model.inputs, (list(shape) for shape in shapes), strict=True)))
    settings = {
        "INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[plan.precision],
        "INFERENCE_NUM_THREADS": plan.n_threads,
        "PERFORMANCE_HINT": "LATENCY",
        # Code kept for sizes seen before: its own 5000 come to a gigabyte where every picture has another size.
        "CPU_RUNTIME_CACHE_CAPACITY": 1000,
    }
    return openvino.Core().compile_model(model, "CPU", settings)

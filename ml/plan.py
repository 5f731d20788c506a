"""How networks shall be run: a small value that can be chosen, stored and shown. Nothing heavy is imported here."""

import math
import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from ml.errors import ModelError

_CPU_INFO: Final = Path("/proc/cpuinfo")
_CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
_BFLOAT16_FLAGS: Final = {"amx_bf16", "avx512_bf16", "bf16"}

Runtime = Literal["torch", "openvino"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """How networks are run.

    `precision` is that of the embedding's convolutions; detection always runs in float32, because less moves the boxes.
    `n_threads` are those of one batch on the CPU: more than there are free cores is much slower than one.
    """

    runtime: Runtime
    precision: Precision
    n_threads: int

    def __str__(self) -> str:
        """As the setting `engine` spells it, e.g. "openvino/bfloat16/2"."""
        return f"{self.runtime}/{self.precision}/{self.n_threads}"


def n_usable_cpus() -> int:
    """Processors that this process may use: those it may run on, but no more than its container is given time for."""
    n_seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota_us, period_us = _CPU_QUOTA.read_text().split()
        return max(1, min(n_seen, math.ceil(int(quota_us) / int(period_us))))
    except (OSError, ValueError):  # no such file, or no limit, which is the word "max"
        return n_seen


PLAIN: Final = EnginePlan("torch", "float32", n_usable_cpus())
"""What works everywhere, and what others are compared with."""


def default_plan(device: str) -> EnginePlan:
    """What is probably best where nobody has measured (see `ml.tuning`).

    float16 on a GPU; on a CPU OpenVINO where it is installed, and bfloat16 where the processor multiplies it in
    hardware: elsewhere it is hundreds of times slower.
    """
    if not device.startswith("cpu"):
        return EnginePlan("torch", "float16", PLAIN.n_threads)
    runtime: Runtime = "openvino" if has_openvino() else "torch"
    return EnginePlan(runtime, "bfloat16" if multiplies_bfloat16() else "float32", PLAIN.n_threads)


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16, as far as Linux tells; False elsewhere."""
    return not _BFLOAT16_FLAGS.isdisjoint(_cpu_facts().get("flags", "").split())


def cpu_name() -> str:
    """What the processor calls itself."""
    return _cpu_facts().get("model name") or platform.processor() or platform.machine()


@cache
def _cpu_facts() -> dict[str, str]:
    """What Linux says about the first processor; nothing elsewhere."""
    if not _CPU_INFO.exists():
        return {}
    first = _CPU_INFO.read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def parse_plan(text: str) -> EnginePlan:
    """Read what `str(plan)` wrote.

    Raises:
        ModelError: it is not one, and says what would be.
    """
    match text.split("/"):
        case [("torch" | "openvino") as runtime, ("float32" | "bfloat16" | "float16") as precision, threads] if (
            threads.isdecimal() and int(threads) > 0
        ):
            return EnginePlan(runtime, precision, int(threads))
    raise ModelError(f"{text!r} is not a way to run networks: give RUNTIME/PRECISION/THREADS, e.g. torch/float32/2")


def has_openvino() -> bool:
    """Whether the optional runtime is installed."""
    return find_spec("openvino") is not None

"""How networks shall be run, as a value that people write and read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml import plan
from ml.errors import ModelError
from ml.plan import EnginePlan, default_plan, parse_plan


@pytest.fixture
def cpu_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(plan, "_CPU_INFO", path)
    plan._cpu_facts.cache_clear()
    yield path
    plan._cpu_facts.cache_clear()


@pytest.mark.parametrize("text", ["torch/float32/1", "openvino/bfloat16/2", "torch/float16/16"])
def test_a_plan_is_read_as_it_is_written(text: str) -> None:
    assert str(parse_plan(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "torch", "torch/float32", "torch/float32/0", "torch/float32/-1", "torch/int8/1", "tf/float32/1", "a/b/c/d"],
)
def test_what_is_no_plan_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ModelError, match="torch/float32/2"):
        parse_plan(text)


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu avx2 f16c", "float32"), ("avx2 amx_bf16 amx_tile", "bfloat16"), ("avx512_bf16", "bfloat16")],
)
def test_bfloat16_is_for_processors_that_multiply_it(cpu_info: Path, flags: str, precision: str) -> None:
    cpu_info.write_text(f"processor : 0\nmodel name : Some CPU\nflags : {flags}\n\nprocessor : 1\nflags : amx_bf16\n")
    assert default_plan("cpu").precision == precision
    assert plan.cpu_name() == "Some CPU"


def test_where_nothing_is_known_of_the_processor_float32_is_safe(cpu_info: Path) -> None:
    assert default_plan("cpu").precision == "float32"
    assert plan.cpu_name()


@pytest.mark.parametrize(("is_installed", "runtime"), [(True, "openvino"), (False, "torch")])
def test_openvino_is_used_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, is_installed: bool, runtime: str
) -> None:
    monkeypatch.setattr(plan, "has_openvino", lambda: is_installed)
    assert default_plan("cpu").runtime == runtime


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_is_run_by_torch_in_half_precision(device: str) -> None:
    chosen = default_plan(device)
    assert (chosen.runtime, chosen.precision) == ("torch", "float16")
    assert isinstance(chosen, EnginePlan)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("250000 100000", 3), ("50000 100000", 1), ("9900000 100000", 8), ("", 8)],
)
def test_a_containers_share_of_the_processors_is_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(plan, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(plan.os, "sched_getaffinity", lambda _: set(range(8)))
    assert plan.n_usable_cpus() == expected

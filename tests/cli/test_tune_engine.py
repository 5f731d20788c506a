"""`rollcall tune-engine`, and the first start that runs it by itself."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest

from app.cli import tune_engine
from app.inference.tuning import keep_plan
from app.settings import Settings
from ml.plan import EnginePlan
from tests.server import run_rollcall


def test_ways_to_run_the_networks_are_tried_and_the_best_is_kept(tmp_path: Path) -> None:
    ended = run_rollcall(tmp_path, "tune-engine", ROLLCALL_ENGINE="auto")
    assert ended.status == 0, ended.err
    [path] = tmp_path.glob("engine-*.json")
    kept = json.loads(path.read_text())
    tried = [each["plan"] for each in kept["tried"]]
    assert "torch/float32" in tried[0]
    assert kept["plan"] in tried
    assert all(each["agreement"] > 0.99 for each in kept["tried"])
    assert f"Chosen: {kept['plan']}" in ended.out
    assert all(plan in ended.out for plan in tried)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that were started; each ends at once and badly."""
    started: list[list[str]] = []

    def run(command: list[str], **options: object) -> object:
        started.append(command)
        return real(["false"], **options)

    real = tune_engine.subprocess.run
    monkeypatch.setattr(tune_engine.subprocess, "run", run)
    return started


def test_a_first_start_measures_and_goes_on_when_that_fails(tmp_path: Path, calls: list[list[str]]) -> None:
    tune_engine.tune_once(Settings(data_dir=tmp_path))
    assert [command[-1] for command in calls] == ["tune-engine"]


def test_of_processes_that_start_together_one_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, measured = Settings(data_dir=tmp_path), []

    def measure(settings: Settings) -> None:
        sleep(0.2)  # time enough for the others to come
        measured.append(settings)
        keep_plan(settings, EnginePlan("torch", "float32", 1), [])

    monkeypatch.setattr(tune_engine, "_measure_aside", measure)
    with ThreadPoolExecutor(4) as processes:
        list(processes.map(tune_engine.tune_once, [settings] * 4))
    assert len(measured) == 1


def test_a_later_start_does_not_measure_again(tmp_path: Path, calls: list[list[str]]) -> None:
    settings = Settings(data_dir=tmp_path)
    keep_plan(settings, EnginePlan("torch", "float32", 1), [])
    tune_engine.tune_once(settings)
    assert calls == []


def test_nothing_is_measured_where_the_operator_says_how(tmp_path: Path, calls: list[list[str]]) -> None:
    tune_engine.tune_once(Settings(data_dir=tmp_path, engine="torch/float32/1"))
    assert calls == []

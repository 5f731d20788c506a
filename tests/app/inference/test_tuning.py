"""How this machine runs its networks: what was measured is kept, and forgotten when the machine is another."""

import json
from pathlib import Path

import pytest

from app.inference import tuning
from app.inference.tuning import Measured, chosen_plan, keep_plan, kept_plan
from app.settings import Settings
from ml.errors import ModelError
from ml.plan import EnginePlan, default_plan

PLAN = EnginePlan("torch", "float32", 7)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", engine="auto", device="cpu")


def test_what_was_measured_is_kept_with_everything_that_was_tried(settings: Settings) -> None:
    path = keep_plan(settings, PLAN, [Measured("torch/float32/7", 20.5, 11.25, 1.0)])
    assert kept_plan(settings) == PLAN
    assert chosen_plan(settings) == tuning.ChosenPlan(PLAN, "measured")
    assert json.loads(path.read_text())["tried"] == [
        {"plan": "torch/float32/7", "one_ms": 20.5, "each_ms": 11.25, "agreement": 1.0}
    ]
    assert list(path.parent.iterdir()) == [path]


def test_where_nothing_was_measured_the_best_guess_is_used(settings: Settings) -> None:
    assert kept_plan(settings) is None
    assert chosen_plan(settings) == tuning.ChosenPlan(default_plan("cpu"), "assumed")


def test_the_operators_word_goes_before_what_was_measured(settings: Settings) -> None:
    keep_plan(settings, PLAN, [])
    told = settings.model_copy(update={"engine": "torch/float32/1"})
    assert chosen_plan(told) == tuning.ChosenPlan(EnginePlan("torch", "float32", 1), "set")


def test_a_word_that_is_no_plan_is_refused_with_an_example(settings: Settings) -> None:
    with pytest.raises(ModelError, match="torch/float32/2"):
        chosen_plan(settings.model_copy(update={"engine": "fast"}))


@pytest.mark.parametrize("changed", [{"device": "cuda"}, {"backbone": "sface"}, {"detector": "yunet"}])
def test_what_was_measured_with_other_networks_does_not_count(settings: Settings, changed: dict[str, str]) -> None:
    keep_plan(settings, PLAN, [])
    assert kept_plan(settings.model_copy(update=changed)) is None


def test_machines_that_share_a_folder_keep_what_each_measured(settings: Settings) -> None:
    gpu, half = settings.model_copy(update={"device": "cuda"}), EnginePlan("torch", "float16", 2)
    keep_plan(settings, PLAN, [])
    keep_plan(gpu, half, [])
    assert (kept_plan(settings), kept_plan(gpu)) == (PLAN, half)


def test_what_was_measured_on_another_machine_does_not_count(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_plan(settings, PLAN, [])
    monkeypatch.setattr(tuning, "cpu_name", lambda: "A processor that was bought since")
    assert kept_plan(settings) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"plan": 3, "measured_on": {}}', "\x00"])
def test_a_damaged_file_is_as_none(settings: Settings, text: str) -> None:
    keep_plan(settings, PLAN, []).write_text(text)
    assert kept_plan(settings) is None

"""Choosing how to run networks: the fastest, and fewer bits only where they pay and change nothing."""

import pytest

from ml import tuning
from ml.engine import FaceEngine
from ml.plan import PLAIN, EnginePlan, parse_plan
from ml.tuning import Timing, choose, measure, picture_with_a_face, plans_to_try


def timing(plan: str, one_ms: float, each_ms: float, agreement: float = 1.0) -> Timing:
    return Timing(parse_plan(plan), one_ms, each_ms, agreement)


def chosen(*timings: Timing) -> str:
    return str(choose(timings).plan)


def test_the_fastest_is_chosen_for_one_picture_and_for_many_together() -> None:
    slow, fast = timing("torch/float32/2", 30, 20), timing("openvino/float32/2", 20, 15)
    assert chosen(slow, fast) == "openvino/float32/2"
    assert chosen(timing("torch/float32/2", 30, 5), fast) == "torch/float32/2"


@pytest.mark.parametrize(("one_ms", "is_worth_it"), [(17.0, True), (19.0, False)])
def test_fewer_bits_must_pay(one_ms: float, is_worth_it: bool) -> None:
    fewer = timing("torch/bfloat16/2", one_ms, 20, 0.9999)
    assert (chosen(timing("torch/float32/2", 20, 20), fewer) == "torch/bfloat16/2") is is_worth_it


def test_fewer_bits_that_change_embeddings_are_never_chosen() -> None:
    assert chosen(timing("torch/float32/2", 20, 20), timing("torch/bfloat16/2", 1, 1, 0.99)) == "torch/float32/2"


def test_a_way_that_gives_other_embeddings_is_not_chosen_however_many_bits_it_has() -> None:
    assert chosen(timing("torch/float32/2", 20, 20), timing("openvino/float32/2", 1, 1, 0.3)) == "torch/float32/2"


def test_where_only_fewer_bits_were_tried_the_fastest_of_them_is_chosen() -> None:
    assert chosen(timing("torch/float16/2", 3, 2), timing("torch/bfloat16/2", 2, 1)) == "torch/bfloat16/2"


def test_nothing_tried_is_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match=r"min\(\)"):
        choose([])


@pytest.mark.parametrize(
    ("device", "has_openvino", "has_bfloat16", "expected"),
    [
        ("cpu", False, False, ["torch/float32/8"]),
        ("cpu", True, False, ["torch/float32/8", "openvino/float32/8"]),
        ("cpu", False, True, ["torch/float32/8", "torch/bfloat16/8"]),
        ("cuda:0", True, True, ["torch/float32/8", "torch/float16/8", "torch/bfloat16/8"]),
    ],
)
def test_only_what_a_device_can_do_well_is_tried(
    monkeypatch: pytest.MonkeyPatch, device: str, has_openvino: bool, has_bfloat16: bool, expected: list[str]
) -> None:
    monkeypatch.setattr(tuning, "has_openvino", lambda: has_openvino)
    monkeypatch.setattr(tuning, "multiplies_bfloat16", lambda: has_bfloat16)
    assert [str(plan) for plan in plans_to_try(device, 8)] == expected


def test_plans_are_timed_with_real_networks_and_agree() -> None:
    loaded: list[EnginePlan] = []

    def load(plan: EnginePlan) -> FaceEngine:
        loaded.append(plan)
        return FaceEngine.load(plan=plan)

    plan = EnginePlan("torch", "float32", 1)
    [measured] = measure([plan], load, picture_with_a_face())
    assert loaded == [PLAIN, plan]
    assert measured.plan == plan
    assert measured.each_ms > 0
    assert measured.one_ms > 0
    assert measured.agreement == pytest.approx(1, abs=1e-5)

"""What people and machines are told, and what neither is."""

import json
from io import StringIO
from typing import Any

import pytest

from app.camera.answers import is_answer, outcome_of, summary
from app.camera.console import Console
from ml.types import Outcome
from tests.app.camera.factories import MORNING
from tests.app.camera.service import make_face

ADA = {"outcome": "identified", "name": "Ada Byron", "employee_code": "E1", "person_id": "per_1", "score": 0.61}
ADA |= {"odds": 1200.0, "event_id": "evt_1", "direction": "in", "duplicate_of": None, "reasons": []}
BOX = (10.0, 12.0, 50.0, 62.0)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def make_body(*faces: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    return {"faces": list(faces), "events": events}


def test_a_terminal_shows_the_name_with_the_certainty() -> None:
    out = Terminal()
    Console(out, is_json=False).said(MORNING, ADA, 0)
    assert "IN Ada Byron (score 0.610, a stranger would reach it once in 1,200)" in out.getvalue()
    assert f"{MORNING.astimezone():%H:%M:%S}" in out.getvalue()


@pytest.mark.parametrize("is_json", [True, False])
def test_a_file_or_a_journal_gets_the_code_and_no_name(is_json: bool) -> None:
    out = StringIO()
    Console(out, is_json=is_json).said(MORNING, ADA, 3)
    assert "Ada" not in out.getvalue() and "E1" in out.getvalue()


def test_machines_get_one_object_per_line() -> None:
    out = Terminal()
    console = Console(out, is_json=True)
    console.said(MORNING, ADA, 3)
    console.problem("server", "away")
    answer, problem = (json.loads(line) for line in out.getvalue().splitlines())
    assert answer == {"event": "answer", "captured_at": MORNING.isoformat(), "waiting": 3} | {
        name: value for name, value in ADA.items() if name != "name"
    }
    assert problem == {"event": "problem", "about": "server", "text": "away"}


def test_a_name_full_of_markup_is_shown_as_it_is() -> None:
    out = Terminal()
    Console(out, is_json=False).said(MORNING, {**ADA, "name": "[red]Bobby[/red] [link=x]"}, 0)
    assert "[red]Bobby[/red] [link=x]" in out.getvalue()


def test_a_problem_is_told_once_until_it_is_another_or_over() -> None:
    out = StringIO()
    console = Console(out, is_json=False)
    for text in ("away", "away", "busy"):
        console.problem("server", text)
    console.solved("server", "back")
    console.solved("server", "back")
    console.problem("server", "away")
    assert out.getvalue().split() == ["away", "busy", "back", "away"]


def test_the_face_that_was_meant_is_the_one_where_it_was_seen() -> None:
    other = make_face(box_xyxy=[200, 12, 260, 82], outcome="unknown", person=None, event_id="evt_2")
    events = [{"id": "evt_2", "direction": None}, {"id": "evt_1", "direction": "in", "duplicate_of": "evt_0"}]
    said = summary(make_body(other, make_face(), events=events), BOX)
    assert (said["outcome"], said["employee_code"], said["event_id"]) == ("identified", "E1", "evt_1")
    assert said["duplicate_of"] == "evt_0" and outcome_of(said) is Outcome.IDENTIFIED


def test_no_face_in_the_picture_asks_for_a_better_one() -> None:
    said = summary(make_body(events=[]), BOX)
    assert outcome_of(said) is Outcome.LOW_QUALITY and said["reasons"] == ["no_face"]


def test_a_face_without_an_event_and_an_outcome_from_the_future_are_no_trouble() -> None:
    said = summary(make_body(make_face(outcome="yawning", person=None, event_id=None), events=[]), BOX)
    assert said["outcome"] == "yawning" and said["event_id"] is None and outcome_of(said) is None


BOXLESS = {name: value for name, value in make_face().items() if name != "box_xyxy"}


@pytest.mark.parametrize(
    "body",
    [
        *(None, [], {}, {"faces": []}, {"faces": 1, "events": []}, "ok"),
        {"faces": [{}], "events": []},
        {"faces": [BOXLESS], "events": []},
        {"faces": [make_face(outcome=None)], "events": []},
        {"faces": [make_face(score="high")], "events": []},
        {"faces": [make_face()], "events": [None]},
        {"faces": [make_face()], "events": [{"id": "evt_1", "direction": 1}]},
    ],
)
def test_what_is_no_answer_of_the_service_is_known(body: object) -> None:
    assert not is_answer(body)


class Gone(StringIO):
    """A pipe that nobody reads any more, or a full disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error: OSError | None = error

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("is_json", [True, False])
def test_output_that_goes_nowhere_ends_nothing(error: OSError, is_json: bool) -> None:
    out = Gone(error)
    console = Console(out, is_json=is_json)
    console.said(MORNING, ADA, 0)
    console.problem("server", "away")
    out.error = None
    console.tell("waiting", "there again")
    assert out.getvalue().count("\n") == 1 and "there again" in out.getvalue()


def test_that_it_is_over_is_told_only_after_a_problem() -> None:
    out = StringIO()
    console = Console(out, is_json=False)
    for _ in range(2):
        console.over("disk", "fine")
    console.problem("disk", "full")
    for _ in range(2):
        console.over("disk", "fine")
    assert out.getvalue().split() == ["full", "fine"]

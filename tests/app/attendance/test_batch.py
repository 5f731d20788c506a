"""Many captures at once: good lines are kept whatever is wrong with others, and nothing is recorded twice."""

import base64
import json
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.attendance.batch import MAX_LINES, BatchSlots, lines_of
from app.db.engine import Database
from app.db.tables import Capture, Event
from app.db.types import utc_now
from app.errors import ProblemError
from tests.app import photos
from tests.app.attendance.factories import refuse_difference
from tests.app.attendance.test_captures import count, make_camera, send
from tests.app.enrolment.test_enroll import enroll

Headers = dict[str, str]
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def backend() -> str:
    return "sqlite"


def make_line(*, key: str, image: bytes, minutes_ago: float = 5, **fields: Any) -> str:
    captured_at = (utc_now() - timedelta(minutes=minutes_ago)).isoformat()
    encoded = base64.b64encode(image).decode()
    line = {"captured_at": captured_at, "image_base64": encoded, "idempotency_key": key, **fields}
    return json.dumps({name: value for name, value in line.items() if value is not None})


def send_batch(client: TestClient, headers: Headers, lines: list[str]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The answers by line, and the summary."""
    answer = client.post("/v1/captures/batch", content="\n".join(lines), headers={**headers, **NDJSON})
    assert answer.status_code == 200, answer.text
    *answers, end = [json.loads(line) for line in answer.text.splitlines()]
    return answers, end["summary"]


def test_many_lines_with_every_kind_of_bad_one(client: TestClient, operator: Headers, database: Database) -> None:
    person_id = enroll(client, operator, "G1", photos.grace(), name="Grace").json()["person"]["id"]
    _, camera = make_camera(database=database)
    good = [
        make_line(key=f"k{n}", image=photos.grace(variant=n % 6), minutes_ago=60 * n + 1, direction="in")
        for n in range(1, 36)
    ]
    future = (utc_now() + timedelta(days=1)).isoformat()
    bad = {
        "{": "fields_invalid",
        "[]": "fields_invalid",
        '"\\ud800"': "fields_invalid",
        "[" * 3000: "fields_invalid",
        make_line(key="b1", image=b"", captured_at="2016-11-20T09:00:00Z"): "captured_at_too_old",
        make_line(key="b2", image=b"", captured_at=future): "captured_at_in_future",
        make_line(key="b3", image=b"", captured_at="noon"): "fields_invalid",
        make_line(key="b4", image=b"", captured_at=None): "fields_invalid",
        make_line(key="b5", image=b"", image_base64="%%%"): "fields_invalid",
        make_line(key="b6", image=b""): "image_empty",
        make_line(key="b6", image=b"", image_base64="é"): "fields_invalid",
        make_line(key="k1", image=photos.eileen(), minutes_ago=61): "idempotency_mismatch",
        make_line(key="b7", image=b"text"): "image_type_unsupported",
        make_line(key="b8", image=photos.grace()[:2000]): "image_truncated",
        make_line(key="b9", image=b"", direction="up"): "fields_invalid",
        make_line(key="c1", image=b"", camera_id="cam_other"): "camera_mismatch",
        make_line(key="", image=b""): "fields_invalid",
    }
    lines = [*good[:10], *bad, *good[10:]]
    assert len(lines) == 52
    answers, summary = send_batch(client, camera, lines)
    assert [answer["line"] for answer in answers] == list(range(1, 53))
    assert summary == {"lines": 52, "recorded": 35, "already_recorded": 0, "refused": 17}
    refused = [answer for answer in answers if answer["status"] == "refused"]
    assert [answer["code"] for answer in refused] == list(bad.values())
    assert all(answer["detail"] and answer["retry"] is False for answer in refused)
    assert (count(database, Capture), count(database, Event)) == (35, 35)
    refuse_difference(database=database, people=[person_id])


def test_sent_again_it_duplicates_nothing(client: TestClient, operator: Headers, database: Database) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    _, camera = make_camera(database=database)
    lines = [make_line(key=f"k{n}", image=photos.grace(), minutes_ago=60 * n + 1) for n in range(4)]
    first, _ = send_batch(client, camera, lines[:3])
    again, summary = send_batch(client, camera, [lines[0], "", "  ", *lines, lines[3]])
    assert summary == {"lines": 6, "recorded": 1, "already_recorded": 5, "refused": 0}
    assert [answer["line"] for answer in again] == [1, 4, 5, 6, 7, 8]
    assert [answer["capture_id"] for answer in again[1:4]] == [answer["capture_id"] for answer in first]
    assert again[1]["events"][0]["id"] == first[0]["events"][0]["id"]
    assert count(database, Event) == 4


def test_a_capture_that_came_by_itself_is_not_recorded_again(client: TestClient, database: Database) -> None:
    _, camera = make_camera(database=database)
    captured_at = (utc_now() - timedelta(minutes=5)).isoformat()
    capture = send(client, camera, photos.nobody(), key="k1", captured_at=captured_at).json()["capture"]
    answers, _ = send_batch(client, camera, [make_line(key="k1", image=photos.nobody(), captured_at=captured_at)])
    assert (answers[0]["status"], answers[0]["capture_id"]) == ("already_recorded", capture["id"])


def test_who_goes_away_in_the_middle_finds_what_was_recorded(client: TestClient, database: Database) -> None:
    _, camera = make_camera(database=database)
    lines = [make_line(key=f"k{n}", image=photos.nobody()) for n in range(6)]
    with client.stream(
        "POST", "/v1/captures/batch", content="\n".join(lines[:4]), headers={**camera, **NDJSON}
    ) as answer:
        next(answer.iter_lines())
    before = count(database, Capture)
    assert before >= 1
    _, summary = send_batch(client, camera, lines)
    assert (summary["already_recorded"], summary["recorded"]) == (before, 6 - before)
    with database.read() as session:
        keys = session.scalars(select(Capture.idempotency_key).order_by(Capture.idempotency_key)).all()
    assert keys == [f"k{n}" for n in range(6)]


def test_too_many_lines_are_refused_before_any_is_looked_at(client: TestClient, camera: Headers) -> None:
    answer = client.post("/v1/captures/batch", content=b"{}\n" * (MAX_LINES + 1), headers={**camera, **NDJSON})
    assert (answer.status_code, answer.json()["code"]) == (413, "batch_too_long")
    answer = client.post("/v1/captures/batch", content=b"{}", headers={**camera, "Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "type_unsupported")
    assert send_batch(client, camera, [])[1]["lines"] == 0


def test_only_a_few_batches_are_worked_on_at_once() -> None:
    slots = BatchSlots(1)
    release = slots.take()
    with pytest.raises(ProblemError, match="Other batches"):
        slots.take()
    release()
    slots.take()


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n\n", []),
        (b"ab\n\ncd", [(1, b"ab\n"), (3, b"cd")]),
        (b"12345678\n123456789\nab\n", [(1, b"12345678\n"), (2, None), (3, b"ab\n")]),
        (b"123456789", [(1, None)]),
        (b"x" * 1_000_000 + b"\nab", [(1, None), (2, b"ab")]),
    ],
)
def test_lines_are_read_one_by_one_and_long_ones_passed_over(
    content: bytes, lines: list[tuple[int, bytes | None]]
) -> None:
    assert list(lines_of(BytesIO(content), max_bytes=8)) == lines


def test_the_picture_may_be_as_large_as_any(client: TestClient, database: Database) -> None:
    _, camera = make_camera(database=database)
    noise = BytesIO(photos.nobody()).getvalue()
    answers, _ = send_batch(client, camera, [make_line(key="k", image=noise + bytes(19_000_000 - len(noise)))])
    assert answers[0]["status"] == "recorded"

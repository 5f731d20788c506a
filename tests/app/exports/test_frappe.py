"""Check-ins for Frappe HR: against a server that answers as Frappe does."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.exports.frappe import Answer, Checkin, Frappe, FrappeError, RefusedError, checkin_of
from app.exports.sent import InUseError, sent_log
from tests.app.exports.frappe_server import TOKEN, FrappeServer, running_frappe

DAY = date(2026, 11, 2)


@pytest.fixture
def frappe() -> Iterator[FrappeServer]:
    with running_frappe() as server:
        yield server


@pytest.fixture
def client(frappe: FrappeServer) -> Iterator[Frappe]:
    with closing(Frappe(frappe.url + "/", TOKEN, timeout_s=0.3, waits_s=(0.01, 0.01))) as client:
        yield client


def make_checkin(*, code: str = "E1", at: str = "2026-11-02 08:00:00", log_type: str = "IN") -> Checkin:
    return Checkin("evt_1", code, at, log_type, "cam_1")


def make_event(**fields: Any) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "person": {"id": "per_1", "employee_code": "E1", "name": "Ada"},
        "direction": "in",
        "duplicate_of": None,
        "is_deleted": False,
        "occurred_at": "2026-11-02T07:00:00.900Z",
        "timezone": "Europe/Berlin",
        "camera_id": "cam_1",
        **fields,
    }


def test_a_checkin_has_the_time_on_the_wall_where_it_happened() -> None:
    assert checkin_of(make_event(), DAY, DAY) == Checkin("evt_1", "E1", "2026-11-02 08:00:00", "IN", "cam_1")


@pytest.mark.parametrize(
    "fields",
    [
        {"person": None},
        {"direction": None},
        {"duplicate_of": "evt_0"},
        {"is_deleted": True},
        {"occurred_at": "2026-11-02T23:30:00Z"},  # the 3rd in Berlin
        {"occurred_at": "2026-11-01T22:30:00Z"},
    ],
    ids=str,
)
def test_what_is_no_punch_of_these_dates_makes_no_checkin(fields: dict[str, Any]) -> None:
    assert checkin_of(make_event(**fields), DAY, DAY) is None


def test_a_night_that_begins_on_the_day_before_in_utc_counts() -> None:
    event = make_event(occurred_at="2026-11-01T23:30:00Z", direction="out")
    assert checkin_of(event, DAY, DAY) == Checkin("evt_1", "E1", "2026-11-02 00:30:00", "OUT", "cam_1")


def test_a_checkin_is_taken_once(frappe: FrappeServer, client: Frappe) -> None:
    assert client.add(make_checkin()) is Answer.TAKEN
    assert client.add(make_checkin()) is Answer.WAS_THERE
    assert frappe.log == [("E1", "2026-11-02 08:00:00", "IN")]
    assert frappe.devices == ["cam_1"]


def test_an_answer_that_never_comes_makes_no_second_checkin(frappe: FrappeServer, client: Frappe) -> None:
    frappe.trouble = lambda n: None if n == 1 else 200
    assert client.add(make_checkin()) is Answer.WAS_THERE
    assert len(frappe.log) == 1


def test_a_bad_moment_is_waited_for(frappe: FrappeServer, client: Frappe) -> None:
    frappe.trouble = lambda n: {1: 502, 2: 429}.get(n, 200)
    assert client.add(make_checkin()) is Answer.TAKEN


def test_an_employee_whom_frappe_does_not_know_is_told_in_its_words(client: Frappe) -> None:
    with pytest.raises(RefusedError, match=r"No Employee found for the given employee field value\. '': E9"):
        client.add(make_checkin(code="E9"))
    assert client.add(make_checkin()) is Answer.TAKEN


def test_one_checkin_that_fails_stops_nothing_but_many_in_a_row_do(frappe: FrappeServer, client: Frappe) -> None:
    frappe.trouble = lambda _n: 500
    for _ in range(4):
        with pytest.raises(RefusedError, match="HTTP 500"):
            client.add(make_checkin())
    with pytest.raises(FrappeError, match="failed 5 times in a row"):
        client.add(make_checkin())


@pytest.mark.parametrize("page", [b"<html>Log in</html>", b'{"message": "Logged In"}', b"{}", b"[]"], ids=str)
def test_a_success_without_a_checkin_is_none(frappe: FrappeServer, client: Frappe, page: bytes) -> None:
    frappe.page = page
    for _ in range(4):
        with pytest.raises(RefusedError, match="HTTP 200 without a check-in"):
            client.add(make_checkin())
    with pytest.raises(FrappeError, match="failed 5 times in a row"):
        client.add(make_checkin())


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "refuses the API key"), (403, "refuses the API key"), (404, "its address"), (301, "its address")],
)
def test_what_every_checkin_would_meet_ends_the_export(
    frappe: FrappeServer, client: Frappe, status: int, words: str
) -> None:
    frappe.trouble = lambda _n: status
    with pytest.raises(FrappeError, match=words):
        client.add(make_checkin())
    assert frappe.n_requests == 1


def test_no_answer_at_all_ends_the_export() -> None:
    with (
        closing(Frappe("http://127.0.0.1:9", TOKEN, waits_s=(0.01,))) as client,
        pytest.raises(FrappeError, match="no answer from http://127.0.0.1:9"),
    ):
        client.add(make_checkin())


def test_what_was_sent_is_known_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "sent"
    for n in range(3):
        with sent_log(path) as sent:
            assert list(sent.contents) == [f"evt_{before}" for before in range(n)]
            sent.add(f"evt_{n}", "E1 2026-11-02 08:00:00 IN")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_cut_off_is_no_line(tmp_path: Path) -> None:
    path = tmp_path / "sent"
    path.write_text("evt_1\tE1 2026-11-02 08:00:00 IN\nevt_2\tE1 2026-1")
    with sent_log(path) as sent:
        assert list(sent.contents) == ["evt_1"]
        sent.add("evt_3", "x")
    with sent_log(path) as sent:
        assert list(sent.contents) == ["evt_1", "evt_3"]


def test_two_exports_at_once_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sent"
    with sent_log(path), pytest.raises(InUseError, match="another export is running"), sent_log(path):
        pass

"""Taking attendance out: a real service, and a server that answers as Frappe HR does."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.exports.factories import read_workbook
from tests.app.exports.frappe_server import FrappeServer, running_frappe
from tests.cli.here import run_beside
from tests.server import Finished, Server, running_server

DATES = ("--from", "2026-11-02", "--to", "2026-11-03")
# Site time: Ada's Monday, a night's end on Tuesday, and what is before and after these dates.
PUNCHES = [
    ("E1", "2026-11-01T22:59:00Z", "in"),
    ("E1", "2026-11-02T07:00:00Z", "in"),
    ("E1", "2026-11-02T07:00:30Z", "in"),  # the same presence
    ("E1", "2026-11-02T16:00:00Z", "out"),
    ("E2", "2026-11-02T23:30:00Z", "in"),
    ("E2", "2026-11-03T09:00:00Z", "out"),
    ("E2", "2026-11-04T07:00:00Z", "in"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"ROLLCALL_TIMEZONE": "Europe/Berlin", "ROLLCALL_WORKERS": "0"}
    with running_server(tmp_path_factory.mktemp("exports") / "data", **settings) as server:
        yield server


@pytest.fixture(scope="module")
def events(server: Server) -> list[dict[str, Any]]:
    """Punches written by hand."""
    with server.client(server.printed_keys[0]) as client:
        ids = {}
        for code, name in (("E1", "=Ada"), ("E2", "Bo")):
            ids[code] = client.post("/v1/people", json={"employee_code": code, "name": name}).json()["id"]
        written = []
        for code, at, direction in PUNCHES:
            body = {"person_id": ids[code], "occurred_at": at, "direction": direction, "reason": "test"}
            answer = client.post("/v1/events", json=body)
            assert answer.status_code == 201, answer.text
            written.append(answer.json())
        return written


@pytest.fixture
def frappe() -> Iterator[FrappeServer]:
    with running_frappe() as frappe:
        yield frappe


def run_frappe(server: Server, frappe: FrappeServer, state: Path, *options: str) -> Finished:
    args = ("export", "frappe", *DATES, "--state", state, *options)
    keys = {"FRAPPE_URL": frappe.url, "FRAPPE_API_KEY": "key", "FRAPPE_API_SECRET": "secret"}
    finished = run_beside(server, *args, **keys)
    assert "secret" not in finished.out + finished.err
    return finished


def test_attendance_is_written_as_csv_that_only_its_owner_reads(
    server: Server, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "days.csv"
    file.write_text("older")
    done = run_beside(server, "export", "attendance", file, *DATES)
    assert (done.status, done.out) == (0, ""), done
    rows = list(csv.DictReader(io.StringIO(file.read_text(), newline="")))
    assert [(row["date"], row["employee_code"], row["name"]) for row in rows][0] == ("2026-11-02", "E1", "'=Ada")
    assert rows[0]["first_in"] == "2026-11-02T08:00:00+01:00"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert "Writing days.csv" in done.err and "/" not in done.err, "a length was told that nobody knows"


def test_attendance_is_written_as_a_workbook_of_one_person(
    server: Server, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "days.xlsx"
    done = run_beside(server, "export", "attendance", file, *DATES, "--person", events[0]["person"]["id"])
    assert done.status == 0, done
    sheets = read_workbook(file.read_bytes())
    assert [row[1] for row in sheets["Days"][1:]] == ["E1"]
    assert len(sheets["Totals"]) == 2


def test_odoo_gets_presences(server: Server, events: list[dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "odoo.csv"
    assert run_beside(server, "export", "odoo", file, *DATES).status == 0
    rows = list(csv.reader(file.read_text().splitlines()))
    assert rows[0] == ["barcode", "employee_id", "check_in", "check_out"]
    assert ["E1", "'=Ada", "2026-11-02 07:00:00", "2026-11-02 16:00:00"] in rows


def test_what_cannot_be_written_is_said_in_one_line_and_leaves_no_file(server: Server, tmp_path: Path) -> None:
    wrong_name = run_beside(server, "export", "attendance", tmp_path / "days.pdf", *DATES)
    too_long = run_beside(server, "export", "odoo", tmp_path / "a.csv", "--from", "2020-01-01", "--to", "2026-01-01")
    reversed_ = run_beside(
        server, "export", "attendance", tmp_path / "a.csv", "--from", "2026-11-03", "--to", "2026-11-02"
    )
    for done, word in ((wrong_name, ".xlsx"), (too_long, "range_too_long"), (reversed_, "range_invalid")):
        assert done.status == 1 and word in done.err, done
    assert list(tmp_path.iterdir()) == []


def test_frappe_is_sent_each_punch_once_in_order_of_time(
    server: Server, events: list[dict[str, Any]], frappe: FrappeServer, tmp_path: Path
) -> None:
    dry = run_frappe(server, frappe, tmp_path / "sent", "--dry-run")
    assert (dry.status, frappe.log) == (0, []) and "Would send 4 check-ins of 2 people" in dry.out, dry
    done = run_frappe(server, frappe, tmp_path / "sent")
    assert done.status == 0, done
    assert frappe.log == [
        ("E1", "2026-11-02 08:00:00", "IN"),
        ("E1", "2026-11-02 17:00:00", "OUT"),
        ("E2", "2026-11-03 00:30:00", "IN"),
        ("E2", "2026-11-03 10:00:00", "OUT"),
    ]
    n_requests = frappe.n_requests
    again = run_frappe(server, frappe, tmp_path / "sent")
    assert again.status == 0 and "4 were sent before" in again.out, again
    assert frappe.n_requests == n_requests


def test_without_its_memory_frappe_still_gets_nothing_twice(
    server: Server, events: list[dict[str, Any]], frappe: FrappeServer, tmp_path: Path
) -> None:
    run_frappe(server, frappe, tmp_path / "sent")
    again = run_frappe(server, frappe, tmp_path / "other")
    assert again.status == 0 and "Sent 0 check-ins; 4 were in Frappe already" in again.out, again
    assert len(frappe.log) == 4


def test_what_frappe_refuses_is_listed_and_the_rest_is_sent(
    server: Server, events: list[dict[str, Any]], frappe: FrappeServer, tmp_path: Path
) -> None:
    frappe.employees = {"E2"}
    done = run_frappe(server, frappe, tmp_path / "sent")
    assert done.status == 1 and done.out.count("No Employee found") == 2, done
    assert events[1]["id"] in done.out and len(frappe.log) == 2
    frappe.employees = {"E1", "E2"}
    assert run_frappe(server, frappe, tmp_path / "sent").status == 0
    assert len(frappe.log) == 4


def test_an_export_that_ends_early_goes_on_where_it_was(
    server: Server, events: list[dict[str, Any]], frappe: FrappeServer, tmp_path: Path
) -> None:
    frappe.trouble = lambda n: 200 if n <= 2 else 401
    done = run_frappe(server, frappe, tmp_path / "sent")
    assert done.status == 1 and "Sent 2 check-ins" in done.out and "refuses the API key" in done.err, done
    frappe.trouble = lambda _n: 200
    assert (
        "Sent 2 check-ins; 0 were in Frappe already, 2 were sent before"
        in run_frappe(server, frappe, tmp_path / "sent").out
    )
    assert len(frappe.log) == 4


def test_what_was_changed_or_deleted_after_it_was_sent_is_listed(
    server: Server, events: list[dict[str, Any]], frappe: FrappeServer, tmp_path: Path
) -> None:
    run_frappe(server, frappe, tmp_path / "sent")
    changed, deleted = events[3]["id"], events[5]["id"]
    with server.client(server.printed_keys[0]) as client:
        for event_id, change in (
            (changed, {"occurred_at": "2026-11-02T15:00:00Z"}),
            (deleted, {"is_deleted": True}),
        ):
            answer = client.patch(f"/v1/events/{event_id}", json={**change, "reason": "test"})
            assert answer.status_code == 200, answer.text
    done = run_frappe(server, frappe, tmp_path / "sent")
    assert done.status == 1, done
    told = {line.split()[1]: line for line in done.out.splitlines() if "evt_" in line}
    assert set(told) == {changed, deleted}
    assert "correct it in Frappe" in told[changed] and "delete it in Frappe" in told[deleted]
    assert len(frappe.log) == 4


def test_the_second_of_two_equal_times_of_an_autumn_night_is_listed(
    server: Server, events: list[dict[str, Any]], frappe: FrappeServer, tmp_path: Path
) -> None:
    with server.client(server.printed_keys[0]) as client:
        for at in ("2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z"):
            body = {"person_id": events[0]["person"]["id"], "occurred_at": at, "direction": "in", "reason": "test"}
            answer = client.post("/v1/events", json=body)
            assert answer.status_code == 201, answer.text
    night = ("--from", "2025-10-26", "--to", "2025-10-26")
    for n_sent in (1, 0):
        done = run_frappe(server, frappe, tmp_path / "sent", *night)
        assert done.status == 1 and f"Sent {n_sent} check-ins" in done.out, done
        assert answer.json()["id"] in done.out and "the clocks were turned back" in done.out
    assert frappe.log == [("E1", "2025-10-26 02:30:00", "IN")]


def test_a_wrong_address_of_frappe_is_said(server: Server, tmp_path: Path) -> None:
    keys = {"FRAPPE_API_KEY": "key", "FRAPPE_API_SECRET": "secret"}
    done = run_beside(server, "export", "frappe", *DATES, "--frappe-url", "hr.example.com", **keys)
    assert done.status == 1 and "--frappe-url" in done.err, done

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.attendance.days import days_of, stream_days
from app.db.engine import Database
from app.db.tables import Person
from app.exports.service import csv_lines
from app.exports.workbook import workbook_of
from tests.app.exports.factories import MONDAY, at, make_day, read_workbook
from tests.app.factories import make_person

NOVEMBER = "from=2026-11-01&to=2026-11-30"


def rows_of(client: TestClient, headers: dict[str, str], path: str) -> list[dict[str, str]]:
    response = client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


@pytest.fixture
def worked(database: Database) -> dict[str, str]:
    """Two people with some days; ids by employee_code."""
    with database.write() as session:
        ada = make_person(session=session, employee_code="E1", name="=HYPERLINK(1)", department="R&D")
        bo = make_person(session=session, employee_code="-2", name="Bo")
        times = {"first_in": at(MONDAY, "07:03"), "last_out": at(MONDAY, "16:30")}
        seconds = {"worked_s": 30_600, "late_s": 200, "early_leave_s": 90, "overtime_s": 3600}
        make_day(session=session, person=ada, **times, **seconds, status="late", explanation="+3 min late")
        make_day(session=session, person=ada, day=MONDAY + timedelta(days=1), status="absent")
        make_day(session=session, person=bo, first_in=at(MONDAY, "22:00"), status="missing_out", timezone="UTC")
        return {"E1": ada.id, "-2": bo.id}


def test_days_are_exported_as_csv_with_local_times(
    client: TestClient, operator: dict[str, str], worked: dict[str, str]
) -> None:
    rows = rows_of(client, operator, f"/v1/attendance.csv?{NOVEMBER}&person_id={worked['E1']}")
    assert rows[0] == {
        "date": "2026-11-02",
        "employee_code": "E1",
        "name": "'=HYPERLINK(1)",
        "department": "R&D",
        "status": "late",
        "first_in": "2026-11-02T08:03:00+01:00",
        "last_out": "2026-11-02T17:30:00+01:00",
        "worked_h": "8.5",
        "late_min": "3",
        "early_leave_min": "2",
        "overtime_min": "60",
        "explanation": "'+3 min late",
    }
    assert (rows[1]["date"], rows[1]["status"], rows[1]["first_in"]) == ("2026-11-03", "absent", "")
    assert len(rows) == 2


def test_everybody_is_exported_by_date(client: TestClient, operator: dict[str, str], worked: dict[str, str]) -> None:
    rows = rows_of(client, operator, f"/v1/attendance.csv?{NOVEMBER}")
    assert [row["date"] for row in rows] == ["2026-11-02", "2026-11-02", "2026-11-03"]
    assert {row["employee_code"] for row in rows} == {"E1", "'-2"}
    assert rows_of(client, operator, "/v1/attendance.csv?from=2026-10-01&to=2026-10-31") == []


def test_days_are_exported_as_a_workbook_of_real_values(
    client: TestClient, operator: dict[str, str], worked: dict[str, str]
) -> None:
    response = client.get(f"/v1/attendance.xlsx?{NOVEMBER}&person_id={worked['E1']}", headers=operator)
    assert response.status_code == 200
    assert "attendance_2026-11-01_2026-11-30.xlsx" in response.headers["content-disposition"]
    sheets = read_workbook(response.content)
    head, first, second = sheets["Days"]
    shown = dict(zip(head, first, strict=True))
    assert shown["date"] == excel_day(datetime(2026, 11, 2))
    assert shown["first_in"] == pytest.approx(excel_day(datetime(2026, 11, 2, 8, 3)))
    assert (shown["worked_h"], shown["late_min"], shown["timezone"]) == (8.5, 3.0, "Europe/Berlin")
    assert (shown["name"], shown["explanation"]) == ("=HYPERLINK(1)", "+3 min late")
    assert second[head.index("status")] == "absent" and second[head.index("first_in")] is None
    head, total = sheets["Totals"]
    shown = dict(zip(head, total, strict=True))
    assert (shown["employee_code"], shown["late_days"], shown["absent_days"], shown["present_days"]) == ("E1", 1, 1, 0)
    assert (shown["worked_h"], shown["overtime_min"]) == (8.5, 60.0)


def test_a_workbook_of_nobody_has_its_headers(client: TestClient, operator: dict[str, str]) -> None:
    sheets = read_workbook(client.get("/v1/attendance.xlsx", headers=operator).content)
    assert {name: len(rows) for name, rows in sheets.items()} == {"Days": 1, "Totals": 1}


def test_more_days_than_a_sheet_holds_go_on_in_the_next(
    client: TestClient, database: Database, worked: dict[str, str]
) -> None:
    days = stream_days(database, first=MONDAY, last=MONDAY + timedelta(days=7), person_id=None, default_zone="UTC")
    sheets = read_workbook(b"".join(workbook_of(days, most_rows=3)))
    assert {name: len(rows) for name, rows in sheets.items()} == {"Days": 3, "Days 2": 2, "Totals": 3}


def make_days(*, n: int, **fields: Any) -> Iterator[Any]:
    for number in range(n):
        person = SimpleNamespace(id=f"per_{number}", employee_code=f"E{number}", name="Ada")
        seconds = dict.fromkeys(("worked_s", "late_s", "early_leave_s", "overtime_s"), 0)
        said = {"department": None, "status": "present", "timezone": "UTC", "explanation": "", **seconds, **fields}
        yield SimpleNamespace(date=MONDAY, person=person, first_in=None, last_out=None, **said)


def test_a_workbook_goes_out_while_its_days_are_read_and_stops_when_nobody_wants_the_rest() -> None:
    n_days, days = 100_000, make_days(n=100_000)
    pieces = workbook_of(days)
    assert next(pieces).startswith(b"PK")
    pieces.close()
    assert sum(1 for _ in days) > n_days / 2


def test_texts_are_what_they_were_in_a_workbook() -> None:
    odd = " <b>&amp;\n\"'=1+1 \x01 _x0041_ "
    content = b"".join(workbook_of(make_days(n=1, explanation=odd, department="x" * 40_000)))
    (_, row) = read_workbook(content)["Days"]
    assert row[-1] == odd.replace("_x0041_", "_x005F_x0041_").replace("\x01", "_x0001_")
    assert row[3] == "x" * 32_767  # what a cell can hold


def test_csv_goes_out_in_pieces_of_many_rows() -> None:
    pieces = list(csv_lines(make_days(n=5000)))
    assert all(65_536 < len(piece) < 66_000 for piece in pieces[:-1]) and len(pieces) > 2
    assert len(list(csv.DictReader(io.StringIO("".join(pieces), newline="")))) == 5000


def test_odoo_gets_whole_presences_in_utc_that_do_not_overlap(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    with database.write() as session:
        ada = make_person(session=session, employee_code="E1", name="Ada")
        parts: list[tuple[datetime | None, datetime | None]] = [
            (at(MONDAY, "14:00"), at(MONDAY, "18:00")),
            (at(MONDAY, "06:00"), at(MONDAY, "10:00")),
            (at(MONDAY, "09:30"), at(MONDAY, "11:00")),
            (at(MONDAY, "19:00"), None),
            (None, at(MONDAY, "20:00")),
            (at(MONDAY, "21:00"), at(MONDAY, "21:00")),
        ]
        make_day(session=session, person=ada, parts=parts)
    assert rows_of(client, operator, f"/v1/attendance/odoo.csv?{NOVEMBER}") == [
        {"barcode": "E1", "employee_id": "Ada", "check_in": "2026-11-02 06:00:00", "check_out": "2026-11-02 11:00:00"},
        {"barcode": "E1", "employee_id": "Ada", "check_in": "2026-11-02 14:00:00", "check_out": "2026-11-02 18:00:00"},
    ]


def test_a_month_is_added_up_per_person(
    client: TestClient, database: Database, operator: dict[str, str], worked: dict[str, str]
) -> None:
    with database.write() as session:
        make_day_of_another_month(session, worked["E1"])
        make_person(session=session, employee_code="gone").active = False
        make_person(session=session, employee_code="idle")
    first = client.get("/v1/attendance/summary?month=2026-11&limit=1", headers=operator).json()
    (ada,) = first["items"]
    assert ada["person"] == {"id": worked["E1"], "employee_code": "E1", "name": "=HYPERLINK(1)"}
    counts = {name: value for name, value in ada.items() if name.startswith("n_") and value}
    assert counts == {"n_late": 1, "n_absent": 1}
    assert (ada["month"], ada["worked_s"], ada["late_s"], ada["overtime_s"]) == ("2026-11", 30_600, 200, 3600)
    url = f"/v1/attendance/summary?month=2026-11&cursor={first['next_cursor']}"
    rest = client.get(url, headers=operator).json()
    assert [item["person"]["employee_code"] for item in rest["items"]] == ["-2", "idle"]
    assert (rest["items"][0]["n_missing"], rest["next_cursor"]) == (1, None)


def make_day_of_another_month(session: Session, person_id: str) -> None:
    make_day(session=session, person=session.get_one(Person, person_id), day=date(2026, 10, 31), worked_s=99)


def test_the_days_of_some_people_are_those_of_the_list(database: Database, worked: dict[str, str]) -> None:
    with database.read() as session:
        some = days_of(session, list(worked.values()), MONDAY, MONDAY + timedelta(days=30), "UTC")
    all_ = stream_days(database, first=MONDAY, last=MONDAY + timedelta(days=30), person_id=None, default_zone="UTC")
    assert sorted(some, key=place) == sorted(all_, key=place)


def place(day: Any) -> tuple[date, str]:
    return day.date, day.person.id


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ["attendance.csv", "attendance.xlsx", "attendance/odoo.csv"])
def test_odd_ranges_are_refused(
    client: TestClient, operator: dict[str, str], camera: dict[str, str], path: str
) -> None:
    for query, status, code in [
        ("from=2026-11-02&to=2026-11-01", 422, "range_invalid"),
        ("from=2020-01-01&to=2026-11-01", 422, "range_too_long"),
        ("from=yesterday", 422, "fields_invalid"),
        ("person_id=per_none", 404, "person_not_found"),
    ]:
        response = client.get(f"/v1/{path}?{query}", headers=operator)
        assert (response.status_code, response.json()["code"]) == (status, code)
    assert client.get(f"/v1/{path}", headers=camera).status_code == 403


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("query", ["", "?month=2026-13", "?month=2026", "?month=1999-01", "?month=2026-11&cursor=x"])
def test_odd_months_are_refused(client: TestClient, operator: dict[str, str], query: str) -> None:
    assert client.get(f"/v1/attendance/summary{query}", headers=operator).status_code == 422


def excel_day(wall: datetime) -> float:
    """Days since Excel's beginning of time."""
    return (wall - datetime(1899, 12, 30)) / timedelta(days=1)

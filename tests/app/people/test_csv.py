import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.db.engine import Database
from app.errors import ProblemError
from app.people.csv_file import RISKY, read_rows, write_rows
from app.settings import Settings
from tests.app.factories import make_person

HEADER = "employee_code,name,department,timezone\n"


def send(client: TestClient, headers: dict[str, str], text: str) -> Any:
    return client.post("/v1/people/import", content=text.encode(), headers={**headers, "content-type": "text/csv"})


def people(client: TestClient, headers: dict[str, str]) -> dict[str, dict[str, Any]]:
    items = client.get("/v1/people", headers=headers).json()["items"]
    return {item["employee_code"]: item for item in items}


def test_an_import_creates_updates_and_leaves_alone(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    with database.write() as session:
        make_person(session=session, employee_code="E1", name="Ada", department="R&D")
        make_person(session=session, employee_code="E2", name="Bo", department="Sales", timezone="Asia/Tokyo")
    response = send(client, operator, HEADER + "E1,Ada,R&D,\nE2,Bo,,Asia/Tokyo\nE3,Cy,,\n")
    lines = {"created": [4], "updated": [3], "unchanged": [2]}
    assert response.json() == {"created": 1, "updated": 1, "unchanged": 1, "errors": [], "lines": lines}
    stored = people(client, operator)
    assert (stored["E2"]["department"], stored["E2"]["timezone"]) == (None, "Asia/Tokyo")
    assert stored["E3"]["name"] == "Cy"


def test_columns_that_the_file_lacks_are_left_alone(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    with database.write() as session:
        make_person(session=session, employee_code="E1", name="Ada", department="R&D")
    assert send(client, operator, "name,employee_code\nAda L.,E1\n").json()["updated"] == 1
    assert people(client, operator)["E1"]["department"] == "R&D"


def test_shifts_and_sites_are_imported_and_exported(client: TestClient, admin: dict[str, str]) -> None:
    times = {"starts": "09:00", "ends": "17:00"}
    early, late, old = (
        client.post("/v1/shifts", json={"name": name, **times}, headers=admin).json()["id"] for name in "ABC"
    )
    client.delete(f"/v1/shifts/{old}", headers=admin)
    header = "employee_code,name,shift_id,site_id\n"
    rows = f"E1,Ada,{early},site_default\nE2,Bo,,\nE3,Cy,shf_none,\nE4,Di,,site_none\nE5,Ed,{old},\n"
    result = send(client, admin, header + rows).json()
    assert (result["created"], [error["code"] for error in result["errors"]]) == (
        2,
        ["shift_not_found", "site_not_found", "shift_not_found"],
    )
    changed = send(client, admin, header + f"E1,Ada,{late},site_default\nE2,Bo,{early},\n").json()
    assert changed["updated"] == 2
    stored = people(client, admin)
    assert (stored["E1"]["shift_id"], stored["E1"]["site_id"]) == (late, "site_default")
    roster = client.get("/v1/roster", headers=admin).json()["items"]
    assert {(entry["person_id"], entry["shift_id"]) for entry in roster} == {
        (stored["E1"]["id"], late),
        (stored["E2"]["id"], early),
    }
    exported = client.get("/v1/people/export", headers=admin).text
    again = send(client, admin, exported).json()
    assert (again["created"], again["updated"], again["unchanged"], again["errors"]) == (0, 0, 2, [])


def test_a_wrong_row_changes_nothing_and_the_others_are_taken(client: TestClient, operator: dict[str, str]) -> None:
    rows = 'E1,"Ada\nByron",,\n,Nobody,,\nE2,Bo,,Mars/Olympus\nE3,Cy,,\nE3,Cy again,,\nE4,,,\n'
    result = send(client, operator, HEADER + rows).json()
    assert result["created"] == 1
    assert [(error["line"], error["code"]) for error in result["errors"]] == [
        (3, "fields_invalid"),  # a line break in a name; the row ends on line 3
        (4, "fields_invalid"),
        (5, "fields_invalid"),
        (7, "employee_code_repeated"),
        (8, "fields_invalid"),
    ]
    assert result["errors"][2]["detail"].startswith("timezone: ")
    assert list(people(client, operator)) == ["E3"]
    assert "Mars" not in str(result) and "Cy" not in str(result)


def test_an_import_may_come_as_a_form(client: TestClient, operator: dict[str, str]) -> None:
    files = {"file": ("people.csv", b"\xef\xbb\xbf" + HEADER.encode() + b"E1,Ada,,\n", "text/csv")}
    assert client.post("/v1/people/import", files=files, headers=operator).json()["created"] == 1
    missing = client.post("/v1/people/import", files={"other": b"x"}, headers=operator)
    assert (missing.status_code, missing.json()["code"]) == (422, "fields_invalid")


BROKEN_FILES = {
    "empty": ("", 422, "csv_columns_invalid"),
    "no name": ("employee_code\nE1\n", 422, "csv_columns_invalid"),
    "unknown column": ("employee_code,name,salary\n", 422, "csv_columns_invalid"),
    "column twice": ("employee_code,name,name\n", 422, "csv_columns_invalid"),
    "too many cells": (HEADER + "E1,Ada,,,,x\n", 400, "csv_invalid"),
    "open quote": (HEADER + 'E1,"Ada\n', 400, "csv_invalid"),
    "long cell": (HEADER + "E1," + "x" * 200_000, 400, "csv_invalid"),
}


@pytest.mark.parametrize("kind", BROKEN_FILES)
def test_a_broken_file_is_refused_as_a_whole(client: TestClient, operator: dict[str, str], kind: str) -> None:
    text, status, code = BROKEN_FILES[kind]
    response = send(client, operator, text)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert people(client, operator) == {}


def test_a_file_in_another_encoding_is_refused(client: TestClient, operator: dict[str, str]) -> None:
    content = (HEADER + "E1,José,,\n").encode("latin-1")
    response = client.post("/v1/people/import", content=content, headers={**operator, "content-type": "text/csv"})
    assert (response.status_code, response.json()["code"]) == (400, "csv_invalid")


def test_too_many_rows_are_refused() -> None:
    rows = "".join(f"E{n},x,,\n" for n in range(4))
    assert len(read_rows((HEADER + rows).encode(), max_rows=4)) == 4
    with pytest.raises(ProblemError) as caught:
        read_rows((HEADER + rows).encode(), max_rows=3)
    assert (caught.value.status_code, caught.value.code) == (413, "import_too_large")


def test_the_limit_on_rows_is_the_one_in_the_settings(
    client: TestClient, operator: dict[str, str], settings: Settings
) -> None:
    rows = "".join(f"E{n},x,,\n" for n in range(settings.max_import_rows + 1))
    assert send(client, operator, HEADER + rows).json()["code"] == "import_too_large"
    most = rows[: rows.rindex("E")]
    assert send(client, operator, HEADER + most).json()["created"] == settings.max_import_rows


def test_an_export_is_taken_back_by_the_import_unchanged(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    with database.write() as session:
        make_person(session=session, employee_code="-1", name="=HYPERLINK(1)", department="@x", timezone="Asia/Tokyo")
        make_person(session=session, employee_code="E2", name='O\'Neil, "Bo"')
        for n in range(600):  # more than are read at once
            make_person(session=session, employee_code=f"N{n}")
    response = client.get("/v1/people/export", headers=operator)
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in response.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert len(rows) == 602
    assert rows[0]["employee_code"] == "'-1" and rows[0]["name"] == "'=HYPERLINK(1)"
    assert rows[1]["name"] == 'O\'Neil, "Bo"' and rows[1]["active"] == "true" and rows[1]["n_templates"] == "0"
    result = send(client, operator, response.text).json()
    assert (result["created"], result["updated"], result["unchanged"], result["errors"]) == (0, 0, 602, [])


def test_an_export_of_nobody_is_a_header(client: TestClient, operator: dict[str, str]) -> None:
    assert client.get("/v1/people/export", headers=operator).text.startswith("employee_code,name,")


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1)


@given(CELL, CELL)
def test_no_written_cell_starts_a_formula_and_every_cell_is_read_back(code: str, name: str) -> None:
    text = "".join(write_rows([{"employee_code": code, "name": name}]))
    (written,) = csv.DictReader(io.StringIO(text, newline=""))
    assert not any(cell.startswith(RISKY) for cell in written.values())
    (row,) = read_rows(text.encode(), max_rows=1)
    assert (row.cells["employee_code"], row.cells["name"]) == (code, name)

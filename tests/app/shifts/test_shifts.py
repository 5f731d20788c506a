from datetime import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.attendance.plan import Break, DirectionRule, ShiftRules
from app.db.engine import Database
from app.db.tables import Shift
from app.shifts.service import planned

NIGHT = {
    "name": "Night A",
    "starts": "22:00",
    "ends": "06:00",
    "days": [6, 0, 0],
    "grace_in_s": 60,
    "grace_out_s": 0,
    "half_day_below_s": 14_400,
    "absent_below_s": 3600,
    "early_window_s": 1800,
    "late_window_s": 3600,
    "direction_rule": "first_last",
    "breaks": [{"starts": "01:00", "ends": "01:30"}],
}


def create(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    return client.post(
        "/v1/shifts", json={"name": "Day", "starts": "09:00", "ends": "18:00", **fields}, headers=headers
    )


def test_a_shift_has_what_was_sent(client: TestClient, operator: dict[str, str], database: Database) -> None:
    response = create(client, operator, **NIGHT)
    shift = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/shifts/{shift['id']}"
    own = {"id": shift["id"], "created_at": shift["created_at"], "retired_at": None}
    assert shift == {**NIGHT, **own, "days": [0, 6]}
    assert client.get(f"/v1/shifts/{shift['id']}", headers=operator).json() == shift
    with database.read() as session:
        rules = planned(session.get_one(Shift, shift["id"])).rules
    pause = Break(time(1), time(1, 30))
    assert rules == ShiftRules(60, 0, 14_400, 3600, 1800, 3600, DirectionRule.FIRST_LAST, (pause,))


def test_a_plain_shift_is_judged_as_the_rules_do_by_themselves(
    client: TestClient, operator: dict[str, str], database: Database
) -> None:
    shift_id = create(client, operator).json()["id"]
    with database.read() as session:
        shift = planned(session.get_one(Shift, shift_id))
    assert shift.rules == ShiftRules()
    assert shift.days == frozenset(range(5))


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": ""}, "fields_invalid"),
        ({"starts": "25:00"}, "fields_invalid"),
        ({"starts": "24:00"}, "fields_invalid"),
        ({"starts": "9:00"}, "fields_invalid"),
        ({"starts": "09:00:00"}, "fields_invalid"),
        ({"starts": "\u0660\u0669:00"}, "fields_invalid"),
        ({"ends": 18}, "fields_invalid"),
        ({"days": []}, "fields_invalid"),
        ({"days": [7]}, "fields_invalid"),
        ({"days": [-1]}, "fields_invalid"),
        ({"days": "every"}, "fields_invalid"),
        ({"grace_in_s": -1}, "fields_invalid"),
        ({"late_window_s": 86_401}, "fields_invalid"),
        ({"direction_rule": "random"}, "fields_invalid"),
        ({"breaks": [{"starts": "12:00"}]}, "fields_invalid"),
        ({"breaks": [{"starts": "12:00", "ends": "12:60"}]}, "fields_invalid"),
        ({"graceins": 1}, "fields_invalid"),
        ({"early_window_s": 86_400, "late_window_s": 86_400}, "shift_impossible"),
        ({"breaks": [{"starts": "20:00", "ends": "21:00"}]}, "shift_impossible"),
    ],
    ids=str,
)
def test_wrong_shifts_are_refused(
    client: TestClient, operator: dict[str, str], wrong: dict[str, Any], code: str
) -> None:
    response = create(client, operator, **wrong)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert client.get("/v1/shifts", headers=operator).json()["items"] == []


def test_a_retired_shift_is_shown_but_never_assigned_again(client: TestClient, operator: dict[str, str]) -> None:
    old, new = create(client, operator).json()["id"], create(client, operator).json()["id"]
    assert client.delete(f"/v1/shifts/{old}", headers=operator).status_code == 204
    assert client.get(f"/v1/shifts/{old}", headers=operator).json()["retired_at"] is not None

    def listed(query: str) -> list[str]:
        return [item["id"] for item in client.get(f"/v1/shifts{query}", headers=operator).json()["items"]]

    assert (listed(""), listed("?retired=true"), listed("?retired=false")) == ([old, new], [old], [new])
    person = {"employee_code": "E1", "name": "Ada Byron", "shift_id": old}
    refused = client.post("/v1/people", json=person, headers=operator)
    assert (refused.status_code, refused.json()["code"]) == (422, "shift_retired")
    for shift_id in (old, "shf_none"):
        again = client.delete(f"/v1/shifts/{shift_id}", headers=operator)
        assert (again.status_code, again.json()["code"]) == (404, "shift_not_found")
    assert client.get("/v1/shifts/shf_none", headers=operator).json()["code"] == "shift_not_found"


def test_a_shift_that_somebody_works_is_not_retired(client: TestClient, operator: dict[str, str]) -> None:
    shift_id = create(client, operator).json()["id"]
    person = {"employee_code": "E1", "name": "Ada Byron", "shift_id": shift_id}
    person_id = client.post("/v1/people", json=person, headers=operator).json()["id"]
    refused = client.delete(f"/v1/shifts/{shift_id}", headers=operator)
    assert (refused.status_code, refused.json()["code"], refused.json()["n_people"]) == (409, "shift_in_use", 1)
    client.patch(f"/v1/people/{person_id}", json={"shift_id": None}, headers=operator)
    entry = {"person_id": person_id, "shift_id": shift_id, "first_date": "2026-01-01", "last_date": "2199-01-01"}
    entry_id = client.post("/v1/roster", json=entry, headers=operator).json()["id"]
    assert client.delete(f"/v1/shifts/{shift_id}", headers=operator).json()["code"] == "shift_in_use"
    client.delete(f"/v1/roster/{entry_id}", headers=operator)
    client.post("/v1/roster", json={**entry, "last_date": "2026-01-31"}, headers=operator)  # long ago
    assert client.delete(f"/v1/shifts/{shift_id}", headers=operator).status_code == 204


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/shifts"),
        ("POST", "/shifts"),
        ("GET", "/shifts/shf_1"),
        ("DELETE", "/shifts/shf_1"),
        ("GET", "/roster"),
        ("POST", "/roster"),
        ("DELETE", "/roster/asg_1"),
    ],
)
def test_cameras_may_not_touch_shifts(client: TestClient, camera: dict[str, str], method: str, path: str) -> None:
    response = client.request(method, f"/v1{path}", json={}, headers=camera)
    assert (response.status_code, response.json()["code"]) == (403, "scope_insufficient")

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.attendance.rules import REACH_DAYS
from app.db.engine import Database
from app.db.tables import AuditEntry, StaleDay
from tests.app.attendance_days import make_day
from tests.app.factories import make_person

EASTER = date(2026, 4, 6)


def create(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    return client.post("/v1/sites", json={"name": "Lima", **fields}, headers=headers)


def stale_days(database: Database) -> list[tuple[str, date]]:
    with database.read() as session:
        return sorted((row.person_id, row.local_date) for row in session.scalars(select(StaleDay)))


def test_there_is_a_first_site_which_is_listed(client: TestClient, operator: dict[str, str]) -> None:
    (site,) = client.get("/v1/sites", headers=operator).json()["items"]
    assert (site["id"], site["name"], site["timezone"]) == ("site_default", "Main", None)
    assert client.get("/v1/sites/site_default", headers=operator).json() == site


def test_a_site_is_added_shown_and_changed(
    client: TestClient, admin: dict[str, str], operator: dict[str, str], database: Database
) -> None:
    created = create(client, admin, timezone="America/Lima", unknown_days=30)
    site = created.json()
    assert created.status_code == 201
    assert created.headers["location"] == f"/v1/sites/{site['id']}"
    assert (site["timezone"], site["repeat_window_s"], site["unknown_days"]) == ("America/Lima", 120, 30)
    changes = {"name": "Cusco", "timezone": None, "repeat_window_s": 0}
    changed = client.patch(f"/v1/sites/{site['id']}", json=changes, headers=admin).json()
    assert changed == {**site, **changes, "updated_at": changed["updated_at"]}
    assert client.get(f"/v1/sites/{site['id']}", headers=operator).json() == changed
    with database.read() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.target == site["id"]).order_by(AuditEntry.id)
        ).all()
    assert [entry.action for entry in entries] == ["site.created", "site.updated"]
    assert "Cusco" not in str([entry.detail for entry in entries])


def test_two_sites_never_share_a_name(client: TestClient, admin: dict[str, str]) -> None:
    site_id = create(client, admin).json()["id"]
    again = create(client, admin, name=" Lima ")
    assert (again.status_code, again.json()["code"]) == (409, "site_name_taken")
    renamed = client.patch(f"/v1/sites/{site_id}", json={"name": "Main"}, headers=admin)
    assert (renamed.status_code, renamed.json()["code"]) == (409, "site_name_taken")


def test_a_repeated_request_adds_one_site(client: TestClient, admin: dict[str, str]) -> None:
    headers = {**admin, "Idempotency-Key": "once"}
    assert create(client, headers).json() == create(client, headers).json()
    assert len(client.get("/v1/sites", headers=admin).json()["items"]) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\u0000b"},
        {"name": None},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
        {"timezone": "America"},
        {"repeat_window_s": -1},
        {"repeat_window_s": 3601},
        {"repeat_window_s": None},
        {"unknown_days": 366},
        {"unknown_days": 1.5},
        {"unknown": 1},
    ],
    ids=str,
)
def test_wrong_fields_of_a_site_are_refused(client: TestClient, admin: dict[str, str], wrong: dict[str, Any]) -> None:
    for response in (create(client, admin, **wrong), client.patch("/v1/sites/site_default", json=wrong, headers=admin)):
        assert (response.status_code, response.json()["code"]) == (422, "fields_invalid")
        assert response.json()["errors"][0]["loc"][1] == next(iter(wrong))


def test_an_unknown_site_is_not_found(client: TestClient, admin: dict[str, str]) -> None:
    for method in ("GET", "PATCH"):
        response = client.request(method, "/v1/sites/site_none", json={}, headers=admin)
        assert (response.status_code, response.json()["code"]) == (404, "site_not_found")


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "/v1/sites", "operator"),
        ("POST", "/v1/sites", "admin"),
        ("GET", "/v1/sites/site_default", "operator"),
        ("PATCH", "/v1/sites/site_default", "admin"),
        ("GET", "/v1/holidays", "operator"),
        ("POST", "/v1/holidays", "admin"),
        ("DELETE", "/v1/holidays/hol_1", "admin"),
    ],
)
def test_operators_read_sites_and_admins_change_them(
    client: TestClient, camera: dict[str, str], operator: dict[str, str], method: str, path: str, needs: str
) -> None:
    for headers in [camera] if needs == "operator" else [camera, operator]:
        response = client.request(method, path, json={}, headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "scope_insufficient")


def add_holiday(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    return client.post("/v1/holidays", json={"date": "2026-04-06", "name": "Easter Monday", **fields}, headers=headers)


def test_holidays_are_listed_by_day_and_by_site(client: TestClient, admin: dict[str, str]) -> None:
    lima = create(client, admin).json()["id"]
    everywhere = add_holiday(client, admin).json()
    there = add_holiday(client, admin, date="2026-07-28", site_id=lima).json()
    elsewhere = add_holiday(client, admin, date="2026-04-07", site_id="site_default").json()

    def listed(query: str) -> list[str]:
        return [item["id"] for item in client.get(f"/v1/holidays{query}", headers=admin).json()["items"]]

    assert listed("") == [everywhere["id"], elsewhere["id"], there["id"]]
    assert listed(f"?site_id={lima}") == [everywhere["id"], there["id"]]
    assert listed("?from=2026-04-07&to=2026-07-28") == [elsewhere["id"], there["id"]]
    page = client.get("/v1/holidays?limit=2", headers=admin).json()
    rest = client.get(f"/v1/holidays?cursor={page['next_cursor']}", headers=admin).json()
    assert [item["id"] for item in page["items"] + rest["items"]] == listed("")


def test_a_day_is_a_holiday_of_one_place_once(client: TestClient, admin: dict[str, str]) -> None:
    for fields in ({}, {"site_id": "site_default"}):
        assert add_holiday(client, admin, **fields).status_code == 201
        again = add_holiday(client, admin, name="Another", **fields)
        assert (again.status_code, again.json()["code"]) == (409, "holiday_exists")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"date": "2026-02-29"}, "fields_invalid"),
        ({"date": "0001-01-01"}, "fields_invalid"),
        ({"date": "9999-12-31"}, "fields_invalid"),
        ({"name": ""}, "fields_invalid"),
        ({"site_id": "site_none"}, "site_not_found"),
    ],
)
def test_wrong_holidays_are_refused(
    client: TestClient, admin: dict[str, str], wrong: dict[str, str], code: str
) -> None:
    response = add_holiday(client, admin, **wrong)
    assert (response.status_code, response.json()["code"]) == (422, code)


def test_a_holiday_makes_the_days_in_its_reach_stale_when_it_comes_and_when_it_goes(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    with database.write() as session:
        ada, bob, cy = (make_person(session=session) for _ in range(3))
        make_day(session=session, person=ada, local_date=EASTER)
        make_day(session=session, person=bob, local_date=EASTER + timedelta(days=REACH_DAYS))
        make_day(session=session, person=bob, local_date=EASTER - timedelta(days=1))
        make_day(session=session, person=cy, local_date=EASTER + timedelta(days=REACH_DAYS + 1))
    holiday_id = add_holiday(client, admin).json()["id"]
    expected = sorted([(ada.id, EASTER), (bob.id, EASTER)])
    assert stale_days(database) == expected
    assert client.delete(f"/v1/holidays/{holiday_id}", headers=admin).status_code == 204  # some are marked already
    assert stale_days(database) == expected
    assert client.get("/v1/holidays", headers=admin).json()["items"] == []
    again = client.delete(f"/v1/holidays/{holiday_id}", headers=admin)
    assert (again.status_code, again.json()["code"]) == (404, "holiday_not_found")

"""`/v1/keys`: keys are made, listed and revoked; their secret is seen once."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.auth.scopes import Scope
from app.auth.service import COMMAND_PREFIX, create_key
from app.db.engine import Database
from app.db.tables import AuditEntry, IdempotencyKey
from app.db.types import new_id, utc_now
from tests.app.factories import make_headers


def add(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    return client.post("/v1/keys", json={"name": "Payroll", "scope": "operator", **fields}, headers=headers)


def listed(client: TestClient, headers: dict[str, str], **params: Any) -> dict[str, Any]:
    items = client.get("/v1/keys", params=params, headers=headers).json()["items"]
    return {item["name"]: item for item in items}


def test_a_new_key_works_and_its_secret_is_shown_once(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    headers = {**admin, "Idempotency-Key": "once"}
    made = add(client, headers)
    shown = made.json()
    secret = shown.pop("secret")
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/keys/{shown['id']}")
    assert client.get("/v1/people", headers={"X-API-Key": secret}).status_code == 200
    assert client.get("/v1/keys", headers={"X-API-Key": secret}).json()["code"] == "scope_insufficient"
    assert add(client, headers).json() == {**shown, "secret": None}
    with database.read() as session:
        (kept,) = session.scalars(select(IdempotencyKey))
    assert kept.body is not None and secret not in kept.body
    listing = client.get("/v1/keys", headers=admin)
    assert secret not in listing.text
    assert listed(client, admin)["Payroll"]["last_used_at"] is not None
    assert client.get(f"/v1/keys/{shown['id']}", headers=admin).json()["name"] == "Payroll"


def test_a_revoked_key_is_refused_and_stays_in_the_list(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    made = add(client, admin).json()
    for _ in range(2):
        assert client.delete(f"/v1/keys/{made['id']}", headers=admin).status_code == 204
    assert client.get("/v1/people", headers={"X-API-Key": made["secret"]}).json()["code"] == "key_unknown"
    assert listed(client, admin)["Payroll"]["is_active"] is False
    assert "Payroll" not in listed(client, admin, active=True)
    assert client.delete("/v1/keys/key_none", headers=admin).json()["code"] == "key_not_found"
    with database.read() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.target == made["id"]).order_by(AuditEntry.id))
        assert [entry.action for entry in entries] == ["key.created", "key.revoked"]


def test_a_key_ends_when_it_was_told_to(client: TestClient, admin: dict[str, str], database: Database) -> None:
    late = (utc_now() - timedelta(seconds=1)).isoformat()
    assert add(client, admin, expires_at=late).json()["code"] == "expiry_past"
    assert add(client, admin, expires_at="2030-01-01T00:00:00").json()["code"] == "fields_invalid"  # in which zone?
    tomorrow = utc_now() + timedelta(days=1)
    assert add(client, admin, expires_at=tomorrow.isoformat()).json()["is_active"] is True
    make_headers(database=database, name="old", expires_at=utc_now() - timedelta(days=1))
    assert listed(client, admin)["old"]["is_active"] is False
    assert set(listed(client, admin, active=True)) == {"Payroll", "test"}


def test_keys_of_cameras_and_of_commands_are_told_apart(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    camera = client.post("/v1/cameras", json={"name": "Front door"}, headers=admin).json()
    with database.write() as session:
        create_key(session, "command line", Scope.ADMIN, key_id=new_id(COMMAND_PREFIX))
    keys = listed(client, admin)
    assert {name: key["made_for"] for name, key in keys.items()} == {
        "test": "caller",
        "Front door": "camera",
        "command line": "command",
    }
    assert keys["Front door"]["camera_id"] == camera["id"]
    client.delete(f"/v1/keys/{keys['Front door']['id']}", headers=admin)
    beat = client.post("/v1/cameras/heartbeat", headers={"X-API-Key": camera["key"]})
    assert beat.json()["code"] == "key_unknown"


def test_keys_are_listed_newest_first_page_by_page(client: TestClient, admin: dict[str, str]) -> None:
    for number in range(3):
        add(client, admin, name=f"key {number}")
    first = client.get("/v1/keys?limit=2", headers=admin).json()
    rest = client.get("/v1/keys", params={"limit": 2, "cursor": first["next_cursor"]}, headers=admin).json()
    assert [key["name"] for key in first["items"] + rest["items"]] == ["key 2", "key 1", "key 0", "test"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("fields", [{"name": ""}, {"scope": "root"}, {"camera_id": "cam_1"}])
def test_what_cannot_be_is_refused(client: TestClient, admin: dict[str, str], fields: dict[str, Any]) -> None:
    assert add(client, admin, **fields).json()["code"] == "fields_invalid"

import re
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import AuditEntry, IdempotencyKey, Webhook, WebhookDelivery
from app.webhooks import queries, service
from app.webhooks.schemas import TOPICS
from tests.app.webhooks.factories import deliveries, make_message
from tests.app.webhooks.receiver import Receiver, wait_until

NOWHERE = "http://127.0.0.1:9/hook"


def create(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    return client.post("/v1/webhooks", json={"url": NOWHERE, **fields}, headers=headers)


def switch_off(client: TestClient, headers: dict[str, str], webhook_id: str) -> None:
    """So that the application's own sender leaves its messages alone."""
    assert client.patch(f"/v1/webhooks/{webhook_id}", json={"active": False}, headers=headers).status_code == 200


def make_delivery(database: Database, webhook_id: str, status: str, person_id: str = "per_1") -> int:
    """A message that nobody sends, because its address is switched off."""
    with database.write() as session:
        session.get_one(Webhook, webhook_id).active = True
        session.flush()
        service.announce(session, "event.created", person_id, {"n": 1})
        session.get_one(Webhook, webhook_id).active = False
        row = session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id.desc()).limit(1)).one()
        row.status = status
        return row.id


def test_a_new_webhook_is_told_everything_and_its_secret_is_shown_once(
    client: TestClient, database: Database, admin: dict[str, str]
) -> None:
    response = create(client, admin)
    webhook = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/webhooks/{webhook['id']}"
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", webhook.pop("secret"))
    assert webhook["topics"] == list(TOPICS) and webhook["active"]
    assert client.get(f"/v1/webhooks/{webhook['id']}", headers=admin).json() == webhook
    assert client.get("/v1/webhooks", headers=admin).json() == {"items": [webhook], "next_cursor": None}


def test_a_secret_lies_nowhere_in_the_open(client: TestClient, database: Database, admin: dict[str, str]) -> None:
    headers = {**admin, "Idempotency-Key": "k1"}
    first, again = create(client, headers), create(client, headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == {**first.json(), "secret": None}
    secret = first.json()["secret"]
    with database.read() as session:
        stored = session.scalars(select(IdempotencyKey.body)).one()
        sealed = session.scalars(select(Webhook.sealed_secret)).one()
        audit = session.scalars(select(AuditEntry).where(AuditEntry.action == "webhook.created")).one()
    assert secret not in str(stored) and secret.encode() not in sealed and secret not in str(audit.detail)


WRONG_URLS = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "example.com",
    "http://",
    "http:///path",
    "http://user:password@example.com/",
    "http://user@example.com/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://example.com/a b",
    "http://example.com/\n",
    "http://exämple.com/",
    "http://example.com/#part",
    "http://[::1/",
    "https://example.com/" + "x" * 2000,
]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_addresses_that_cannot_or_must_not_be_posted_to_are_refused(client: TestClient, admin: dict[str, str]) -> None:
    for url in WRONG_URLS:
        response = create(client, admin, url=url)
        assert (response.status_code, response.json()["code"]) == (422, "fields_invalid"), url
        assert "password@" not in response.text
    for wrong in ({"topics": []}, {"topics": ["person.created"]}, {"secret": "mine"}, {"url": None}):
        assert create(client, admin, **wrong).status_code == 422
    assert create(client, admin, url="https://hr.example.com:8443/hook?token=x").status_code == 201


def test_a_change_touches_only_what_was_sent(client: TestClient, admin: dict[str, str]) -> None:
    webhook = create(client, admin, topics=["day.changed", "day.changed"]).json()
    assert webhook["topics"] == ["day.changed"]
    url = f"/v1/webhooks/{webhook['id']}"
    changed = client.patch(url, json={"active": False}, headers=admin).json()
    assert changed == {**{name: webhook[name] for name in changed}, "active": False}
    changed = client.patch(url, json={"url": "http://127.0.0.1:9/b", "topics": ["event.changed"]}, headers=admin).json()
    assert (changed["url"], changed["topics"], changed["active"]) == ("http://127.0.0.1:9/b", ["event.changed"], False)
    for wrong in ({"active": None}, {"url": "ftp://x"}, {"name": "x"}):
        assert client.patch(url, json=wrong, headers=admin).status_code == 422


def test_a_new_secret_takes_the_place_of_the_old_one(
    client: TestClient, admin: dict[str, str], receiver: Receiver
) -> None:
    old = create(client, admin, url=receiver.url).json()
    new = client.post(f"/v1/webhooks/{old['id']}/rotate-secret", headers=admin).json()
    assert new["secret"] != old["secret"]
    client.post(f"/v1/webhooks/{old['id']}/test", headers=admin)
    (received,) = receiver.wait(1)
    assert received.verified(new["secret"])["type"] == "ping"


def test_a_test_says_what_came_back(client: TestClient, admin: dict[str, str], receiver: Receiver) -> None:
    url = f"/v1/webhooks/{create(client, admin, url=receiver.url).json()['id']}/test"
    result = client.post(url, headers=admin).json()
    assert (result["is_delivered"], result["status"], result["error"]) == (True, 204, None)
    receiver.answer = lambda _received: 500
    receiver.body = b"something that is inside"
    response = client.post(url, headers=admin)
    assert (response.json()["is_delivered"], response.json()["error"]) == (False, "HTTP 500")
    assert "inside" not in response.text
    receiver.answer = lambda _received: None
    result = client.post(url, headers=admin).json()
    assert (result["is_delivered"], result["status"]) == (False, None) and result["error"]


def test_the_application_delivers_and_shows_what_it_delivered(
    client: TestClient, database: Database, admin: dict[str, str], receiver: Receiver
) -> None:
    webhook = create(client, admin, url=receiver.url).json()
    make_message(database=database, person_id="per_7", n=1)
    (received,) = receiver.wait(1)
    received.verified(webhook["secret"])
    url = f"/v1/webhooks/{webhook['id']}/deliveries"
    wait_until(lambda: bool(client.get(f"{url}?status=delivered", headers=admin).json()["items"]), "not delivered")
    (shown,) = client.get(url, headers=admin).json()["items"]
    assert shown["message_id"] == received.id
    assert (shown["topic"], shown["person_id"], shown["n_attempts"]) == ("event.created", "per_7", 1)
    assert client.get(f"{url}?status=dead", headers=admin).json()["items"] == []


def test_deliveries_are_walked_newest_first(client: TestClient, database: Database, admin: dict[str, str]) -> None:
    webhook_id = create(client, admin).json()["id"]
    ids = [make_delivery(database, webhook_id, "delivered") for _ in range(5)]
    seen: list[int] = []
    cursor = ""
    while True:
        page = client.get(f"/v1/webhooks/{webhook_id}/deliveries?limit=2{cursor}", headers=admin).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids[::-1]


def test_one_message_can_be_replayed(client: TestClient, database: Database, admin: dict[str, str]) -> None:
    webhook_id = create(client, admin).json()["id"]
    dead, pending = (make_delivery(database, webhook_id, status) for status in ("dead", "pending"))
    url = f"/v1/webhooks/{webhook_id}/deliveries"
    replayed = client.post(f"{url}/{dead}/replay", headers=admin)
    assert (replayed.status_code, replayed.json()["status"], replayed.json()["n_attempts"]) == (200, "pending", 0)
    refused = client.post(f"{url}/{pending}/replay", headers=admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "delivery_pending")
    with database.write() as session:
        queries.forget_person(session, "per_1")
    erased = client.post(f"{url}/{dead}/replay", headers=admin)
    assert (erased.status_code, erased.json()["code"]) == (409, "delivery_erased")
    other = create(client, admin).json()["id"]
    missing = client.post(f"/v1/webhooks/{other}/deliveries/{dead}/replay", headers=admin)
    assert (missing.status_code, missing.json()["code"]) == (404, "delivery_not_found")


def test_many_messages_can_be_replayed(client: TestClient, database: Database, admin: dict[str, str]) -> None:
    webhook_id = create(client, admin).json()["id"]
    for status in ("dead", "delivered", "dead", "pending"):
        make_delivery(database, webhook_id, status)
    url = f"/v1/webhooks/{webhook_id}/replay"
    assert client.post(url, json={"status": "dead", "since": "2100-01-01T00:00:00Z"}, headers=admin).json() == {
        "n_replayed": 0
    }
    assert client.post(url, json={"status": "dead"}, headers=admin).json() == {"n_replayed": 2}
    assert [row.status for row in deliveries(database=database)] == ["pending", "delivered", "pending", "pending"]
    assert client.post(url, json={"since": "2020-01-01T00:00:00Z"}, headers=admin).json() == {"n_replayed": 1}
    for wrong in ({}, {"status": "delivered"}, {"since": "2020-01-01T00:00:00"}, {"all": True}):
        assert client.post(url, json=wrong, headers=admin).status_code == 422


def test_an_event_that_changes_hands_is_taken_from_one_person_and_then_given_to_the_other(
    client: TestClient, database: Database, admin: dict[str, str]
) -> None:
    create(client, admin, topics=["event.created", "event.changed"])
    ada, bo = (
        client.post("/v1/people", json={"employee_code": code, "name": code}, headers=admin).json()["id"]
        for code in ("ada", "bo")
    )
    punch = {"person_id": ada, "occurred_at": "2026-11-02T07:00:00Z", "reason": "test"}
    url = f"/v1/events/{client.post('/v1/events', json=punch, headers=admin).json()['id']}"
    for change in ({"person_id": bo}, {"is_deleted": True}, {"person_id": None}):
        assert client.patch(url, json={**change, "reason": "test"}, headers=admin).status_code == 200
    lines: dict[str | None, list[dict[str, Any]]] = {ada: [], bo: [], None: []}
    for row in deliveries(database=database):
        lines[row.person_id].append(row.payload or {})
    assert [told["person_id"] for told in lines[ada]] == [ada, None]
    assert [(told["person_id"], told["is_deleted"]) for told in lines[bo]] == [(bo, False), (bo, True), (None, True)]
    assert [told["person_id"] for told in lines[None]] == [None]
    by_time = [*lines[ada], *lines[bo], *lines[None]]
    versions = [told["version"] for told in by_time]
    assert versions == sorted(set(versions)) and versions[0] == 1
    assert bo not in str(lines[ada])


def test_a_replayed_message_is_sent_at_once_under_its_old_id(
    client: TestClient, database: Database, admin: dict[str, str], receiver: Receiver
) -> None:
    webhook_id = create(client, admin, url=receiver.url).json()["id"]
    make_message(database=database, n=1)
    wait_until(lambda: deliveries(database=database)[0].status == "delivered", "not delivered")
    client.post(f"/v1/webhooks/{webhook_id}/deliveries/{deliveries(database=database)[0].id}/replay", headers=admin)
    first, again = receiver.wait(2)
    assert (first.id, first.body) == (again.id, again.body)


def test_deleting_a_webhook_deletes_its_messages(client: TestClient, database: Database, admin: dict[str, str]) -> None:
    gone, kept = (create(client, admin).json()["id"] for _ in range(2))
    for webhook_id in (gone, kept):
        make_delivery(database, webhook_id, "delivered")
    response = client.delete(f"/v1/webhooks/{gone}", headers=admin)
    assert (response.status_code, response.content) == (204, b"")
    assert [row.webhook_id for row in deliveries(database=database) if row.webhook_id == gone] == []
    assert [item["id"] for item in client.get("/v1/webhooks", headers=admin).json()["items"]] == [kept]


CALLS = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/rotate-secret"),
    ("POST", "/test"),
    ("GET", "/deliveries"),
    ("POST", "/deliveries/1/replay"),
    ("POST", "/replay"),
]
BODIES = {"/replay": {"status": "dead"}}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_an_unknown_webhook_is_not_found_and_operators_may_not_ask(
    client: TestClient, admin: dict[str, str], operator: dict[str, str], method: str, path: str
) -> None:
    body = BODIES.get(path, {})
    for webhook_id in ("whk_none", "x" * 500):
        response = client.request(method, f"/v1/webhooks/{webhook_id}{path}", headers=admin, json=body)
        assert response.status_code == 404, response.text
        assert response.json()["code"] in ("webhook_not_found", "delivery_not_found")
    response = client.request(method, f"/v1/webhooks/whk_none{path}", headers=operator, json=body)
    assert (response.status_code, response.json()["code"]) == (403, "scope_insufficient")
    assert create(client, operator).status_code == 403

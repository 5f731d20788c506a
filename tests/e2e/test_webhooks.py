"""A real service that is killed between two instructions, and a receiver that remembers everything."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app.webhooks.receiver import Received, Receiver, running_receiver, wait_until
from tests.server import Server, running_server

# The claim of a killed sender ends after 20 seconds.
pytestmark = pytest.mark.timeout(240)
PATIENCE_S = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "data", ROLLCALL_WORKERS="0") as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


def add_webhook(client: httpx.Client, receiver: Receiver) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json={"url": receiver.url, "topics": ["event.created"]})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def add_person(client: httpx.Client, code: str) -> str:
    return str(client.post("/v1/people", json={"employee_code": code, "name": "Wilhelmina Unmistakable"}).json()["id"])


def punch(client: httpx.Client, person_id: str, at: str) -> str:
    answer = client.post("/v1/events", json={"person_id": person_id, "occurred_at": at, "reason": "test"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_what_was_recorded_is_told_although_the_service_is_killed_while_it_tells(
    server: Server, receiver: Receiver
) -> None:
    key = server.printed_keys[0]

    def answer(_received: Received) -> int | None:
        if len(receiver.all) == 1:
            server.kill()  # it has been received, and the service will not know
            return None
        return 200

    receiver.answer = answer
    with server.client(key) as client:
        webhook = add_webhook(client, receiver)
        person_id = add_person(client, "E1")
        event_id = punch(client, person_id, "2026-11-02T07:00:00Z")
        receiver.wait(1)
    wait_until(lambda: server.has_ended, "the service was not killed")
    server.start()
    with server.client(key) as client:
        later_id = punch(client, person_id, "2026-11-02T16:00:00Z")
        receiver.wait_until(lambda: len(receiver.all) >= 3, PATIENCE_S)
        url = f"/v1/webhooks/{webhook['id']}/deliveries?status=delivered"
        wait_until(lambda: len(client.get(url).json()["items"]) == 2, "not both are delivered")
    told = [each.verified(webhook["secret"]) for each in receiver.all]
    assert [message["data"]["event_id"] for message in told] == [event_id, event_id, later_id]
    assert receiver.all[0].id == receiver.all[1].id and receiver.all[0].body == receiver.all[1].body
    assert "Wilhelmina" not in json.dumps(told)
    assert webhook["secret"] not in server.log and receiver.url not in server.log


def test_an_erased_person_is_told_about_no_more(server: Server, receiver: Receiver) -> None:
    receiver.answer = lambda _received: 500
    with server.client(server.printed_keys[0]) as client:
        webhook = add_webhook(client, receiver)
        person_id = add_person(client, "E1")
        for hour in (7, 16):
            punch(client, person_id, f"2026-11-02T{hour:02}:00:00Z")
        receiver.wait(1)
        assert client.delete(f"/v1/people/{person_id}").status_code == 200
        receiver.answer = lambda _received: 200
        other_id = add_person(client, "E2")
        event_id = punch(client, other_id, "2026-11-02T07:00:00Z")
        receiver.wait_until(lambda: event_id in receiver.all[-1].body, PATIENCE_S)
        url = f"/v1/webhooks/{webhook['id']}/deliveries"
        shown = client.get(url).json()["items"]
        assert [item["status"] for item in shown if item["person_id"] == person_id] == ["dead", "dead"]
        assert client.post(f"/v1/webhooks/{webhook['id']}/replay", json={"status": "dead"}).json() == {"n_replayed": 0}

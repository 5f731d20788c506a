"""Events through REST: listed, written by hand, corrected with a reason, and forgotten with their person."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import AuditEntry, Day, DayApproval, Event, EventCorrection, PunchCredential, WebhookDelivery
from app.db.types import utc_now
from tests.app.attendance.factories import add_events, days_of, make_event, make_worker, refuse_difference

Headers = dict[str, str]
NOON = (utc_now() - timedelta(days=3)).replace(hour=12, minute=0, second=0, microsecond=0)


def write(client: TestClient, headers: Headers, **event: Any) -> dict[str, Any]:
    answer = client.post("/v1/events", json={"reason": "forgot", **event}, headers=headers)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def change(client: TestClient, headers: Headers, event_id: str, **changes: Any) -> dict[str, Any]:
    answer = client.patch(f"/v1/events/{event_id}", json={"reason": "wrong", **changes}, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_an_event_is_written_by_hand_and_says_by_whom_and_why(
    client: TestClient, operator: Headers, database: Database
) -> None:
    worker = make_worker(database=database)
    event = write(client, operator, person_id=worker, occurred_at=NOON.isoformat(), direction="in", reason="no camera")
    assert (event["method"], event["direction"], event["outcome"]) == ("manual", "in", "identified")
    assert (event["evidence"], event["capture"]) == (None, None)
    assert event["created_by"].startswith("key:key_")
    assert [(row["reason"], row["before"]) for row in event["corrections"]] == [("no camera", {})]
    assert client.get(f"/v1/events/{event['id']}", headers=operator).json() == event


def test_a_repeated_request_writes_one_event(client: TestClient, operator: Headers, database: Database) -> None:
    worker = make_worker(database=database)
    body = {"person_id": worker, "occurred_at": NOON.isoformat(), "reason": "x"}
    first, again = (
        client.post("/v1/events", json=body, headers={**operator, "Idempotency-Key": "k"}) for _ in range(2)
    )
    assert first.json() == again.json()
    with database.read() as session:
        assert len(session.scalars(select(Event)).all()) == 1


def test_corrections_are_kept_and_change_the_days(client: TestClient, operator: Headers, database: Database) -> None:
    worker = make_worker(database=database)
    came = write(client, operator, person_id=worker, occurred_at=NOON.isoformat())["id"]
    left = write(client, operator, person_id=worker, occurred_at=(NOON + timedelta(hours=3)).isoformat())["id"]
    moved = change(client, operator, left, occurred_at=(NOON + timedelta(hours=4)).isoformat(), reason="clock")
    assert moved["corrections"][-1]["reason"] == "clock"
    assert moved["corrections"][-1]["before"] == {"occurred_at": (NOON + timedelta(hours=3)).isoformat()}
    (day,) = days_of(database=database, person_id=worker).values()
    assert day["worked_s"] == 4 * 3600
    assert change(client, operator, came, is_deleted=True)["explanation"] == "Deleted."
    assert change(client, operator, came, is_deleted=False)["direction"] == "in"
    assert change(client, operator, left, person_id=None)["outcome"] == "unknown"
    (day,) = days_of(database=database, person_id=worker).values()
    assert day["n_events"] == 1
    with database.read() as session:
        audited = session.scalars(
            select(AuditEntry.action).where(AuditEntry.target == came).order_by(AuditEntry.id)
        ).all()
    assert audited == ["event.written", "event.corrected", "event.corrected"]
    refuse_difference(database=database, people=[worker])


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"reason": "x"}, 422, "fields_invalid"),
        ({"is_deleted": True}, 422, "fields_invalid"),
        ({"is_deleted": None, "reason": "x"}, 422, "fields_invalid"),
        ({"is_deleted": True, "reason": " "}, 422, "fields_invalid"),
        ({"outcome": "unknown", "reason": "x"}, 422, "fields_invalid"),
        ({"person_id": "per_nobody", "reason": "x"}, 404, "person_not_found"),
        ({"occurred_at": "2099-01-01T00:00:00Z", "reason": "x"}, 422, "occurred_at_in_future"),
        ({"occurred_at": "1999-01-01T00:00:00Z", "reason": "x"}, 422, "occurred_at_too_old"),
    ],
)
def test_a_change_that_says_nothing_or_cannot_be_is_refused(
    client: TestClient, operator: Headers, database: Database, body: dict[str, Any], status: int, code: str
) -> None:
    worker = make_worker(database=database)
    event = write(client, operator, person_id=worker, occurred_at=NOON.isoformat())
    answer = client.patch(f"/v1/events/{event['id']}", json=body, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert client.get(f"/v1/events/{event['id']}", headers=operator).json() == event


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_only_operators_see_and_change_events(client: TestClient, operator: Headers, camera: Headers) -> None:
    assert client.get("/v1/events", headers=camera).status_code == 403
    assert client.get("/v1/events/evt_none", headers=operator).json()["code"] == "event_not_found"
    answer = client.patch("/v1/events/evt_none", json={"is_deleted": True, "reason": "x"}, headers=operator)
    assert answer.json()["code"] == "event_not_found"
    body = {"person_id": "per_none", "occurred_at": NOON.isoformat(), "reason": "x"}
    assert client.post("/v1/events", json=body, headers=operator).json()["code"] == "person_not_found"


def test_events_are_listed_by_time_and_filtered(client: TestClient, operator: Headers, database: Database) -> None:
    one, other = make_worker(database=database), make_worker(database=database)
    times = [NOON + timedelta(hours=n) for n in range(6)]
    ids = add_events(
        database=database,
        events=[make_event(person_id=(one, other)[n % 2], at=time) for n, time in enumerate(times)],
    )
    (stranger,) = add_events(database=database, events=[make_event(person_id=None, at=NOON, method="face")])

    def listed(**query: Any) -> list[str]:
        items: list[str] = []
        cursor: str | None = None
        while True:
            page = client.get(
                "/v1/events", params={**query, **({"cursor": cursor} if cursor else {})}, headers=operator
            )
            items += [item["id"] for item in page.json()["items"]]
            cursor = page.json()["next_cursor"]
            if cursor is None:
                return items

    assert listed(person_id=one) == [ids[4], ids[2], ids[0]]
    assert listed(person_id=one, order="asc", limit=1) == [ids[0], ids[2], ids[4]]
    assert set(listed(limit=2)) == {*ids, stranger}
    assert listed(outcome="unknown") == [stranger]
    assert listed(**{"from": times[1].isoformat(), "to": times[3].isoformat()}) == [ids[2], ids[1]]
    change(client, operator, ids[0], is_deleted=True)
    assert listed(person_id=one) == [ids[4], ids[2]]
    assert listed(person_id=one, with_deleted="true") == [ids[4], ids[2], ids[0]]


def test_an_erased_person_leaves_events_of_nobody(client: TestClient, operator: Headers, database: Database) -> None:
    worker, other = make_worker(database=database), make_worker(database=database)
    came = write(client, operator, person_id=worker, occurred_at=NOON.isoformat(), reason="Ada forgot")["id"]
    lent = write(client, operator, person_id=other, occurred_at=NOON.isoformat(), reason="no camera")["id"]
    change(client, operator, lent, person_id=worker, reason="was Ada")
    change(client, operator, lent, person_id=other, reason="not Ada")
    client.put(f"/v1/people/{worker}/pin", json={"pin": "1234"}, headers=operator)
    day = NOON.date().isoformat()
    client.post(f"/v1/days/{worker}/{day}/approve", json={"note": "fine, Ada"}, headers=operator)
    receipt = client.delete(f"/v1/people/{worker}", headers=operator).json()
    assert receipt["events_anonymised"] == 1
    event = client.get(f"/v1/events/{came}", headers=operator).json()
    assert (event["person"], event["explanation"]) == (None, "The person was erased.")
    with database.read() as session:
        for table in (Day, DayApproval, PunchCredential):
            assert [row for row in session.scalars(select(table)) if row.person_id == worker] == []
        rows = [*session.scalars(select(EventCorrection)), *session.scalars(select(WebhookDelivery))]
        said = " ".join(str(vars(row)) for row in [*rows, *session.scalars(select(Event))])
    assert worker not in said
    assert "Ada" not in said
    refuse_difference(database=database, people=[other])


def test_a_zone_of_ones_own_decides_to_which_day_a_punch_belongs(
    client: TestClient, operator: Headers, database: Database
) -> None:
    body = {"employee_code": "K1", "name": "Kay", "timezone": "Pacific/Auckland"}
    person = client.post("/v1/people", json=body, headers=operator).json()["id"]
    event = write(client, operator, person_id=person, occurred_at=NOON.isoformat())
    assert event["local_date"] == (NOON.date() + timedelta(days=1)).isoformat()
    assert datetime.fromisoformat(event["occurred_at"]).astimezone(UTC) == NOON


def test_another_zone_of_ones_own_counts_for_what_comes_only(
    client: TestClient, operator: Headers, database: Database
) -> None:
    worker = make_worker(database=database)
    before = write(client, operator, person_id=worker, occurred_at=NOON.isoformat())
    client.patch(f"/v1/people/{worker}", json={"timezone": "Pacific/Auckland"}, headers=operator)
    after = write(client, operator, person_id=worker, occurred_at=(NOON + timedelta(hours=1)).isoformat())
    now = client.get(f"/v1/events/{before['id']}", headers=operator).json()
    assert (now["local_date"], now["timezone"], now["explanation"]) == (
        before["local_date"],
        before["timezone"],
        before["explanation"],
    )
    assert (after["timezone"], before["timezone"] == after["timezone"]) == ("Pacific/Auckland", False)
    refuse_difference(database=database, people=[worker])


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/people", "/v1/shifts"])
def test_a_cursor_with_a_time_before_the_calendar_is_refused(client: TestClient, operator: Headers, path: str) -> None:
    cursor = base64.urlsafe_b64encode(b'["0001-01-01T00:00:00+14:00","a"]').decode()
    answer = client.get(path, params={"cursor": cursor}, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")

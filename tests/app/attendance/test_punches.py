"""Punches by PIN, by badge and by operators; a PIN cannot be guessed, and nobody can be looked for."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from app.attendance.tries import OF_KEY, OF_PERSON
from app.db.engine import Database
from app.db.tables import AuditEntry, Event, IdempotencyKey, Person, PunchCredential, PunchTries
from app.db.types import utc_now
from app.sealing import Sealer
from tests.app.attendance.factories import make_worker, refuse_difference
from tests.app.attendance.test_captures import make_camera

Headers = dict[str, str]


def punch(client: TestClient, headers: Headers, **body: Any) -> Response:
    return client.post("/v1/punches", json=body, headers=headers)


@pytest.fixture
def worker(client: TestClient, operator: Headers, database: Database) -> str:
    """Somebody with the code W1, a PIN and a badge."""
    worker = make_worker(database=database, employee_code="W1")
    assert client.put(f"/v1/people/{worker}/pin", json={"pin": "4711"}, headers=operator).status_code == 200
    assert client.put(f"/v1/people/{worker}/badge", json={"badge": "04:A2:7F"}, headers=operator).status_code == 200
    return worker


def n_events(database: Database) -> int:
    with database.read() as session:
        return int(session.scalars(select(func.count()).select_from(Event)).one())


def test_a_pin_or_a_badge_is_a_punch_at_the_camera(
    client: TestClient, operator: Headers, database: Database, worker: str
) -> None:
    camera_id, camera = make_camera(database=database, direction="in")
    by_pin = punch(client, camera, employee_code="W1", pin="4711")
    by_badge = punch(client, camera, badge="04:A2:7F", direction="out")
    by_operator = punch(client, operator, badge="04:A2:7F", camera_id=camera_id, direction="out")
    assert (by_pin.status_code, by_badge.status_code) == (201, 201)
    assert [(answer.json()["method"], answer.json()["direction"]) for answer in (by_pin, by_badge)] == [
        ("pin", "in"),
        ("badge", "in"),
    ]
    assert by_operator.json()["given_direction"] == "out"
    assert by_pin.json()["camera_id"] == camera_id
    assert by_pin.json()["person"]["id"] == worker
    refuse_difference(database=database, people=[worker])


def test_an_operator_punches_for_anybody(client: TestClient, operator: Headers, database: Database) -> None:
    make_worker(database=database, employee_code="W2")
    occurred_at = (utc_now() - timedelta(days=90)).isoformat()
    answer = punch(client, operator, employee_code="W2", occurred_at=occurred_at, reason="was there")
    assert (answer.status_code, answer.json()["method"]) == (201, "manual")
    shown = client.get(f"/v1/events/{answer.json()['id']}", headers=operator).json()
    assert shown["corrections"][0]["reason"] == "was there"
    assert punch(client, operator, employee_code="W9").json()["code"] == "person_not_found"


def test_a_camera_cannot_punch_for_people_who_say_nothing(client: TestClient, camera: Headers, worker: str) -> None:
    assert punch(client, camera, employee_code="W1").json()["code"] == "pin_missing"
    assert punch(client, camera, badge="04:A2:80").json()["code"] == "badge_unknown"
    assert punch(client, camera, employee_code="W1", pin="12").json()["code"] == "fields_invalid"
    assert punch(client, camera, employee_code="W1", badge="x").json()["code"] == "fields_invalid"
    old = (utc_now() - timedelta(days=40)).isoformat()
    answer = punch(client, camera, employee_code="W1", pin="4711", occurred_at=old)
    assert answer.json()["code"] == "captured_at_too_old"


@pytest.mark.parametrize("employee_code", ["W1", "NOBODY"])
def test_five_wrong_pins_lock_for_five_minutes_whoever_it_is(
    client: TestClient, operator: Headers, camera: Headers, database: Database, worker: str, employee_code: str
) -> None:
    answers = [punch(client, camera, employee_code=employee_code, pin="0000") for _ in range(7)]
    codes = [answer.json()["code"] for answer in answers]
    assert codes == ["pin_wrong"] * 5 + ["pin_locked"] * 2
    assert {answer.json()["detail"] for answer in answers[:5]} == {"This PIN is wrong, or there is nobody who has it."}
    assert 290 <= int(answers[-1].headers["Retry-After"]) <= 300
    if employee_code == "W1":
        assert punch(client, camera, employee_code="W1", pin="4711").json()["code"] == "pin_locked"
        with database.write() as session:
            session.execute(update(PunchTries).values(locked_until=utc_now() - timedelta(seconds=1)))
        assert punch(client, camera, employee_code="W1", pin="4711").status_code == 201
        with database.read() as session:
            assert [row.n_failures for row in session.scalars(select(PunchTries))] == [5]  # what is left is the key's


def test_a_hundred_guesses_at_once_are_no_more_than_five(
    client: TestClient, camera: Headers, database: Database, worker: str
) -> None:
    def guess(n: int) -> str:
        return str(punch(client, camera, employee_code="W1", pin=f"{n:04}").json().get("code"))

    with ThreadPoolExecutor(8) as threads:
        codes = list(threads.map(guess, range(24)))
    assert sorted(set(codes)) == ["pin_locked", "pin_wrong"]
    assert codes.count("pin_wrong") == OF_PERSON.most
    assert n_events(database) == 0


def test_who_is_not_active_is_nobody_at_a_camera(
    client: TestClient, camera: Headers, database: Database, worker: str
) -> None:
    with database.write() as session:
        session.execute(update(Person).values(active=False))
    assert punch(client, camera, employee_code="W1", pin="4711").json()["code"] == "pin_wrong"
    assert punch(client, camera, badge="04:A2:7F").json()["code"] == "badge_unknown"


def test_a_repeated_punch_is_one_event_and_its_pin_cannot_be_read_from_what_is_stored(
    client: TestClient, camera: Headers, database: Database, worker: str
) -> None:
    headers = {**camera, "Idempotency-Key": "k"}
    first, again = (punch(client, headers, employee_code="W1", pin="4711") for _ in range(2))
    assert first.json() == again.json()
    assert n_events(database) == 1
    assert punch(client, headers, employee_code="W1", pin="4712").json()["code"] == "idempotency_mismatch"
    with database.read() as session:
        stored = session.scalars(select(IdempotencyKey)).one()
        credential = session.get(PunchCredential, (worker, "pin"))
    assert credential is not None
    assert str(credential.pin_hash).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "4711" not in f"{stored.body}{stored.body_sha256}{credential.pin_hash}"


def test_a_badge_outlives_the_replacement_of_the_secret_key(
    client: TestClient, app: FastAPI, camera: Headers, operator: Headers, worker: str, database: Database
) -> None:
    other = make_worker(database=database, employee_code="W2")
    old, new = "the secret key of the first year", "the secret key of the second year"
    for keys in ([old], [new, old]):
        app.state.sealer = Sealer(keys)
        if keys == [old]:
            client.put(f"/v1/people/{worker}/badge", json={"badge": "04:A2:7F"}, headers=operator)
        taken = client.put(f"/v1/people/{other}/badge", json={"badge": "04:A2:7F"}, headers=operator)
        assert taken.json()["code"] == "badge_taken"
        assert punch(client, camera, badge="04:A2:7F").status_code == 201
    app.state.sealer = Sealer([new])  # it was used meanwhile, so the old key is not needed any more
    assert punch(client, camera, badge="04:A2:7F").status_code == 201


def test_pins_and_badges_are_given_and_taken(
    client: TestClient, operator: Headers, camera: Headers, database: Database, worker: str
) -> None:
    other = make_worker(database=database, employee_code="W2")
    answer = client.put(f"/v1/people/{other}/badge", json={"badge": "04:A2:7F"}, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (409, "badge_taken")
    assert client.put(f"/v1/people/{worker}/badge", json={"badge": "04:A2:7F"}, headers=operator).status_code == 200
    for kind in ("pin", "badge"):
        assert client.delete(f"/v1/people/{worker}/{kind}", headers=operator).status_code == 204
        assert client.delete(f"/v1/people/{worker}/{kind}", headers=operator).status_code == 204
        assert client.delete(f"/v1/people/per_none/{kind}", headers=operator).json()["code"] == "person_not_found"
    assert punch(client, camera, employee_code="W1", pin="4711").json()["code"] == "pin_wrong"
    assert client.put(f"/v1/people/{other}/badge", json={"badge": "04:A2:7F"}, headers=operator).status_code == 200
    assert client.put(f"/v1/people/{other}/pin", json={"pin": "12a4"}, headers=operator).status_code == 422
    assert client.put(f"/v1/people/{other}/pin", json={"pin": "1234"}, headers=camera).status_code == 403


def test_twenty_wrong_badges_or_pins_lock_the_key_that_sent_them(
    client: TestClient, camera: Headers, operator: Headers, database: Database, worker: str
) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: punch(client, camera, badge=f"04:{n}"), range(OF_KEY.most)))
    locked = punch(client, camera, badge="04:A2:7F")
    assert (locked.status_code, locked.json()["code"]) == (429, "badge_locked")
    assert 280 <= int(locked.headers["Retry-After"]) <= 300
    assert punch(client, operator, badge="04:A2:7F").status_code == 201
    for n in range(OF_KEY.most):
        assert punch(client, camera, employee_code=f"N{n}", pin="0000").json()["code"] == "pin_wrong"
    assert punch(client, camera, employee_code="W1", pin="4711").json()["code"] == "pin_locked"
    with database.read() as session:
        actions = session.scalars(select(AuditEntry.action).where(AuditEntry.action.endswith(".locked"))).all()
    assert sorted(actions) == ["badge.locked", "pin.locked"]


def test_a_badge_and_a_pin_must_both_be_right(client: TestClient, camera: Headers, worker: str) -> None:
    assert punch(client, camera, badge="04:A2:7F", pin="0000").json()["code"] == "pin_wrong"
    answer = punch(client, camera, badge="04:A2:7F", pin="4711")
    assert (answer.status_code, answer.json()["method"]) == (201, "badge")

"""What is known of single people: look-alikes, complaints and doubtful templates, on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import delete, event
from starlette.testclient import TestClient

from app.db.engine import Database, open_database
from app.db.tables import DecisionRow
from app.decisions.log import Circumstances
from app.people.service import erase
from app.settings import Settings
from tests.app.crowd import enrol_crowd, enrol_face, face
from tests.app.decisions.test_decisions import MODEL, decided
from tests.app.factories import make_person, make_principal
from tests.app.operating_points.test_threshold import put

Headers = dict[str, str]


@pytest.fixture
def twins(app: FastAPI, client: TestClient, database: Database, admin: Headers) -> list[str]:
    """Two people who look alike among ten others, calibrated; and a third with a photo of somebody else."""
    enrol_crowd(database=database, n_people=10)
    with database.write() as session:
        people = [make_person(session=session, name=name) for name in ("Ann", "Bea", "Wrong")]
        for number, person in enumerate(people[:2]):
            own = [face(seed=1, photo=3 * number + i) for i in range(3)]
            enrol_face(session=session, person=person, embeddings=own)
        mixed = [face(seed=2, photo=0), face(seed=2, photo=1), face(seed=100, photo=9)]
        enrol_face(session=session, person=people[2], embeddings=mixed)
    put(client, admin, mode="auto")
    return [person.id for person in people]


def complain(app: FastAPI, client: TestClient, headers: Headers, named: str, other: str, lead: float = 0.03) -> str:
    """Store a decision that named the one and say that it was the other; returns the event."""
    point = app.state.point_in_force.read(MODEL)
    circumstances = Circumstances("req", "key:test", 0.5, point.id, 3, MODEL)
    event_id = app.state.decision_log.store([decided([(named, 0.6), (other, 0.6 - lead)], 0.5)], circumstances)[0]
    answer = client.post(
        f"/v1/events/{event_id}/feedback", json={"correct": False, "person_id": other}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return str(event_id)


def look_alikes(client: TestClient, headers: Headers) -> list[dict[str, Any]]:
    return list(client.get("/v1/threshold/look-alikes", headers=headers).json()["items"])


def test_complaints_can_be_forgotten_when_their_events_are_gone(
    app: FastAPI, client: TestClient, database: Database, admin: Headers, twins: list[str]
) -> None:
    a, b, c = twins
    for lead in (0.03, 0.2):
        complain(app, client, admin, a, c, lead)
    complain(app, client, admin, b, c)
    with database.write() as session:  # as retention does
        session.execute(delete(DecisionRow))
    found = [item for item in look_alikes(client, admin) if item["source"] == "feedback"]
    assert [item["n_complaints"] for item in found] == [2, 1]
    receipt = client.delete(f"/v1/threshold/look-alikes/{c}/{a}", headers=admin)
    assert receipt.status_code == 200
    assert receipt.json() == {"person_a": min(a, c), "person_b": max(a, c), "n_complaints": 2, "margin": 0.0}
    assert (min(a, c), max(a, c)) not in app.state.point_in_force.read(MODEL).margins
    assert (min(b, c), max(b, c)) in app.state.point_in_force.read(MODEL).margins
    entry = client.get("/v1/audit", headers=admin).json()["items"][0]
    assert (entry["action"], entry["target"]) == ("threshold.complaints_forgotten", min(a, c))
    assert entry["detail"] == {"other": max(a, c), "n_complaints": 2}


def test_what_the_gallery_shows_of_a_pair_is_not_forgotten_with_its_complaints(
    app: FastAPI, client: TestClient, admin: Headers, twins: list[str]
) -> None:
    a, b, _ = twins
    complain(app, client, admin, a, b, lead=0.2)
    receipt = client.delete(f"/v1/threshold/look-alikes/{a}/{b}", headers=admin).json()
    assert receipt["margin"] > 0
    assert app.state.point_in_force.read(MODEL).margins[min(a, b), max(a, b)] == receipt["margin"]
    again = client.delete(f"/v1/threshold/look-alikes/{a}/{b}", headers=admin)
    assert (again.status_code, again.json()["code"]) == (404, "complaint_not_found")


def test_only_admins_forget_complaints(client: TestClient, operator: Headers, twins: list[str]) -> None:
    refused = client.delete(f"/v1/threshold/look-alikes/{twins[0]}/{twins[1]}", headers=operator)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_insufficient")


def test_findings_say_how_much_of_the_gallery_was_searched(
    client: TestClient,
    database: Database,
    admin: Headers,
    monkeypatch: pytest.MonkeyPatch,
    twins: list[str],
) -> None:
    assert twins
    paths = [f"/v1/threshold/{name}" for name in ("look-alikes", "suspicious-templates")]
    for path in paths:
        found = client.get(path, headers=admin).json()
        assert (found["n_searched"], found["n_templates"]) == (39, 39)
    monkeypatch.setattr("ml.evidence.MAX_SEARCHES", 20)
    enrol_crowd(database=database, n_people=1, first_seed=900)
    put(client, admin, mode="auto")
    for path in paths:
        found = client.get(path, headers=admin).json()
        assert (found["n_searched"], found["n_templates"]) == (20, 42)


@contextmanager
def erased_before(statement_part: str, database: Database, settings: Settings, person_id: str) -> Iterator[None]:
    """Somebody else erases a person just before the first statement that contains this."""
    other, waiting = open_database(settings), [person_id]

    def act(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement_part in statement and waiting:
            with other.write() as session:
                erase(session, waiting.pop(), make_principal())

    event.listen(database.engine, "before_cursor_execute", act)
    try:
        yield
    finally:
        event.remove(database.engine, "before_cursor_execute", act)
        other.dispose()
    assert not waiting


@pytest.mark.parametrize(("path", "who"), [("look-alikes", 0), ("suspicious-templates", 2)])
def test_whoever_is_erased_while_findings_are_read_is_left_out(
    client: TestClient, database: Database, settings: Settings, admin: Headers, twins: list[str], path: str, who: int
) -> None:
    n_before = len(client.get(f"/v1/threshold/{path}", headers=admin).json()["items"])
    with erased_before("FROM people", database, settings, twins[who]):
        answer = client.get(f"/v1/threshold/{path}", headers=admin)
    assert answer.status_code == 200
    is_snapshot = database.engine.dialect.name == "sqlite"  # it reads what was true when it began
    assert len(answer.json()["items"]) == n_before - (0 if is_snapshot else 1)

import json
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import AuditEntry, GalleryChange
from tests.app.factories import NOON, make_embedding, make_enrolment, make_person, make_template

ADA = {"employee_code": "E1", "name": "Ada Byron"}
DAY_SHIFT = {"name": "Day", "starts": "09:00", "ends": "18:00"}


def create(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    content = json.dumps({**ADA, **fields})  # ASCII: the client itself would not send a lone surrogate
    return client.post("/v1/people", content=content, headers={**headers, "content-type": "application/json"})


def test_a_new_person_has_what_was_sent_and_no_templates(client: TestClient, operator: dict[str, str]) -> None:
    given_at = NOON.astimezone(timezone(timedelta(hours=2))).isoformat()
    shift_id = client.post("/v1/shifts", json=DAY_SHIFT, headers=operator).json()["id"]
    fields = {"department": "R&D", "timezone": "Europe/Berlin", "shift_id": shift_id, "site_id": "site_default"}
    response = create(client, operator, **fields, consent={"given_at": given_at, "method": "signed form"})
    person = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/people/{person['id']}"
    assert person["id"].startswith("per_")
    assert person["created_at"] == person["updated_at"]
    assert {**person, "id": "", "created_at": "", "updated_at": ""} == {
        **ADA,
        **fields,
        "id": "",
        "active": True,
        "consent": {"given_at": "2026-11-20T12:00:00Z", "method": "signed form"},
        "n_templates": 0,
        "coverage": {"frontal": 0, "left": 0, "right": 0, "up": 0, "down": 0},
        "created_at": "",
        "updated_at": "",
    }
    assert client.get(f"/v1/people/{person['id']}", headers=operator).json() == person


def test_codes_and_names_are_stripped_and_normalised(client: TestClient, operator: dict[str, str]) -> None:
    person = create(client, operator, employee_code=" E\u00a07 ", name=" Jose\u0301\u3000N. ").json()
    assert (person["employee_code"], person["name"]) == ("E 7", "Jos\u00e9 N.")


@pytest.mark.parametrize(
    "wrong",
    [
        {"employee_code": ""},
        {"employee_code": "   "},
        {"employee_code": "x" * 65},
        {"employee_code": "a\nb"},
        {"employee_code": "a\u0000b"},
        {"employee_code": 7},
        {"employee_code": None},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "a\u202eb"},
        {"name": "\ud800"},
        {"timezone": "Mars/Olympus"},
        {"timezone": "America"},
        {"timezone": "../../etc/passwd"},
        {"consent": {"given_at": "2026-01-01T00:00:00", "method": "form"}},
        {"consent": {"given_at": "yesterday", "method": "form"}},
        {"consent": {"given_at": "0001-01-01T00:00:00+14:00", "method": "form"}},
        {"consent": {"given_at": "2026-01-01T00:00:00Z"}},
        {"departmnt": "R&D"},
    ],
    ids=str,
)
def test_wrong_fields_are_refused(client: TestClient, operator: dict[str, str], wrong: dict[str, Any]) -> None:
    response = create(client, operator, **wrong)
    assert (response.status_code, response.json()["code"]) == (422, "fields_invalid")
    assert response.json()["errors"][0]["loc"][1] == next(iter(wrong))


def test_an_employee_code_belongs_to_one_person(client: TestClient, operator: dict[str, str]) -> None:
    create(client, operator)
    again = create(client, operator, employee_code=" E1")
    assert (again.status_code, again.json()["code"]) == (409, "employee_code_taken")
    other = create(client, operator, employee_code="E2").json()
    taken = client.patch(f"/v1/people/{other['id']}", json={"employee_code": "E1"}, headers=operator)
    assert (taken.status_code, taken.json()["code"]) == (409, "employee_code_taken")


def test_a_change_touches_only_what_was_sent(client: TestClient, operator: dict[str, str]) -> None:
    before = create(client, operator, department="R&D", timezone="Asia/Tokyo").json()
    url = f"/v1/people/{before['id']}"
    after = client.patch(url, json={"name": "Ada Lovelace", "department": None, "active": False}, headers=operator)
    assert after.status_code == 200
    changed = {"name": "Ada Lovelace", "department": None, "active": False}
    assert after.json() == {**before, **changed, "updated_at": after.json()["updated_at"]}
    assert after.json()["updated_at"] > before["updated_at"]
    assert client.get("/v1/people?query=lovelace", headers=operator).json()["items"] == [after.json()]


def test_consent_can_be_given_and_taken_back(client: TestClient, operator: dict[str, str]) -> None:
    url = f"/v1/people/{create(client, operator).json()['id']}"
    consent = {"given_at": "2026-11-20T12:00:00Z", "method": "kiosk"}
    assert client.patch(url, json={"consent": consent}, headers=operator).json()["consent"] == consent
    assert client.patch(url, json={"consent": None}, headers=operator).json()["consent"] is None


@pytest.mark.parametrize("field", ["employee_code", "name", "active"])
def test_what_every_person_has_cannot_be_emptied(client: TestClient, operator: dict[str, str], field: str) -> None:
    url = f"/v1/people/{create(client, operator).json()['id']}"
    assert client.patch(url, json={field: None}, headers=operator).status_code == 422


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_person_is_not_found(client: TestClient, operator: dict[str, str], method: str) -> None:
    for person_id in ("per_none", "%20", "x" * 500):
        response = client.request(method, f"/v1/people/{person_id}", headers=operator, json={})
        assert (response.status_code, response.json()["code"]) == (404, "person_not_found")


def test_an_id_that_the_database_cannot_even_compare_is_no_server_error(
    client: TestClient, operator: dict[str, str]
) -> None:
    assert client.get("/v1/people/%00", headers=operator).status_code in {404, 422}
    assert client.get("/v1/people?query=%00", headers=operator).status_code in {200, 422}


@pytest.mark.parametrize(
    ("call", "path"),
    [("GET", ""), ("POST", ""), ("GET", "/per_1"), ("PATCH", "/per_1"), ("DELETE", "/per_1"), ("POST", "/import"),
     ("GET", "/export")],
)  # fmt: skip
def test_cameras_may_not_touch_people(client: TestClient, camera: dict[str, str], call: str, path: str) -> None:
    response = client.request(call, f"/v1/people{path}", headers=camera, json=ADA if call == "POST" else {})
    assert (response.status_code, response.json()["code"]) == (403, "scope_insufficient")


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("", ["E1", "E2", "E3"]),
        ("?query=jose", ["E1"]),
        ("?query=JOS%C3%89", ["E1"]),
        ("?query=e", ["E1", "E2", "E3"]),
        ("?query=e2", ["E2"]),
        ("?query=%25", []),
        ("?query=_", []),
        ("?department=R%26D", ["E1", "E3"]),
        ("?active=false", ["E3"]),
        ("?active=true&department=R%26D", ["E1"]),
        ("?query=stra%C3%9Fe", ["E2"]),
        ("?query=STRASSE", ["E2"]),
    ],
)
def test_people_are_found_whatever_their_case_and_accents(
    client: TestClient, database: Database, operator: dict[str, str], query: str, codes: list[str]
) -> None:
    with database.write() as session:
        make_person(session=session, employee_code="E1", name="José", department="R&D")
        make_person(session=session, employee_code="E2", name="Straße", department="Sales")
        make_person(session=session, employee_code="E3", name="Cy", department="R&D").active = False
    items = client.get(f"/v1/people{query}", headers=operator).json()["items"]
    assert [person["employee_code"] for person in items] == codes


def test_a_walk_by_cursor_shows_everybody_once_although_people_come_and_go(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    with database.write() as session:
        people = [make_person(session=session, employee_code=f"E{n}") for n in range(7)]
        for person in people:
            person.created_at = NOON  # an import gives many people one time
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/people", params=params, headers=operator).json()
        seen += [person["id"] for person in page["items"]]
        if len(seen) == 2:
            client.delete(f"/v1/people/{seen[0]}", headers=operator)
            create(client, operator, employee_code="late")
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 8
    assert {person.id for person in people} < set(seen)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=nonsense", "active=maybe"])
def test_odd_queries_are_refused(client: TestClient, operator: dict[str, str], query: str) -> None:
    response = client.get(f"/v1/people?{query}", headers=operator)
    assert response.status_code == 422
    assert response.json()["code"] == ("cursor_invalid" if "cursor" in query else "fields_invalid")


def test_coverage_counts_the_templates_of_each_pose(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    with database.write() as session:
        person, other = make_person(session=session), make_person(session=session)
        enrolment = make_enrolment(session=session, person=person)
        for yaw_deg, pitch_deg in [(0, 0), (14.9, -14.9), (15, 0), (-20, 0), (0, 15), (-30, -15)]:
            make_template(session=session, person=person, enrolment=enrolment, yaw_deg=yaw_deg, pitch_deg=pitch_deg)
        make_template(session=session, person=other, yaw_deg=40)
    shown = client.get(f"/v1/people/{person.id}", headers=operator).json()
    assert shown["n_templates"] == 6
    assert shown["coverage"] == {"frontal": 2, "left": 2, "right": 1, "up": 1, "down": 1}
    listed = client.get("/v1/people", headers=operator).json()["items"]
    assert [item["n_templates"] for item in listed] == [6, 1]


def test_erasing_a_person_leaves_ids_and_counts_only(
    app: FastAPI, client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    told: list[bool] = []
    app.state.on_gallery_change = lambda: told.append(True)
    with database.write() as session:
        person = make_person(session=session, name="Grace Hopper")
        templates = [make_template(session=session, person=person) for _ in range(3)]
    response = client.delete(f"/v1/people/{person.id}", headers=operator)
    assert response.json() == {
        "person_id": person.id,
        "templates_deleted": 3,
        "crops_deleted": 0,
        "events_anonymised": 0,
        "gallery_revision": 4,
    }
    assert told == [True]
    assert client.get(f"/v1/people/{person.id}", headers=operator).status_code == 404
    with database.read() as session:
        removed = session.scalars(select(GalleryChange).where(GalleryChange.kind == "remove")).all()
        audit = session.scalars(select(AuditEntry).where(AuditEntry.action == "person.erased")).one()
    assert [(change.revision, change.template_id) for change in removed] == [(4, row.id) for row in templates]
    assert (audit.target, audit.detail) == (person.id, {"templates_deleted": 3})


def test_erasing_somebody_without_templates_keeps_the_revision(client: TestClient, operator: dict[str, str]) -> None:
    person_id = create(client, operator).json()["id"]
    receipt = client.delete(f"/v1/people/{person_id}", headers=operator).json()
    assert (receipt["templates_deleted"], receipt["gallery_revision"]) == (0, 0)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_no_file_of_the_database_still_holds_an_erased_person(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    """SQLite leaves deleted bytes in free pages and in its log unless it is told not to."""
    embedding, name = make_embedding(seed=7), "Wilhelmina Unmistakable"
    headers = {**operator, "Idempotency-Key": "k"}
    person_id = client.post("/v1/people", json={**ADA, "name": name}, headers=headers).json()["id"]
    with database.write() as session:
        person = make_person(session=session, name=name)
        make_template(session=session, person=person, embedding=embedding)

    def n_traces() -> int:
        folder = Path(str(database.engine.url.database)).parent
        content = b"".join(path.read_bytes() for path in folder.glob("rollcall.sqlite3*"))
        folded = content.lower()
        return folded.count(name.lower().encode()) + content.count(embedding[:64])

    assert n_traces() > 2
    for erased in (person_id, person.id):
        assert client.delete(f"/v1/people/{erased}", headers=operator).status_code == 200
    assert n_traces() == 0


def test_what_was_done_to_people_is_audited_without_their_names(
    client: TestClient, operator: dict[str, str], admin: dict[str, str]
) -> None:
    url = f"/v1/people/{create(client, operator).json()['id']}"
    client.patch(url, json={"name": "Ada Lovelace", "active": False}, headers=operator)
    client.delete(url, headers=operator)
    answer = client.get("/v1/audit", headers=admin)
    entries = [entry for entry in answer.json()["items"] if entry["action"].startswith("person.")]
    assert [entry["action"] for entry in entries] == ["person.erased", "person.updated", "person.created"]
    assert entries[1]["detail"] == {"fields": ["active", "name"]}
    assert "Ada" not in answer.text and "E1" not in answer.text

"""Enrolling photos through REST, on both databases, with the real networks."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import Enrolment, GalleryChange, Person, Template
from tests.app import photos

Headers = dict[str, str]


def enroll(
    client: TestClient, headers: Headers, code: str, *files: bytes, name: str | None = None, **fields: str
) -> Response:
    data = {"employee_code": code, "consent": "true", **fields}
    if name is not None:
        data["name"] = name
    parts = [("files", (f"{i}.jpg", content, "image/jpeg")) for i, content in enumerate(files)]
    return client.post("/v1/enroll", data=data, files=parts, headers=headers)


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return int(session.query(table).count())


def test_photos_become_templates_that_the_next_search_finds(client: TestClient, operator: Headers) -> None:
    answer = enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace Hopper")
    enrolment = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/enrolments/{enrolment['id']}"
    assert (enrolment["status"], enrolment["progress"], enrolment["kind"]) == ("done", 1.0, "images")
    assert [t["source"]["file"] for t in enrolment["templates"]] == ["0.jpg", "1.jpg"]
    assert enrolment["person"]["n_templates"] == 2
    assert enrolment["person"]["consent"]["method"] == "given at enrolment"
    assert enrolment["coverage"]["frontal"] >= 1
    assert enrolment["gallery_revision"] == 1
    found = client.post("/v1/identify", files={"image": photos.grace(variant=2)}, headers=operator).json()
    assert found["faces"][0]["person"]["employee_code"] == "G1"
    assert found["gallery_revision"] == 1
    assert client.get(answer.headers["Location"], headers=operator).json() == enrolment


def test_each_file_is_judged_by_itself(client: TestClient, operator: Headers) -> None:
    files = (photos.grace(), photos.nobody(), photos.blurred(), photos.two_people(), b"not an image")
    enrolment = enroll(client, operator, "G1", *files, name="Grace").json()
    assert [t["source"]["file"] for t in enrolment["templates"]] == ["0.jpg"]
    reasons = {r["source"]["file"]: r["reason"] for r in enrolment["rejected"]}
    assert reasons["1.jpg"] == "no_face"
    assert reasons["2.jpg"] in {"blurred", "no_face", "low_detection_score"}
    assert reasons["3.jpg"] == "several_people"
    assert reasons["4.jpg"] == "image_type_unsupported"
    assert any(warning.startswith("few_templates") for warning in enrolment["warnings"])


@pytest.mark.parametrize(
    ("file", "status", "code"),
    [
        (photos.nobody(), 422, "no_face"),
        (photos.two_people(), 422, "several_people"),
        (b"", 400, "image_empty"),
        (b"hello", 415, "image_type_unsupported"),
        (photos.grace()[:5000], 400, "image_truncated"),
    ],
)
def test_when_nothing_can_be_enrolled_nothing_is_stored(
    client: TestClient, operator: Headers, database: Database, file: bytes, status: int, code: str
) -> None:
    answer = enroll(client, operator, "G1", file, name="Grace")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [count(database, table) for table in (Person, Enrolment, Template, GalleryChange)] == [0, 0, 0, 0]


def test_a_face_that_belongs_to_somebody_else_is_refused_by_name(
    client: TestClient, operator: Headers, database: Database
) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace Hopper")
    answer = enroll(client, operator, "X9", photos.grace(variant=1), name="Somebody")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "duplicate_person")
    assert problem["person"]["employee_code"] == "G1"
    assert "Grace Hopper" in problem["detail"]
    assert count(database, Person) == 1


def test_a_duplicate_can_be_allowed_and_is_warned_of(client: TestClient, operator: Headers) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    answer = enroll(client, operator, "X9", photos.grace(variant=1), name="Twin", on_duplicate="allow")
    assert answer.status_code == 201
    assert any(warning.startswith("duplicate_person") for warning in answer.json()["warnings"])


def test_a_photo_of_somebody_else_is_not_added_to_a_person(client: TestClient, operator: Headers) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    answer = enroll(client, operator, "G1", photos.eileen())
    assert (answer.status_code, answer.json()["code"]) == (422, "identity_conflict")


def test_more_photos_of_the_same_person_are_added_without_a_name(client: TestClient, operator: Headers) -> None:
    first = enroll(client, operator, "G1", photos.grace(), name="Grace").json()
    second = enroll(client, operator, "G1", photos.grace(variant=3)).json()
    assert second["person"]["id"] == first["person"]["id"]
    assert second["person"]["n_templates"] == 2
    assert second["gallery_revision"] == first["gallery_revision"] + 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({}, 422, "name_missing"),
        ({"name": "Grace", "consent": "false"}, 409, "consent_missing"),
        ({"name": "Grace", "on_duplicate": "maybe"}, 422, "fields_invalid"),
        ({"name": "Grace", "employee_code": " "}, 422, "fields_invalid"),
    ],
)
def test_what_the_caller_forgot_is_said(
    client: TestClient, operator: Headers, fields: dict[str, str], status: int, code: str
) -> None:
    data = {"employee_code": "G1", "consent": "true", **fields}
    answer = client.post("/v1/enroll", data=data, files={"files": photos.grace()}, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_call_without_files_is_told_so(client: TestClient, operator: Headers) -> None:
    answer = client.post("/v1/enroll", data={"employee_code": "G1", "name": "Grace"}, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (422, "fields_invalid")


def test_a_path_in_a_file_name_is_only_ever_a_name(client: TestClient, operator: Headers) -> None:
    files = [("files", ("../../etc/pass\x01wd.jpg", photos.grace(), "image/jpeg"))]
    data = {"employee_code": "G1", "name": "Grace", "consent": "true"}
    enrolment = client.post("/v1/enroll", data=data, files=files, headers=operator).json()
    assert "/" not in enrolment["templates"][0]["source"]["file"]


def test_the_same_request_sent_again_enrols_once(client: TestClient, operator: Headers, database: Database) -> None:
    headers = {**operator, "Idempotency-Key": "upload-1"}
    first = enroll(client, headers, "G1", photos.grace(), name="Grace")
    again = enroll(client, headers, "G1", photos.grace(), name="Grace")
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert count(database, Template) == 1
    other = enroll(client, headers, "G1", photos.grace(variant=1), name="Grace")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_removing_an_enrolment_removes_its_templates_from_the_search(client: TestClient, operator: Headers) -> None:
    enrolment = enroll(client, operator, "G1", photos.grace(), name="Grace").json()
    receipt = client.delete(f"/v1/enrolments/{enrolment['id']}", headers=operator).json()
    assert receipt["templates_deleted"] == 1
    assert receipt["gallery_revision"] == enrolment["gallery_revision"] + 1
    found = client.post("/v1/identify", files={"image": photos.grace()}, headers=operator).json()
    assert found["faces"][0]["outcome"] == "unknown"
    assert client.get(f"/v1/enrolments/{enrolment['id']}", headers=operator).status_code == 404


def test_erasing_a_person_leaves_nothing_of_them(
    app: FastAPI, client: TestClient, operator: Headers, database: Database
) -> None:
    person = enroll(client, operator, "G1", photos.grace(), name="Grace").json()["person"]
    with database.read() as session:
        embedding = session.query(Template.embedding).scalar()
    receipt = client.delete(f"/v1/people/{person['id']}", headers=operator).json()
    assert receipt["templates_deleted"] == 1
    assert (
        client.post("/v1/identify", files={"image": photos.grace()}, headers=operator).json()["gallery"]["n_templates"]
        == 0
    )
    assert [count(database, table) for table in (Person, Enrolment, Template)] == [0, 0, 0]
    if database.engine.dialect.name == "sqlite":
        folder = app.state.settings.database_url.get_secret_value().removeprefix("sqlite:///").rpartition("/")[0]
        from pathlib import Path

        stored = b"".join(path.read_bytes() for path in Path(folder).glob("*.sqlite3*"))
        assert embedding not in stored
        assert b"Grace" not in stored


def test_somebody_deactivated_is_recognised_no_more_until_they_are_active_again(
    client: TestClient, operator: Headers
) -> None:
    person = enroll(client, operator, "G1", photos.grace(), name="Grace").json()["person"]

    def outcome_when(active: bool) -> str:
        client.patch(f"/v1/people/{person['id']}", json={"active": active}, headers=operator)
        found = client.post("/v1/identify", files={"image": photos.grace(variant=1)}, headers=operator).json()
        return str(found["faces"][0]["outcome"])

    assert outcome_when(active=False) == "unknown"
    assert outcome_when(active=True) == "identified"


def test_a_full_person_takes_no_more(client: TestClient, operator: Headers, app: FastAPI) -> None:
    app.state.settings = app.state.settings.model_copy(update={"templates_per_person_max": 1})
    answer = enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_templates")


def test_a_camera_may_not_enrol(client: TestClient, camera: Headers) -> None:
    answer = enroll(client, camera, "G1", photos.grace(), name="Grace")
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_insufficient")

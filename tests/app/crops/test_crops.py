"""Face crops of templates and captures: kept sealed beside what they were made of, shown, and erased with it."""

from datetime import timedelta
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import delete, select, update
from starlette.testclient import TestClient

from app.crops.cutting import cut_face
from app.crops.retention import CropPurger
from app.db.engine import Database
from app.db.tables import Event, EventCrop, Person, Template, TemplateCrop
from app.db.types import utc_now
from app.inference.port import Inference
from app.sealing import Sealer
from tests.app import photos
from tests.app.attendance.test_captures import send
from tests.app.enrolment.test_enroll import count, enroll
from tests.ml.faces import grace_hopper

Headers = dict[str, str]


def get(client: TestClient, headers: Headers, path: str, **more: str) -> Any:
    return client.get(path, headers={**headers, **more})


def image_of(answer: Any) -> Image.Image:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), answer.text
    return Image.open(BytesIO(answer.content))


def record_grace(client: TestClient, operator: Headers, camera: Headers, variant: int = 2) -> str:
    """Grace is enrolled, and seen once; returns the event's id."""
    enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace")
    recording = send(client, camera, photos.grace(variant=variant)).json()
    assert [event["outcome"] for event in recording["events"]] == ["identified"]
    return str(recording["events"][0]["id"])


def purge(app: FastAPI, *, event_days: int = 7, keeps_templates: bool = True) -> int:
    return CropPurger(app.state.database, event_days, keeps_templates=keeps_templates).purge()


def test_every_template_of_a_photo_has_a_crop_that_can_be_looked_at(client: TestClient, operator: Headers) -> None:
    enrolled = enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace").json()
    person_id = enrolled["person"]["id"]
    shown = get(client, operator, f"/v1/people/{person_id}/templates").json()["items"]
    assert [each["id"] for each in shown] == [each["id"] for each in enrolled["templates"]]
    assert [(each["has_crop"], each["suspicious"]) for each in shown] == [(True, False)] * 2
    crop = image_of(get(client, operator, f"/v1/templates/{shown[0]['id']}/crop"))
    assert max(crop.size) <= 512
    assert image_of(get(client, operator, f"/v1/people/{person_id}/portrait")).size[0] > 50


def test_the_landmarks_of_a_crop_lie_where_the_face_has_them(inference: Inference) -> None:
    image = grace_hopper()
    large = np.asarray(Image.fromarray(image).resize((image.shape[1] * 4, image.shape[0] * 4)))
    sample = inference.analyze([large]).samples[0][0]
    crop = cut_face(large, sample)
    inside = np.asarray(Image.open(BytesIO(crop.jpeg)).convert("RGB"))
    again = inference.analyze([inside]).samples[0][0].face.landmarks
    assert np.abs(again - np.array(crop.landmarks)).max() < 0.02 * max(inside.shape)


def test_a_crop_in_the_database_is_sealed(
    client: TestClient, operator: Headers, database: Database, app: FastAPI
) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    with database.read() as session:
        stored = session.scalars(select(TemplateCrop)).one()
    assert b"JFIF" not in stored.sealed_crop
    assert app.state.sealer.open(stored.sealed_crop).startswith(b"\xff\xd8")
    assert len(stored.landmarks) == 5


def test_without_keep_template_crops_none_is_made(app: FastAPI, client: TestClient, operator: Headers) -> None:
    app.state.settings = app.state.settings.model_copy(update={"keep_template_crops": False})
    person = enroll(client, operator, "G1", photos.grace(), name="Grace").json()["person"]
    shown = get(client, operator, f"/v1/people/{person['id']}/templates").json()["items"]
    assert [each["has_crop"] for each in shown] == [False]
    answer = get(client, operator, f"/v1/people/{person['id']}/portrait")
    assert (answer.status_code, answer.json()["code"]) == (404, "crop_not_found")


def test_deleting_an_enrolment_deletes_its_crops(client: TestClient, operator: Headers, database: Database) -> None:
    enrolment = enroll(client, operator, "G1", photos.grace(), name="Grace").json()
    assert count(database, TemplateCrop) == 1
    assert client.delete(f"/v1/enrolments/{enrolment['id']}", headers=operator).status_code == 200
    assert count(database, TemplateCrop) == 0


def test_the_database_deletes_a_crop_with_its_template_and_its_person(
    client: TestClient, operator: Headers, camera: Headers, database: Database
) -> None:
    record_grace(client, operator, camera)
    with database.write() as session:
        session.execute(delete(Template))
    assert (count(database, TemplateCrop), count(database, EventCrop)) == (0, 1)
    with database.write() as session:
        session.execute(delete(Person))
    assert count(database, EventCrop) == 0


def test_a_recognised_capture_keeps_its_face_once_for_each_presence(
    client: TestClient, operator: Headers, camera: Headers, database: Database
) -> None:
    event_id = record_grace(client, operator, camera)
    again = send(client, camera, photos.grace(variant=3)).json()["events"][0]
    assert again["duplicate_of"] == event_id
    assert max(image_of(get(client, operator, f"/v1/events/{event_id}/crop")).size) <= 256
    assert get(client, operator, f"/v1/events/{again['id']}/crop").json()["code"] == "crop_not_found"
    with database.read() as session:
        crop = session.scalars(select(EventCrop)).one()
        event = session.get_one(Event, event_id)
    assert crop.expires_at == event.occurred_at + timedelta(days=7)
    assert len(crop.sealed_crop) < 30_000


def test_crop_retention_0_keeps_no_face_of_a_capture(
    app: FastAPI, client: TestClient, operator: Headers, camera: Headers, database: Database
) -> None:
    app.state.settings = app.state.settings.model_copy(update={"crop_retention_days": 0})
    record_grace(client, operator, camera)
    assert count(database, EventCrop) == 0


def test_identify_keeps_no_face(client: TestClient, operator: Headers, database: Database) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    client.post("/v1/identify", files={"image": photos.grace(variant=2)}, headers=operator)
    assert count(database, EventCrop) == 0


def test_erasing_a_person_erases_their_crops_and_counts_them(
    client: TestClient, operator: Headers, camera: Headers, database: Database
) -> None:
    event_id = record_grace(client, operator, camera)
    with database.read() as session:
        person_id = session.get_one(Event, event_id).person_id
    receipt = client.delete(f"/v1/people/{person_id}", headers=operator).json()
    assert receipt["crops_deleted"] == 3
    assert (count(database, TemplateCrop), count(database, EventCrop)) == (0, 0)
    for path in (f"/v1/events/{event_id}/crop", f"/v1/people/{person_id}/portrait"):
        assert get(client, operator, path).status_code == 404


def test_the_crop_of_a_corrected_event_is_whose_the_event_is(
    client: TestClient, operator: Headers, camera: Headers, database: Database
) -> None:
    event_id = record_grace(client, operator, camera)
    new = {"employee_code": "E1", "name": "Eileen"}
    eileen = client.post("/v1/people", json=new, headers=operator).json()["id"]
    correction = {"person_id": eileen, "reason": "it was Eileen"}
    assert client.patch(f"/v1/events/{event_id}", json=correction, headers=operator).status_code == 200
    with database.read() as session:
        assert session.scalars(select(EventCrop.person_id)).all() == [eileen]
    nobody = {"person_id": None, "reason": "a visitor"}
    assert client.patch(f"/v1/events/{event_id}", json=nobody, headers=operator).status_code == 200
    assert count(database, EventCrop) == 0


def test_expired_crops_are_gone_and_purged(
    app: FastAPI, client: TestClient, operator: Headers, camera: Headers, database: Database
) -> None:
    event_id = record_grace(client, operator, camera)
    assert purge(app) == 0
    with database.write() as session:
        session.execute(update(EventCrop).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert get(client, operator, f"/v1/events/{event_id}/crop").status_code == 404
    assert purge(app) == 1
    assert count(database, EventCrop) == 0


def test_a_shorter_retention_counts_for_crops_that_are_there(
    app: FastAPI, client: TestClient, operator: Headers, camera: Headers, database: Database
) -> None:
    event_id = record_grace(client, operator, camera)
    assert purge(app, event_days=1) == 0
    with database.read() as session:
        crop, event = session.scalars(select(EventCrop)).one(), session.get_one(Event, event_id)
    assert crop.expires_at == event.occurred_at + timedelta(days=1)
    assert purge(app, event_days=0, keeps_templates=False) == 3
    assert (count(database, EventCrop), count(database, TemplateCrop)) == (0, 0)


def test_whoever_has_a_crop_is_told_that_it_is_the_same_and_no_browser_stores_it(
    client: TestClient, operator: Headers
) -> None:
    enrolled = enroll(client, operator, "G1", photos.grace(), name="Grace").json()
    path = f"/v1/templates/{enrolled['templates'][0]['id']}/crop"
    first = get(client, operator, path)
    assert first.headers["cache-control"] == "no-store"
    again = get(client, operator, path, **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_crop_sealed_with_another_key_is_told_of_in_words(
    app: FastAPI, client: TestClient, operator: Headers
) -> None:
    enrolled = enroll(client, operator, "G1", photos.grace(), name="Grace").json()
    app.state.sealer = Sealer(["another key of some length"])
    answer = get(client, operator, f"/v1/templates/{enrolled['templates'][0]['id']}/crop")
    assert (answer.status_code, answer.json()["code"]) == (404, "crop_unreadable")
    assert "ROLLCALL_SECRET_KEY" in answer.json()["detail"]


def test_looking_at_an_unknown_face_is_noted_once(
    client: TestClient, operator: Headers, admin: Headers, camera: Headers
) -> None:
    client.patch("/v1/sites/site_default", json={"unknown_days": 30}, headers=admin)
    event = send(client, camera, photos.grace()).json()["events"][0]
    assert event["outcome"] == "unknown"
    for _ in range(2):
        image_of(get(client, operator, f"/v1/events/{event['id']}/crop"))
    noted = client.get("/v1/audit?action=unknown.viewed", headers=admin).json()["items"]
    assert len(noted) == 1


@pytest.mark.parametrize("path", ["/v1/events/evt_x/crop", "/v1/templates/1/crop", "/v1/people/per_x/portrait"])
def test_a_camera_may_see_no_crop(client: TestClient, camera: Headers, path: str) -> None:
    assert get(client, camera, path).status_code == 403


def test_templates_of_nobody_are_not_found(client: TestClient, operator: Headers) -> None:
    answer = get(client, operator, "/v1/people/per_x/templates")
    assert (answer.status_code, answer.json()["code"]) == (404, "person_not_found")


def test_a_page_is_given_a_drawing_where_there_is_no_crop(client: TestClient, operator: Headers) -> None:
    for path in ("/v1/templates/7/crop", "/v1/events/evt_none/crop", "/v1/people/per_none/portrait"):
        assert get(client, operator, path).status_code == 404
        drawn = get(client, operator, f"{path}?placeholder=true")
        assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/svg+xml")
        assert drawn.text.startswith("<svg") and drawn.headers["cache-control"] == "no-store"

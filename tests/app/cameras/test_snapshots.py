"""What a camera sees right now: asked for, sent, looked at, and gone after minutes."""

from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.cameras.snapshots import ANSWER_S, SnapshotPurger
from app.db.engine import Database
from app.db.tables import AuditEntry, CameraSnapshot, Capture, DecisionRow, Event
from app.db.types import utc_now
from tests.app import photos

Headers = dict[str, str]


def add_camera(client: TestClient, admin: Headers, **policy: Any) -> tuple[str, Headers]:
    made = client.post("/v1/cameras", json={"name": "Front door", "policy": policy}, headers=admin).json()
    return made["id"], {"X-API-Key": made["key"]}


def ask(client: TestClient, headers: Headers, camera_id: str) -> Any:
    return client.post(f"/v1/cameras/{camera_id}/snapshot", headers=headers)


def send(client: TestClient, headers: Headers, snapshot_id: str, image: bytes | None, **fields: str) -> Any:
    files = {"image": ("a.jpg", image)} if image is not None else None
    return client.post(f"/v1/cameras/snapshots/{snapshot_id}", data=fields, files=files, headers=headers)


def look(client: TestClient, headers: Headers, camera_id: str) -> Any:
    return client.get(f"/v1/cameras/{camera_id}/snapshot", headers=headers)


def enrol_grace(client: TestClient, admin: Headers) -> str:
    form = {"employee_code": "E1", "name": "Grace", "consent": "true"}
    files = [("files", (f"{n}.jpg", photos.grace(variant=n))) for n in range(3)]
    answer = client.post("/v1/enroll", data=form, files=files, headers=admin)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["person"]["id"])


def rewind(database: Database, **columns: timedelta) -> None:
    with database.write() as session:
        session.execute(update(CameraSnapshot).values({name: utc_now() - ago for name, ago in columns.items()}))


def test_the_picture_that_was_asked_for_is_shown_with_who_is_in_it_and_makes_no_event(
    client: TestClient, admin: Headers, operator: Headers, database: Database
) -> None:
    person_id = enrol_grace(client, admin)
    camera_id, key = add_camera(client, admin)
    assert client.get("/v1/cameras/snapshots/wanted", headers=key).json() == {"snapshot": None}
    asked = ask(client, operator, camera_id)
    assert (asked.status_code, asked.json()["status"]) == (202, "wanted")
    id_ = asked.json()["id"]
    assert client.get("/v1/cameras/snapshots/wanted", headers=key).json() == {"snapshot": {"id": id_}}
    assert client.post("/v1/cameras/heartbeat", headers=key).json()["snapshot"] == {"id": id_}
    assert send(client, key, id_, photos.grace(variant=3)).status_code == 200
    seen = look(client, operator, camera_id).json()
    (face,) = seen["faces"]
    assert (seen["status"], face["outcome"], face["person"]["id"]) == ("done", "identified", person_id)
    assert face["score"] >= seen["threshold"] and face["reasons"] == [] and seen["timing_ms"]["total"] > 0
    assert client.post("/v1/cameras/heartbeat", headers=key).json()["snapshot"] is None
    image = client.get(f"/v1/cameras/{camera_id}/snapshot/image", headers=operator)
    assert (image.headers["content-type"], image.headers["cache-control"]) == ("image/jpeg", "no-store")
    assert Image.open(BytesIO(image.content)).size == (seen["image"]["width"], seen["image"]["height"])
    with database.read() as session:
        for table in (Event, Capture, DecisionRow):
            assert session.scalars(select(table).limit(1)).first() is None
        actions = session.scalars(
            select(AuditEntry.action).where(AuditEntry.target == camera_id).order_by(AuditEntry.id)
        ).all()
        (kept,) = session.scalars(select(CameraSnapshot))
    assert actions == ["camera.created", "camera.snapshot_asked", "camera.snapshot_viewed"]
    assert kept.sealed_picture is not None and b"JFIF" not in kept.sealed_picture and "Grace" not in str(kept.found)


def test_small_dark_and_unknown_faces_say_what_stands_against_them(
    client: TestClient, admin: Headers, operator: Headers
) -> None:
    camera_id, key = add_camera(client, admin, min_face_px=400)
    send(client, key, ask(client, operator, camera_id).json()["id"], photos.two_people())
    seen = look(client, operator, camera_id).json()
    assert seen["min_face_px"] == 400
    assert [(face["outcome"], face["person"]) for face in seen["faces"]] == [("low_quality", None)] * 2
    assert all("face_too_small" in face["reasons"] and face["size_px"] < 400 for face in seen["faces"])
    camera_id, key = add_camera(client, admin)
    small = Image.open(BytesIO(photos.grace())).resize((150, 176))
    send(client, key, ask(client, operator, camera_id).json()["id"], photos.jpeg(small), min_face_px="20")
    seen = look(client, operator, camera_id).json()
    assert (seen["min_face_px"], [face["outcome"] for face in seen["faces"]]) == (20, ["unknown"])


def test_a_large_picture_is_kept_small_and_its_boxes_count_in_what_was_sent(
    client: TestClient, admin: Headers, operator: Headers
) -> None:
    camera_id, key = add_camera(client, admin)
    large = Image.open(BytesIO(photos.grace())).resize((1920, 2250))
    send(client, key, ask(client, operator, camera_id).json()["id"], photos.jpeg(large))
    seen = look(client, operator, camera_id).json()
    assert seen["image"] == {"width": 1920, "height": 2250}
    assert seen["faces"][0]["size_px"] > 500
    image = client.get(f"/v1/cameras/{camera_id}/snapshot/image", headers=operator)
    assert max(Image.open(BytesIO(image.content)).size) == 1280


def test_only_the_camera_that_was_asked_may_answer_and_only_in_time_and_once(
    client: TestClient, admin: Headers, operator: Headers, database: Database
) -> None:
    camera_id, key = add_camera(client, admin)
    _, other = add_camera(client, admin)
    id_ = ask(client, operator, camera_id).json()["id"]
    for headers in (other, operator, admin):
        refused = send(client, headers, id_, photos.nobody())
        assert (refused.status_code, refused.json()["code"]) == (403, "camera_mismatch")
    assert ask(client, admin, camera_id).json()["id"] == id_
    rewind(database, asked_at=timedelta(seconds=ANSWER_S + 1))
    assert look(client, operator, camera_id).json()["status"] == "unanswered"
    assert client.post("/v1/cameras/heartbeat", headers=key).json()["snapshot"] is None
    assert send(client, key, id_, photos.nobody()).json()["code"] == "snapshot_not_found"
    again = ask(client, operator, camera_id).json()["id"]
    assert again != id_
    assert send(client, key, again, photos.nobody()).json()["faces"] == []
    assert send(client, key, again, photos.nobody()).json()["code"] == "snapshot_not_found"


def test_a_camera_without_a_picture_says_so(client: TestClient, admin: Headers, operator: Headers) -> None:
    camera_id, key = add_camera(client, admin)
    id_ = ask(client, operator, camera_id).json()["id"]
    assert send(client, key, id_, None, trouble="no_picture").status_code == 200
    assert (seen := look(client, operator, camera_id).json())["status"] == "failed" and seen["trouble"] == "no_picture"
    image = client.get(f"/v1/cameras/{camera_id}/snapshot/image", headers=operator)
    assert (image.status_code, image.json()["code"]) == (404, "snapshot_not_taken")
    id_ = ask(client, operator, camera_id).json()["id"]
    assert send(client, key, id_, b"no picture").status_code == 415
    assert look(client, operator, camera_id).json()["trouble"] == "image_invalid"


def test_wrong_fields_of_a_snapshot_are_refused(client: TestClient, admin: Headers, operator: Headers) -> None:
    camera_id, key = add_camera(client, admin)
    id_ = ask(client, operator, camera_id).json()["id"]
    assert send(client, key, id_, None, min_face_px="20").json()["code"] == "fields_invalid"
    assert send(client, key, id_, None, trouble="bored").json()["code"] == "fields_invalid"
    assert send(client, key, id_, photos.nobody(), min_face_px="3").json()["code"] == "fields_invalid"
    assert client.post(f"/v1/cameras/snapshots/{id_}", json={}, headers=key).status_code == 415


def test_cameras_may_not_ask_and_nobody_asks_a_camera_that_is_not_there(
    client: TestClient, admin: Headers, operator: Headers
) -> None:
    camera_id, key = add_camera(client, admin)
    assert ask(client, key, camera_id).status_code == 403
    assert look(client, key, camera_id).status_code == 403
    assert look(client, operator, camera_id).json()["code"] == "snapshot_not_found"
    for call in (ask, look):
        assert call(client, operator, "cam_none").json()["code"] == "camera_not_found"
    client.delete(f"/v1/cameras/{camera_id}", headers=admin)
    assert ask(client, operator, camera_id).json()["code"] == "camera_not_found"


def test_a_picture_is_gone_when_it_expires(
    client: TestClient, admin: Headers, operator: Headers, database: Database
) -> None:
    camera_id, key = add_camera(client, admin)
    send(client, key, ask(client, operator, camera_id).json()["id"], photos.nobody())
    purger = SnapshotPurger(database)
    purger.purge()
    assert look(client, operator, camera_id).json()["status"] == "done"
    rewind(database, expires_at=timedelta(seconds=1))
    assert look(client, operator, camera_id).json()["code"] == "snapshot_not_found"
    purger.purge()
    with database.read() as session:
        assert session.scalars(select(CameraSnapshot)).all() == []


def test_pictures_go_with_the_first_person_who_is_erased(
    client: TestClient, admin: Headers, database: Database
) -> None:
    person_id = enrol_grace(client, admin)
    camera_id, key = add_camera(client, admin)
    send(client, key, ask(client, admin, camera_id).json()["id"], photos.grace(variant=3))
    other, _ = add_camera(client, admin)
    waiting = ask(client, admin, other).json()["id"]
    assert client.delete(f"/v1/people/{person_id}", headers=admin).status_code == 200
    with database.read() as session:
        assert [row.id for row in session.scalars(select(CameraSnapshot))] == [waiting]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_same_idempotency_key_asks_once(client: TestClient, admin: Headers) -> None:
    camera_id, key = add_camera(client, admin)
    headers = {**admin, "Idempotency-Key": "once"}
    first = ask(client, headers, camera_id).json()["id"]
    send(client, key, first, photos.nobody())
    assert ask(client, headers, camera_id).json()["id"] == first
    assert ask(client, admin, camera_id).json()["id"] != first

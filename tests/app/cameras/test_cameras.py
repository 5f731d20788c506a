from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.auth.scopes import Principal, Scope
from app.cameras.schemas import CameraCreate
from app.cameras.service import camera_for, create, saw
from app.db.engine import Database
from app.db.tables import ApiKey, AuditEntry, Camera, IdempotencyKey
from app.db.types import utc_now
from app.errors import ProblemError
from tests.app.factories import NOON, make_principal


def add(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    return client.post("/v1/cameras", json={"name": "Front door", **fields}, headers=headers)


def beat(client: TestClient, key: str | None) -> Any:
    return client.post("/v1/cameras/heartbeat", headers={"X-API-Key": key or ""})


def make_camera(*, database: Database, name: str = "Front door") -> Camera:
    with database.write() as session:
        return create(session, CameraCreate(name=name), "a test")[0]


def test_a_new_camera_has_a_key_of_its_own_and_sensible_defaults(
    client: TestClient, admin: dict[str, str], operator: dict[str, str]
) -> None:
    response = add(client, admin)
    shown = response.json()
    key = shown.pop("key")
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/cameras/{shown['id']}"
    assert (shown["site_id"], shown["timezone"], shown["direction"]) == ("site_default", "UTC", "both")
    assert shown["policy"] == {"min_face_px": None, "min_quality": None, "unknown": "keep", "liveness": "off"}
    assert (shown["is_online"], shown["last_seen_at"], shown["clock_offset_s"]) == (False, None, None)
    assert client.get(f"/v1/cameras/{shown['id']}", headers=operator).json() == shown
    assert beat(client, key).json()["camera"]["id"] == shown["id"]


def test_a_camera_has_the_zone_of_its_site(client: TestClient, admin: dict[str, str]) -> None:
    site = client.post("/v1/sites", json={"name": "Lima", "timezone": "America/Lima"}, headers=admin).json()
    camera = add(client, admin, site_id=site["id"], direction="in").json()
    assert (camera["timezone"], camera["direction"]) == ("America/Lima", "in")
    add(client, admin)
    listed = client.get(f"/v1/cameras?site_id={site['id']}", headers=admin).json()["items"]
    assert [item["id"] for item in listed] == [camera["id"]]


def test_a_key_is_never_stored_so_a_repeated_answer_has_none(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    headers = {**admin, "Idempotency-Key": "once"}
    first, again = add(client, headers).json(), add(client, headers).json()
    assert again == {**first, "key": None}
    url = f"/v1/cameras/{first['id']}/rotate-key"
    rotated, repeated = client.post(url, headers=headers).json(), client.post(url, headers=headers).json()
    assert repeated == {**rotated, "key": None}
    with database.read() as session:
        stored = str(session.scalars(select(IdempotencyKey.body)).all())
        assert len(session.scalars(select(ApiKey).where(ApiKey.camera_id == first["id"])).all()) == 2
    assert first["key"] not in stored
    assert rotated["key"] not in stored
    assert beat(client, rotated["key"]).status_code == 200


def test_a_change_touches_only_what_was_sent(client: TestClient, admin: dict[str, str], database: Database) -> None:
    before = add(client, admin, direction="in").json()
    del before["key"]
    policy = {"min_face_px": 60, "min_quality": 0.4, "unknown": "ignore", "liveness": "off"}
    url = f"/v1/cameras/{before['id']}"
    after = client.patch(url, json={"name": "Gate", "policy": policy}, headers=admin).json()
    assert after == {**before, "name": "Gate", "policy": policy, "updated_at": after["updated_at"]}
    assert client.get(url, headers=admin).json() == after
    with database.read() as session:
        (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "camera.updated"))
    assert (entry.target, entry.detail) == (before["id"], {"fields": ["name", "policy"]})


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": ""}, "fields_invalid"),
        ({"name": None}, "fields_invalid"),
        ({"direction": "sideways"}, "fields_invalid"),
        ({"direction": None}, "fields_invalid"),
        ({"policy": {"min_face_px": 0}}, "fields_invalid"),
        ({"policy": {"min_quality": 1.1}}, "fields_invalid"),
        ({"policy": {"min_quality": "nan"}}, "fields_invalid"),
        ({"policy": {"unknown": "shoot"}}, "fields_invalid"),
        ({"policy": {"unkown": "keep"}}, "fields_invalid"),
        ({"policy": {"liveness": "required"}}, "liveness_unavailable"),
        ({"site_id": "site_none"}, "site_not_found"),
        ({"site": "site_default"}, "fields_invalid"),
    ],
    ids=str,
)
def test_wrong_fields_of_a_camera_are_refused(
    client: TestClient, admin: dict[str, str], wrong: dict[str, Any], code: str
) -> None:
    url = f"/v1/cameras/{add(client, admin).json()['id']}"
    for response in (add(client, admin, **wrong), client.patch(url, json=wrong, headers=admin)):
        assert (response.status_code, response.json()["code"]) == (422, code)
    assert len(client.get("/v1/cameras", headers=admin).json()["items"]) == 1


def test_a_deleted_camera_is_shown_but_not_listed_and_its_keys_are_refused(
    client: TestClient, admin: dict[str, str]
) -> None:
    camera = add(client, admin).json()
    url = f"/v1/cameras/{camera['id']}"
    second = client.post(f"{url}/rotate-key", headers=admin).json()["key"]
    assert client.delete(url, headers=admin).status_code == 204
    for key in (camera["key"], second):
        assert beat(client, key).json()["code"] == "key_unknown"
    assert client.get("/v1/cameras", headers=admin).json()["items"] == []
    assert client.get(url, headers=admin).json()["deleted_at"] is not None
    for call in (("PATCH", url), ("DELETE", url), ("POST", f"{url}/rotate-key")):
        response = client.request(*call, json={}, headers=admin)
        assert (response.status_code, response.json()["code"]) == (404, "camera_not_found")


def test_an_old_key_counts_until_its_grace_ends(client: TestClient, admin: dict[str, str], database: Database) -> None:
    camera = add(client, admin).json()
    url = f"/v1/cameras/{camera['id']}/rotate-key"
    rotated = client.post(url, json={"grace_s": 600}, headers=admin).json()
    assert beat(client, camera["key"]).status_code == beat(client, rotated["key"]).status_code == 200
    with database.write() as session:
        ended = utc_now() - timedelta(seconds=1)
        has_end = ApiKey.camera_id == camera["id"], ApiKey.expires_at.is_not(None)
        session.execute(update(ApiKey).where(*has_end).values(expires_at=ended))
    assert beat(client, camera["key"]).json()["code"] == "key_unknown"
    assert beat(client, rotated["key"]).status_code == 200
    client.post(url, headers=admin)
    with database.read() as session:  # a later rotation gives no old key more time
        oldest = session.scalars(select(ApiKey.expires_at).where(*has_end).order_by(ApiKey.created_at)).first()
    assert oldest == ended


def test_without_grace_an_old_key_ends_at_once(client: TestClient, admin: dict[str, str]) -> None:
    camera = add(client, admin).json()
    url = f"/v1/cameras/{camera['id']}/rotate-key"
    rotated = client.post(url, json={"grace_s": 0}, headers=admin).json()
    assert beat(client, camera["key"]).json()["code"] == "key_unknown"
    assert beat(client, rotated["key"]).status_code == 200
    for grace_s in (-1, 86_401, "soon"):
        assert client.post(url, json={"grace_s": grace_s}, headers=admin).json()["code"] == "fields_invalid"


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "", "operator"),
        ("POST", "", "admin"),
        ("GET", "/cam_1", "operator"),
        ("PATCH", "/cam_1", "admin"),
        ("DELETE", "/cam_1", "admin"),
        ("POST", "/cam_1/rotate-key", "admin"),
    ],
)
def test_operators_read_cameras_and_admins_change_them(
    client: TestClient, camera: dict[str, str], operator: dict[str, str], method: str, path: str, needs: str
) -> None:
    for headers in [camera] if needs == "operator" else [camera, operator]:
        response = client.request(method, f"/v1/cameras{path}", json={}, headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "scope_insufficient")


def test_a_caller_speaks_for_the_camera_of_its_key_or_as_an_operator_for_any(database: Database) -> None:
    door, gate = make_camera(database=database), make_camera(database=database, name="Gate")
    own = Principal("key_1", Scope.CAMERA, door.id)
    with database.read() as session:

        def spoken_for(caller: Principal, camera_id: str | None) -> str | None:
            camera = camera_for(session, caller, camera_id)
            return camera and camera.id

        assert spoken_for(own, None) == spoken_for(own, door.id) == door.id
        assert spoken_for(make_principal(scope="camera"), None) is None
        assert spoken_for(make_principal(scope="operator"), None) is None
        assert spoken_for(make_principal(scope="operator"), gate.id) == gate.id
        for caller in (own, make_principal(scope="camera")):
            with pytest.raises(ProblemError) as refused:
                camera_for(session, caller, gate.id)
            assert (refused.value.status_code, refused.value.code) == (403, "camera_mismatch")
        with pytest.raises(ProblemError) as unknown:
            camera_for(session, make_principal(scope="operator"), "cam_none")
        assert (unknown.value.status_code, unknown.value.code) == (404, "camera_not_found")


def test_a_camera_is_seen_at_most_every_ten_seconds(database: Database) -> None:
    camera = make_camera(database=database)
    for seconds, noted in ((0, 0), (9, 0), (10, 10), (5, 10)):
        with database.write() as session:
            row = session.get_one(Camera, camera.id)
            saw(session, row, NOON + timedelta(seconds=seconds))
        assert row.last_seen_at == NOON + timedelta(seconds=noted)

"""The pages of cameras and the kiosk, as the service renders them, on both databases."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from app.cameras import service
from app.cameras.schemas import CameraCreate, Policy
from app.dashboard.frame.assets import STATIC
from app.db.engine import Database
from app.db.tables import Camera
from app.db.types import utc_now
from tests.app.dashboard.visitors import sign_in


def shown(client: TestClient, path: str = "/cameras") -> str:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return answer.text


def make_camera(database: Database, name: str, **fields: Any) -> str:
    with database.write() as session:
        return service.create(session, CameraCreate(name=name, **fields), "a test")[0].id


def test_without_cameras_the_page_says_what_to_do_first(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database)
    assert "Add the first camera" in shown(client)
    client.cookies.clear()
    sign_in(client=client, database=database, role="operator")
    page = shown(client)
    assert "Ask an administrator to add one." in page and "add-form" not in page


def test_each_camera_says_whether_it_is_there_and_how_wrong_its_clock_is(
    client: TestClient, database: Database
) -> None:
    ids = [make_camera(database, name, direction="in") for name in ("Door", "Gate", "Roof")]
    with database.write() as session:
        for id_, ago in ((ids[0], timedelta(seconds=5)), (ids[1], timedelta(hours=3))):
            values = {"last_seen_at": utc_now() - ago, "clock_offset_s": 3.2}
            session.execute(update(Camera).where(Camera.id == id_).values(**values))
    sign_in(client=client, database=database)
    page = shown(client)
    states = re.findall(r'<span class="badge (\w+)">([^<]+)</span>', page)
    assert states == [("good", "Online"), ("bad", "Silent"), ("warn", "Never seen")]
    assert page.count("3.2 s slow") == 2


def test_one_camera_shows_its_policy_to_administrators_and_its_older_keys_to_everybody(
    client: TestClient, database: Database
) -> None:
    camera_id = make_camera(database, "Door", policy=Policy(min_face_px=60, unknown="ignore"))
    with database.write() as session:
        service.rotate_key(session, camera_id, 3600, "a test")
    sign_in(client=client, database=database)
    page = shown(client, f"/cameras/{camera_id}")
    assert 'value="60"' in page and '<option value="ignore" selected>' in page and "Nobody was seen here yet" in page
    assert "1 older key still counts" in shown(client)
    client.cookies.clear()
    sign_in(client=client, database=database, role="operator")
    page = shown(client, f"/cameras/{camera_id}")
    assert "Take a picture now" in page and "edit-form" not in page and 'id="delete"' not in page


def test_a_camera_that_is_not_there_is_a_page_that_says_so(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database)
    answer = client.get("/cameras/cam_none", headers={"Accept": "text/html"})
    assert answer.status_code == 404 and "There is no camera with this id" in answer.text


def test_the_kiosks_link_is_drawn_for_administrators_from_our_own_page(client: TestClient, database: Database) -> None:
    form = {"link": "https://rollcall.example/kiosk#key=rck_1"}
    headers = sign_in(client=client, database=database)
    drawn = client.post("/cameras/kiosk-code", data=form, headers=headers)
    assert drawn.headers["content-type"].startswith("image/svg+xml") and drawn.headers["cache-control"] == "no-store"
    assert drawn.text.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert client.post("/cameras/kiosk-code", data=form).json()["code"] == "csrf_invalid"
    client.cookies.clear()
    headers = sign_in(client=client, database=database, role="operator")
    assert client.post("/cameras/kiosk-code", data=form, headers=headers).status_code == 403


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_everything_that_the_kiosk_keeps_for_bad_days_is_there(client: TestClient) -> None:
    worker = client.get("/kiosk-worker.js")
    assert worker.headers["cache-control"] == "no-cache"
    found = re.search(r"^const FILES = (.*);$", worker.text, re.MULTILINE)
    assert found is not None
    files = json.loads(found[1])
    for path in files:
        assert client.get(path).status_code == 200, path
    page = client.get("/kiosk").text
    assert set(re.findall(r'(?:href|src)="([^"]+)"', page)) <= set(files)
    for module in (STATIC / "js" / "kiosk").glob("*.js"):
        for name in re.findall(r'from "(\.[^"]+)"', module.read_text(encoding="utf-8")):
            assert f"/assets/{(module.parent / name).resolve().relative_to(STATIC).as_posix()}" in files
    assert client.get("/kiosk.webmanifest").json()["start_url"] == "/kiosk"

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from app.cameras.clocks import clock_offset_s, heartbeat
from app.cameras.queries import forget_clocks
from app.cameras.schemas import CameraCreate, Heartbeat
from app.cameras.service import create
from app.db.engine import Database
from app.db.tables import Camera, CameraClock
from app.db.types import utc_now
from tests.app.factories import NOON, make_principal

HOUR = timedelta(hours=1)


def add(client: TestClient, admin: dict[str, str]) -> dict[str, str]:
    """Headers of a new camera's own key."""
    return {"X-API-Key": client.post("/v1/cameras", json={"name": "Door"}, headers=admin).json()["key"]}


def beat(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    return client.post("/v1/cameras/heartbeat", json=fields, headers=headers)


def make_camera(*, database: Database) -> Camera:
    with database.write() as session:
        return create(session, CameraCreate(name="Door"), "a test")[0]


def measure(*, database: Database, camera: Camera, at: datetime, fast_by: timedelta) -> None:
    """A heartbeat at a true time, of a clock that is fast by so much."""
    sent = Heartbeat(device_time=at + fast_by, camera_id=camera.id)
    with database.write() as session:
        heartbeat(session, make_principal(), sent, at)


def clocks_of(database: Database, camera: Camera) -> list[float]:
    with database.read() as session:
        mine = select(CameraClock.offset_s).where(CameraClock.camera_id == camera.id).order_by(CameraClock.id)
        return list(session.scalars(mine))


def test_a_heartbeat_says_that_a_camera_is_there(client: TestClient, admin: dict[str, str]) -> None:
    headers = add(client, admin)
    answer = client.post("/v1/cameras/heartbeat", headers=headers).json()
    assert answer["clock_offset_s"] is None
    assert answer["gallery_revision"] == 0
    assert abs(datetime.fromisoformat(answer["server_time"]) - utc_now()) < timedelta(minutes=1)
    camera = client.get(f"/v1/cameras/{answer['camera']['id']}", headers=admin).json()
    assert camera["is_online"]
    assert camera["last_seen_at"] == answer["server_time"]
    assert camera["clock_offset_s"] is None


def test_a_camera_that_is_silent_for_long_is_offline(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    answer = beat(client, add(client, admin)).json()
    with database.write() as session:
        session.execute(update(Camera).values(last_seen_at=utc_now() - timedelta(seconds=91)))
    assert not client.get(f"/v1/cameras/{answer['camera']['id']}", headers=admin).json()["is_online"]


@pytest.mark.parametrize("fast_by", [-HOUR, HOUR, timedelta(days=-20_000), timedelta()])
def test_a_heartbeat_measures_how_wrong_the_clock_is(
    client: TestClient, admin: dict[str, str], fast_by: timedelta
) -> None:
    headers = add(client, admin)
    answer = beat(client, headers, device_time=(utc_now() + fast_by).isoformat(), version="1.2").json()
    assert answer["clock_offset_s"] == pytest.approx(-fast_by.total_seconds(), abs=30)
    assert answer["camera"]["clock_offset_s"] == answer["clock_offset_s"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"device_time": "now"},
        {"device_time": "2026-01-01T00:00:00"},
        {"device_time": "0001-01-01T00:00:00+14:00"},
        {"version": "x" * 101},
        {"time": "2026-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_wrong_heartbeats_are_refused(client: TestClient, admin: dict[str, str], wrong: dict[str, str]) -> None:
    response = beat(client, add(client, admin), **wrong)
    assert (response.status_code, response.json()["code"]) == (422, "fields_invalid")


def test_only_a_key_that_is_a_cameras_own_beats_for_it(
    client: TestClient, admin: dict[str, str], camera: dict[str, str], operator: dict[str, str]
) -> None:
    own, other = add(client, admin), add(client, admin)
    camera_id = beat(client, own).json()["camera"]["id"]
    assert (beat(client, camera).status_code, beat(client, camera).json()["code"]) == (403, "camera_unknown")
    for headers in (camera, other):
        response = beat(client, headers, camera_id=camera_id)
        assert (response.status_code, response.json()["code"]) == (403, "camera_mismatch")
    assert beat(client, operator, camera_id=camera_id).json()["camera"]["id"] == camera_id


def test_a_late_capture_is_corrected_by_what_was_measured_nearest_to_it(database: Database) -> None:
    camera = make_camera(database=database)
    measure(database=database, camera=camera, at=NOON, fast_by=HOUR)
    measure(database=database, camera=camera, at=NOON + 4 * HOUR, fast_by=-HOUR)
    # On the camera's own clock the two were measured at 13:00 and 15:00.
    for device_at, offset_h in (
        (NOON - 48 * HOUR, -1),
        (NOON + HOUR, -1),
        (NOON + 1.9 * HOUR, -1),
        (NOON + 2.1 * HOUR, 1),
        (NOON + 3 * HOUR, 1),
        (NOON + 99 * HOUR, 1),
    ):
        with database.read() as session:
            assert clock_offset_s(session, camera, device_at) == 3600 * offset_h


def test_a_clock_that_was_never_measured_is_believed(database: Database) -> None:
    camera, other = make_camera(database=database), make_camera(database=database)
    measure(database=database, camera=other, at=NOON, fast_by=HOUR)
    with database.read() as session:
        assert clock_offset_s(session, camera, NOON) == 0


def test_of_two_measurements_at_one_device_time_the_newer_one_counts(database: Database) -> None:
    camera = make_camera(database=database)
    measure(database=database, camera=camera, at=NOON, fast_by=timedelta())
    measure(database=database, camera=camera, at=NOON + HOUR, fast_by=-HOUR)
    with database.read() as session:
        assert clock_offset_s(session, camera, NOON) == 3600


def test_a_steady_clock_is_noted_now_and_then_and_a_jump_at_once(database: Database) -> None:
    camera = make_camera(database=database)
    for minutes, fast_s in ((0, 5.0), (1, 5.4), (14, 4.6), (15, 5.0), (16, 5.6), (17, 5.0)):
        fast_by = timedelta(seconds=fast_s)
        measure(database=database, camera=camera, at=NOON + timedelta(minutes=minutes), fast_by=fast_by)
    assert clocks_of(database, camera) == [-5.0, -5.0, -5.6, -5.0]


def test_the_oldest_measurements_of_a_camera_are_forgotten(database: Database) -> None:
    camera, other = make_camera(database=database), make_camera(database=database)
    for hours in range(5):
        measure(database=database, camera=camera, at=NOON + hours * HOUR, fast_by=hours * HOUR)
        measure(database=database, camera=other, at=NOON + hours * HOUR, fast_by=hours * HOUR)
    with database.write() as session:
        forget_clocks(session, camera.id, keep=2)
        assert session.scalars(select(func.count()).select_from(CameraClock)).one() == 7
    assert clocks_of(database, camera) == [-3 * 3600, -4 * 3600]
    with database.write() as session:
        forget_clocks(session, camera.id, keep=2)
    assert len(clocks_of(database, camera)) == 2

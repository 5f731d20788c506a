"""Pictures are recorded through REST with the real networks, once each, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response
from PIL import Image, ImageEnhance
from sqlalchemy import delete, func, select, update
from starlette.testclient import TestClient

from app.attendance import queries
from app.attendance.captures import Recorder, Sender, Sent
from app.attendance.moments import DeviceClock
from app.cameras import service as cameras
from app.cameras.schemas import CameraCreate, Policy
from app.crops.keeping import CropKeeper
from app.db.engine import Database
from app.db.tables import (
    CameraClock,
    Capture,
    Day,
    DecisionRow,
    Event,
    IdempotencyKey,
    Person,
    Site,
    UnknownFace,
)
from app.db.types import utc_now
from app.decisions.log import Circumstances, DecisionLog
from app.decisions.retention import DecisionPurger
from app.errors import ProblemError
from app.identification.searcher import Searcher
from app.identification.service import Glance, Identifier
from app.inference.port import Inference
from app.main import create_app
from app.people import service as people
from app.sealing import Sealer
from app.settings import Settings
from tests.app import photos
from tests.app.attendance.factories import BOOKS, refuse_difference
from tests.app.crowd import enrol_crowd
from tests.app.decisions.test_decisions import decided
from tests.app.enrolment.test_enroll import enroll
from tests.app.factories import make_principal

Headers = dict[str, str]


def make_camera(*, database: Database, direction: Any = "both", policy: Policy | None = None) -> tuple[str, Headers]:
    """A camera's id, and headers that carry its key."""
    new = CameraCreate(name="Door", direction=direction, policy=policy or Policy())
    with database.write() as session:
        camera, secret = cameras.create(session, new, "key:test")
        return camera.id, {"X-API-Key": secret}


def make_recorder(*, app: FastAPI) -> Recorder:
    state = app.state
    crops = CropKeeper.of(state.settings, state.sealer)
    return Recorder(state.database, BOOKS, state.decision_log, state.sealer, state.attendance_metrics, 31, crops)


def make_identifier(*, app: FastAPI) -> Identifier:
    state = app.state
    searcher = Searcher(state.inference, state.gallery, state.point_in_force, state.decision_log)
    return Identifier(state.inference, state.image_reader, searcher)


def send(
    client: TestClient,
    headers: Headers,
    image: bytes,
    key: str | None = None,
    device_time: str | None = None,
    **form: str,
) -> Response:
    """One capture; `key` is its Idempotency-Key."""
    sent = {"Idempotency-Key": key, "X-Device-Time": device_time}
    named = {name: value for name, value in sent.items() if value is not None}
    return client.post("/v1/captures", data=form, files={"image": ("a.jpg", image)}, headers={**headers, **named})


def record(client: TestClient, headers: Headers, image: bytes, **sent: Any) -> dict[str, Any]:
    answer = send(client, headers, image, **sent)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def shrunk(image: bytes, share: float) -> bytes:
    with Image.open(BytesIO(image)) as opened:
        small = opened.resize((round(opened.width * share), round(opened.height * share)), Image.Resampling.LANCZOS)
    file = BytesIO()
    small.save(file, "JPEG", quality=95)
    return file.getvalue()


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return int(session.scalars(select(func.count()).select_from(table)).one())


def ago(**delta: float) -> str:
    return (utc_now() - timedelta(**delta)).isoformat()


def test_whoever_is_named_was_there_and_a_stranger_is_an_event_without_a_name(
    client: TestClient, operator: Headers, database: Database
) -> None:
    enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace Hopper")
    camera_id, camera = make_camera(database=database, direction="in")
    answer = record(client, camera, photos.two_people(), captured_at=ago(hours=1))
    assert {face["outcome"] for face in answer["faces"]} == {"identified", "unknown"}
    by_outcome = {event["outcome"]: event for event in answer["events"]}
    named, stranger = by_outcome["identified"], by_outcome["unknown"]
    assert (named["person"]["employee_code"], named["direction"], named["duplicate_of"]) == ("G1", "in", None)
    assert named["explanation"]
    assert (stranger["person"], stranger["explanation"]) == (None, "Nobody was named.")
    assert {face["event_id"] for face in answer["faces"]} == {event["id"] for event in answer["events"]}
    with database.read() as session:
        capture = session.get(Capture, answer["capture"]["id"])
        decision = session.get(DecisionRow, named["id"])
        assert capture is not None
        assert decision is not None
        assert (capture.camera_id, capture.owner) == (camera_id, camera_id)
        assert decision.person_id == named["person"]["id"]
        assert session.scalars(select(Day.n_events)).all() == [1]


def test_a_face_smaller_than_usual_is_found_where_the_sender_or_the_policy_says_how_small(
    client: TestClient, operator: Headers, database: Database
) -> None:
    enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace Hopper")
    _, camera = make_camera(database=database)
    (near,) = record(client, camera, photos.grace())["faces"]
    far = shrunk(photos.grace(), 26 / (near["box_xyxy"][2] - near["box_xyxy"][0]))
    assert record(client, camera, far)["events"] == []
    answer = record(client, camera, far, min_face_px="20")
    (face,) = answer["faces"]
    left, _, right, _ = face["box_xyxy"]
    assert (face["outcome"], face["person"]["employee_code"]) == ("identified", "G1")
    assert 20 < right - left < 36
    _, near_only = make_camera(database=database, policy=Policy(min_face_px=40))
    assert record(client, near_only, far, min_face_px="20")["events"] == []
    _, far_too = make_camera(database=database, policy=Policy(min_face_px=20))
    assert [event["outcome"] for event in record(client, far_too, far)["events"]] == ["identified"]


@pytest.mark.parametrize("given", ["17", "0", "-20", "20.5", "1e3", "many", "10001", "²0"])
def test_a_smallest_face_that_cannot_be_is_refused(client: TestClient, camera: Headers, given: str) -> None:
    answer = send(client, camera, photos.grace(), min_face_px=given)
    assert (answer.status_code, answer.json()["code"]) == (422, "fields_invalid")


def test_a_retry_is_given_the_first_answer_and_later_told_that_it_is_recorded(
    client: TestClient, operator: Headers, database: Database
) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    _, camera = make_camera(database=database)
    captured_at = ago(minutes=3)
    first = send(client, camera, photos.grace(), key="k1", device_time=ago(), captured_at=captured_at)
    again = send(client, camera, photos.grace(), key="k1", device_time=ago(), captured_at=captured_at)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    with database.write() as session:
        session.execute(delete(IdempotencyKey))
    late = send(client, camera, photos.grace(), key="k1", captured_at=captured_at)
    assert (late.status_code, late.json()["code"]) == (409, "capture_recorded")
    assert late.json()["capture_id"] == first.json()["capture"]["id"]
    assert late.json()["event_ids"] == [event["id"] for event in first.json()["events"]]
    assert (count(database, Capture), count(database, Event)) == (1, 1)


def test_a_retry_after_its_person_was_erased_is_told_that_it_is_recorded(
    client: TestClient, operator: Headers, database: Database
) -> None:
    person_id = enroll(client, operator, "G1", photos.grace(), name="Grace").json()["person"]["id"]
    _, camera = make_camera(database=database)
    captured_at = ago(minutes=3)
    first = record(client, camera, photos.grace(), key="k1", captured_at=captured_at)
    with database.write() as session:
        people.erase(session, person_id, make_principal())
    again = send(client, camera, photos.grace(), key="k1", captured_at=captured_at)
    assert (again.status_code, again.json()["code"]) == (409, "capture_recorded")
    assert again.json()["capture_id"] == first["capture"]["id"]
    assert again.json()["event_ids"] == [event["id"] for event in first["events"]]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_key_that_was_used_for_another_picture_or_time_is_refused_for_ever(
    client: TestClient, database: Database
) -> None:
    _, camera = make_camera(database=database)
    captured_at = ago(minutes=3)
    record(client, camera, photos.nobody(), key="k1", captured_at=captured_at)
    with database.write() as session:
        session.execute(delete(IdempotencyKey))
    for image, time in ((photos.eileen(), captured_at), (photos.nobody(), ago(minutes=2))):
        answer = send(client, camera, image, key="k1", captured_at=time)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert send(client, camera, photos.nobody(), key="k1", captured_at=captured_at).status_code == 409


def test_a_cameras_new_key_repeats_nothing_that_its_old_one_sent(
    client: TestClient, operator: Headers, database: Database
) -> None:
    camera_id, camera = make_camera(database=database)
    record(client, camera, photos.nobody(), key="k1")
    with database.write() as session:
        secret, _ = cameras.rotate_key(session, camera_id, 3600, "key:test")
    answer = send(client, {"X-API-Key": secret}, photos.nobody(), key="k1")
    assert (answer.status_code, answer.json()["code"]) == (409, "capture_recorded")


def test_one_capture_sent_twice_at_once_is_recorded_once(
    client: TestClient, operator: Headers, database: Database
) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    _, camera = make_camera(database=database)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: send(client, camera, photos.grace(), key="k1"), range(4)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert any(answer.status_code == 200 for answer in answers)
    assert (count(database, Capture), count(database, Event)) == (1, 1)


def test_captures_of_one_person_at_once_make_the_days_that_all_of_them_make(
    client: TestClient, operator: Headers, database: Database, settings: Settings
) -> None:
    person_id = enroll(client, operator, "G1", photos.grace(), name="Grace").json()["person"]["id"]
    _, camera = make_camera(database=database)
    with database.write() as session:
        session.execute(update(Site).values(timezone="Europe/Berlin"))
    times = [ago(hours=hours) for hours in (1, 4, 4.01, 9, 26, 33)]
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda time: record(client, camera, photos.grace(), captured_at=time), times))
    assert all(len(answer["events"]) == 1 for answer in answers)
    refuse_difference(database=database, people=[person_id])


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_time_is_corrected_by_what_the_devices_clock_lacks(client: TestClient, database: Database) -> None:
    camera_id, camera = make_camera(database=database)
    slow = utc_now() - timedelta(hours=1)
    answer = record(client, camera, photos.nobody(), captured_at=slow.isoformat(), device_time=slow.isoformat())
    assert answer["capture"]["clock_offset_s"] == pytest.approx(3600, abs=5)
    assert datetime.fromisoformat(answer["capture"]["captured_at"]) == slow
    assert abs(datetime.fromisoformat(answer["capture"]["occurred_at"]) - utc_now()) < timedelta(seconds=10)
    with database.write() as session:
        session.add(CameraClock(camera_id=camera_id, device_at=utc_now(), offset_s=-120.0))
    answer = record(client, camera, photos.nobody(), captured_at=ago(hours=2))
    assert answer["capture"]["clock_offset_s"] == -120


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"captured_at": (utc_now() + timedelta(days=1)).isoformat()}, "captured_at_in_future"),
        ({"captured_at": "2016-11-21T09:00:00Z"}, "captured_at_too_old"),
        ({"captured_at": "0001-01-01T00:00:00+14:00"}, "fields_invalid"),
        ({"captured_at": "2026-11-20T09:00:00"}, "fields_invalid"),
        ({"captured_at": "yesterday"}, "fields_invalid"),
        ({"direction": "up"}, "fields_invalid"),
        ({"camera_id": "cam_other"}, "camera_mismatch"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_recorded(
    client: TestClient, database: Database, form: dict[str, str], code: str
) -> None:
    _, camera = make_camera(database=database)
    answer = send(client, camera, photos.nobody(), **form)
    assert answer.json()["code"] == code
    assert answer.status_code == (403 if code == "camera_mismatch" else 422)
    assert count(database, Capture) == 0


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_form_without_a_picture_is_refused(client: TestClient, camera: Headers) -> None:
    assert client.post("/v1/captures", data={"image": "text"}, headers=camera).json()["code"] == "fields_invalid"
    assert client.post("/v1/captures", json={}, headers=camera).json()["code"] == "type_unsupported"
    assert send(client, camera, b"text").json()["code"] == "image_type_unsupported"
    assert send(client, camera, b"text", device_time="noon").json()["code"] == "fields_invalid"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_camera_says_what_is_recorded_of_whom(client: TestClient, operator: Headers, database: Database) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    _, far = make_camera(database=database, policy=Policy(min_face_px=1000))
    _, picky = make_camera(database=database, policy=Policy(min_quality=1.0))
    _, blind = make_camera(database=database, policy=Policy(unknown="ignore"))
    dim = photos.jpeg(ImageEnhance.Brightness(Image.open(BytesIO(photos.grace()))).enhance(0.35))
    assert record(client, blind, dim)["faces"][0]["outcome"] == "identified"
    for headers, reason in ((far, "face_too_small"), (picky, "low_quality")):
        answer = record(client, headers, dim)
        assert answer["faces"][0]["outcome"] == "low_quality"
        assert reason in answer["faces"][0]["quality"]["reasons"]
        assert answer["events"] == []
    answer = record(client, blind, photos.two_people())
    assert [event["outcome"] for event in answer["events"]] == ["identified"]


def test_unknown_faces_are_kept_sealed_where_the_site_allows_it(
    client: TestClient, operator: Headers, database: Database, app: FastAPI
) -> None:
    _, camera = make_camera(database=database)
    _, shy = make_camera(database=database, policy=Policy(unknown="record"))
    record(client, camera, photos.eileen())
    assert count(database, UnknownFace) == 0
    with database.write() as session:
        session.execute(update(Site).values(unknown_days=7))
    record(client, shy, photos.eileen())
    assert count(database, UnknownFace) == 0
    answer = record(client, camera, photos.eileen())
    sealer: Sealer = app.state.sealer
    with database.read() as session:
        face = session.scalars(select(UnknownFace)).one()
    assert face.event_id == answer["events"][0]["id"]
    assert sealer.open(face.sealed_crop).startswith(b"\xff\xd8")
    assert len(sealer.open(face.sealed_embedding)) == 4 * 128


def test_evidence_is_kept_as_long_as_its_event(client: TestClient, operator: Headers, database: Database) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    event = record(client, operator, photos.grace())["events"][0]
    client.post("/v1/identify", files={"image": ("a.jpg", photos.grace())}, headers=operator)
    with database.write() as session:
        session.execute(update(DecisionRow).values(at=utc_now() - timedelta(days=400)))
    assert DecisionPurger(database, retention_days=7).purge() == 1
    shown = client.get(f"/v1/events/{event['id']}", headers=operator).json()
    assert shown["evidence"]["candidates"][0]["person"]["employee_code"] == "G1"
    assert shown["evidence"]["score"] >= shown["evidence"]["threshold"]
    assert shown["capture"]["id"] == shown["capture_id"]


def test_somebody_erased_between_the_search_and_the_writing_is_nobody(
    client: TestClient, operator: Headers, database: Database, app: FastAPI
) -> None:
    person_id = enroll(client, operator, "G1", photos.grace(), name="Grace").json()["person"]["id"]
    with database.write() as session:
        session.execute(update(Site).values(unknown_days=7))
    recorder, sender = make_recorder(app=app), Sender(make_principal(), "req", DeviceClock(None, utc_now()))
    stand = recorder.stand(Sent("", None, None, None, None), sender)
    identifier = make_identifier(app=app)
    seen = identifier.look_at_leisure(photos.grace(), stand.glance(40, 1))
    identified = identifier.judge(seen, "req", sender.principal)
    assert identified.searched.decisions[0].person_id == person_id
    with database.write() as session:
        people.erase(session, person_id, make_principal())
    with database.write() as session:
        answer = recorder.record(session, stand, identified, sender)
    assert [event.outcome for event in answer.events] == ["unknown"]
    assert [face.outcome for face in answer.faces] == ["unknown"]
    assert (count(database, UnknownFace), count(database, Person)) == (0, 0)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_operator_may_speak_for_a_camera(client: TestClient, operator: Headers, database: Database) -> None:
    camera_id, _ = make_camera(database=database, direction="out")
    answer = record(client, operator, photos.eileen(), camera_id=camera_id)
    assert answer["events"][0]["direction"] == "out"
    answer = record(client, operator, photos.eileen(), camera_id=camera_id, direction="in")
    assert answer["events"][0]["direction"] == "in"
    seen = client.get(f"/v1/cameras/{camera_id}", headers=operator).json()
    assert seen["is_online"]
    assert datetime.fromisoformat(seen["last_seen_at"]).astimezone(UTC) <= utc_now()
    assert seen["last_picture_at"] is not None


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_two_captures_that_each_list_the_others_person_do_not_wait_for_each_other(
    app: FastAPI, client: TestClient, database: Database
) -> None:
    a, b = enrol_crowd(database=database, n_people=2)
    log: DecisionLog = app.state.decision_log
    point = app.state.point_in_force.read("dlib-resnet/1")
    ground = Circumstances("req", "key:test", 0.5, point.id, 2, "dlib-resnet/1")
    with database.write() as one, database.write() as other:
        queries.lock_people(one, {a})
        queries.lock_people(other, {b})
        log.store_in(one, [decided([(a, 0.6), (b, 0.4)], 0.5)], ground, [True])
        log.store_in(other, [decided([(b, 0.6), (a, 0.4)], 0.5)], ground, [True])
    assert count(database, DecisionRow) == 2


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_what_is_recorded_is_counted(client: TestClient, operator: Headers, database: Database) -> None:
    record(client, operator, photos.eileen(), key="k")
    record(client, operator, photos.eileen(), key="k")
    metrics = client.get("/metrics").text
    assert 'rollcall_events_total{outcome="unknown"} 1.0' in metrics
    assert "rollcall_captures_written_seconds_count 1.0" in metrics


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_evidence_is_kept_where_nothing_else_is(
    settings: Settings, inference: Inference, database: Database, operator: Headers
) -> None:
    keeping_nothing = settings.model_copy(update={"decision_retention_days": 0})
    with TestClient(create_app(keeping_nothing, inference)) as client:
        answer = record(client, operator, photos.two_people())
        client.post("/v1/identify", files={"image": ("a.jpg", photos.grace())}, headers=operator)
    assert count(database, DecisionRow) == len(answer["events"]) == 2


def test_hostile_words_are_refused_or_find_nothing(client: TestClient, operator: Headers, database: Database) -> None:
    for words in ("\x00", "x" * 30_000, "'; DROP TABLE events; --"):
        assert send(client, operator, photos.nobody(), camera_id=words).status_code in (404, 422)
        for path in ("/v1/events", "/v1/days"):
            answer = client.get(path, params={"person_id": words}, headers=operator)
            assert answer.status_code == 422 or answer.json()["items"] == []
    assert count(database, Capture) == 0


def test_of_two_replicas_that_record_one_capture_at_once_one_is_told_so(
    app: FastAPI, client: TestClient, operator: Headers, database: Database
) -> None:
    enroll(client, operator, "G1", photos.grace(), name="Grace")
    recorder, identifier = make_recorder(app=app), make_identifier(app=app)
    sender = Sender(make_principal(), "req", DeviceClock(None, utc_now()))
    stand = recorder.stand(Sent("", None, None, None, "k1"), sender)
    seen = identifier.look_at_leisure(photos.grace(), Glance(1))
    identified = identifier.judge(seen, "req", sender.principal)

    def commit(_: int) -> str:
        try:
            return recorder.commit(stand, identified, sender).capture.id
        except ProblemError as refused:
            return refused.code

    with ThreadPoolExecutor(3) as threads:
        said = list(threads.map(commit, range(3)))
    assert said.count("capture_recorded") == 2
    assert (count(database, Capture), count(database, Event), count(database, DecisionRow)) == (1, 1, 1)

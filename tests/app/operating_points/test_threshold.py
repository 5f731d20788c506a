"""The threshold through REST, on both databases."""

from time import monotonic, sleep
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import update
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import OperatingPointRow
from app.inference.port import Inference
from app.main import create_app
from app.settings import Settings
from tests.app import photos
from tests.app.crowd import enrol_crowd, enrol_face, face
from tests.app.factories import make_person

Headers = dict[str, str]


def current(client: TestClient, headers: Headers) -> dict[str, Any]:
    answer = client.get("/v1/threshold", headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def put(client: TestClient, headers: Headers, **new: Any) -> dict[str, Any]:
    answer = client.put("/v1/threshold", json=new, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def wait_for_recalibration(client: TestClient, headers: Headers, n_people: int) -> dict[str, Any]:
    """The first answer whose point, in force or suggested, was made for this many people."""
    deadline = monotonic() + 60
    while monotonic() < deadline:
        answer = current(client, headers)
        if n_people in (answer["n_people"], (answer["suggestion"] or answer)["n_people"]):
            return answer
        sleep(0.1)
    raise AssertionError("nothing was recalibrated")


def crowd(app: FastAPI, database: Database, n_people: int = 12) -> list[str]:
    """Enrols people and lets the replica know at once."""
    ids = enrol_crowd(database=database, n_people=n_people)
    app.state.gallery.catch_up()
    return ids


def test_a_new_service_keeps_one_percent_by_the_model_card(client: TestClient, operator: Headers) -> None:
    point = current(client, operator)
    assert (point["mode"], point["target_fpir"], point["created_by"]) == ("auto", 0.01, "system")
    assert (point["method"], point["n_people"], point["suggestion"]) == ("model card", 0, None)
    assert "nobody is enrolled" in point["evidence"]["source"]
    assert point["expected_fpir"]["low"] <= 0.01 <= point["expected_fpir"]["high"]


def test_a_stricter_promise_needs_a_higher_threshold(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    crowd(app, database)
    points = [put(client, admin, mode="auto", preset=preset) for preset in ("relaxed", "normal", "strict")]
    assert [point["target_fpir"] for point in points] == [0.05, 0.01, 0.001]
    assert points[0]["threshold"] < points[1]["threshold"] < points[2]["threshold"]
    assert all(point["expected_fpir"]["value"] == pytest.approx(point["target_fpir"], rel=0.01) for point in points)
    assert points[2]["n_people"] == 12 and points[2]["evidence"]["n_non_mated"] == 36


def test_a_change_counts_from_the_next_request_on_in_every_replica(
    client: TestClient, settings: Settings, inference: Inference, admin: Headers
) -> None:
    with TestClient(create_app(settings, inference)) as other:
        for threshold in (0.4, 0.6):
            point = put(client, admin, mode="manual", threshold=threshold)
            for replica in (client, other):
                seen = replica.post("/v1/identify", files={"image": photos.nobody()}, headers=admin).json()
                assert seen["operating_point"] == {"id": point["id"], "threshold": threshold, "target_fpir": None}


def test_a_restart_keeps_the_threshold(
    client: TestClient, settings: Settings, inference: Inference, admin: Headers
) -> None:
    point = put(client, admin, mode="manual", threshold=0.4321)
    with TestClient(create_app(settings, inference)) as restarted:
        again = current(restarted, admin)
    assert (again["id"], again["threshold"], again["mode"]) == (point["id"], 0.4321, "manual")


def test_in_auto_mode_the_point_follows_the_gallery(
    app: FastAPI, client: TestClient, database: Database, operator: Headers
) -> None:
    before = current(client, operator)
    crowd(app, database)
    after = wait_for_recalibration(client, operator, n_people=12)
    assert after["id"] != before["id"]
    assert (after["created_by"], after["reason"], after["target_fpir"]) == ("system", "templates changed", 0.01)


def test_in_manual_mode_the_threshold_stays_and_another_is_suggested(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    put(client, admin, mode="manual", threshold=0.45, reason="trying it")
    crowd(app, database)
    after = wait_for_recalibration(client, admin, n_people=12)
    assert (after["threshold"], after["mode"], after["reason"]) == (0.45, "manual", "trying it")
    assert (after["suggestion"]["target_fpir"], after["suggestion"]["n_people"]) == (0.01, 12)


def test_back_in_auto_mode_the_last_target_is_kept(client: TestClient, admin: Headers) -> None:
    put(client, admin, mode="auto", target_fpir=0.003)
    put(client, admin, mode="manual", threshold=0.45)
    assert put(client, admin, mode="auto")["target_fpir"] == 0.003


def test_recalibrating_on_demand_answers_with_the_new_point_once_per_key(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    crowd(app, database)
    url, headers = "/v1/threshold/recalibrate", {**admin, "Idempotency-Key": "once"}
    first, again = (client.post(url, headers=headers) for _ in range(2))
    assert first.status_code == 200 and first.json()["n_people"] == 12
    assert again.json() == first.json()
    assert client.post(url, headers=admin).json()["id"] != first.json()["id"]


def test_a_large_gallery_is_recalibrated_in_the_background(
    app: FastAPI, client: TestClient, database: Database, admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(app, database)
    wait_for_recalibration(client, admin, n_people=12)
    monkeypatch.setattr("app.operating_points.calibrator.SMALL_N_TEMPLATES", 10)
    before = current(client, admin)
    answer = client.post("/v1/threshold/recalibrate", headers=admin)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["Location"] == "/v1/threshold"
    deadline = monotonic() + 60
    while (after := current(client, admin))["id"] == before["id"] and monotonic() < deadline:
        sleep(0.1)
    assert after["created_by"].startswith("key:") and after["reason"] == "asked for"


def test_a_large_gallery_without_a_point_starts_by_the_card_and_is_calibrated_later(
    app: FastAPI,
    client: TestClient,
    settings: Settings,
    inference: Inference,
    database: Database,
    admin: Headers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd(app, database)
    wait_for_recalibration(client, admin, n_people=12)
    with database.write() as session:  # as a database is that was filled with another backbone
        session.execute(update(OperatingPointRow).values(model="other/1"))
    monkeypatch.setattr("app.operating_points.calibrator.SMALL_N_TEMPLATES", 10)
    with TestClient(create_app(settings, inference)) as restarted:
        first = current(restarted, admin)
        assert (first["method"], first["n_people"], first["reason"]) == ("model card", 12, "another backbone")
        deadline = monotonic() + 60
        while (later := current(restarted, admin))["method"] == "model card" and monotonic() < deadline:
            sleep(0.1)
    assert later["evidence"]["n_non_mated"] == 36


def test_the_history_says_who_and_why_and_can_be_walked(client: TestClient, admin: Headers) -> None:
    for number in range(3):
        put(client, admin, mode="manual", threshold=0.4 + number / 100, reason=f"try {number}")
    first = client.get("/v1/threshold/history", params={"limit": 4}, headers=admin).json()
    rest = client.get("/v1/threshold/history", params={"cursor": first["next_cursor"]}, headers=admin).json()
    points = first["items"] + rest["items"]
    manual = [point for point in points if point["mode"] == "manual"]
    assert [point["reason"] for point in manual] == ["try 2", "try 1", "try 0"]
    assert all(point["created_by"].startswith("key:") for point in manual)
    assert points[-1]["reason"] == "first start" and rest["next_cursor"] is None
    assert len({point["id"] for point in points}) == len(points) == 7  # each manual one with a suggestion beside it


def test_an_earlier_threshold_can_be_restored_and_then_stays(client: TestClient, admin: Headers) -> None:
    earlier = put(client, admin, mode="auto", preset="strict")
    put(client, admin, mode="auto", preset="relaxed")
    restored = client.post(f"/v1/threshold/history/{earlier['id']}/restore", headers=admin)
    assert restored.status_code == 200
    now = current(client, admin)
    assert (now["threshold"], now["mode"], now["id"]) == (earlier["threshold"], "manual", restored.json()["id"])
    assert earlier["id"] in now["reason"]


def test_what_cannot_be_restored_is_refused(client: TestClient, database: Database, admin: Headers) -> None:
    missing = client.post("/v1/threshold/history/op_none/restore", headers=admin)
    assert (missing.status_code, missing.json()["code"]) == (404, "operating_point_not_found")
    point = current(client, admin)
    with database.write() as session:
        session.execute(update(OperatingPointRow).values(model="other/1"))
    other = client.post(f"/v1/threshold/history/{point['id']}/restore", headers=admin)
    assert (other.status_code, other.json()["code"]) == (409, "model_mismatch")


def test_every_change_is_in_the_audit_trail(client: TestClient, admin: Headers) -> None:
    point = put(client, admin, mode="manual", threshold=0.45)
    client.post(f"/v1/threshold/history/{point['id']}/restore", headers=admin)
    client.post("/v1/threshold/recalibrate", headers=admin)
    entries = client.get("/v1/audit", headers=admin).json()["items"]
    assert [entry["action"] for entry in entries] == [
        "threshold.recalibrated",
        "threshold.restored",
        "threshold.set",
        "threshold.set",
    ]
    assert entries[2]["target"] == point["id"]
    assert entries[2]["detail"] == {
        "mode": "manual",
        "threshold": 0.45,
        "target_fpir": None,
        "is_suggestion": False,
    }
    assert entries[0]["detail"]["is_suggestion"] is True


def test_the_curve_falls_and_rises_and_counts_its_evidence(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    crowd(app, database)
    put(client, admin, mode="auto")
    curve = client.get("/v1/threshold/curve", headers=admin).json()
    assert curve["thresholds"] == sorted(curve["thresholds"])
    assert curve["fpir"] == sorted(curve["fpir"], reverse=True) and curve["fnir"] == sorted(curve["fnir"])
    assert sum(curve["non_mated_histogram"]) == curve["n_non_mated"] == 36
    assert sum(curve["mated_histogram"]) == curve["n_mated"] == 36
    assert len(curve["bin_edges"]) == len(curve["mated_histogram"]) + 1


def test_look_alikes_and_a_mislabelled_photo_are_reported(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    enrol_crowd(database=database, n_people=10)
    with database.write() as session:
        twin_a, twin_b, wrong = (make_person(session=session, name=name) for name in ("Ann", "Bea", "Wrong"))
        enrol_face(session=session, person=twin_a, embeddings=[face(seed=1, photo=i) for i in range(3)])
        enrol_face(session=session, person=twin_b, embeddings=[face(seed=1, photo=i) for i in range(3, 6)])
        mixed = [face(seed=2, photo=0), face(seed=2, photo=1), face(seed=100, photo=9)]
        template_ids = enrol_face(session=session, person=wrong, embeddings=mixed)
    app.state.gallery.catch_up()
    put(client, admin, mode="auto")
    pairs = client.get("/v1/threshold/look-alikes", headers=admin).json()["items"]
    assert {pairs[0]["person_a"]["name"], pairs[0]["person_b"]["name"]} == {"Ann", "Bea"}
    assert pairs[0]["source"] == "look_alike" and pairs[0]["margin"] > 0
    found = client.get("/v1/threshold/suspicious-templates", headers=admin).json()["items"]
    assert [item["template_id"] for item in found] == [str(template_ids[2])]
    assert found[0]["person"]["name"] == "Wrong" and "DELETE /v1/enrolments/" in found[0]["suggestion"]
    client.delete(f"/v1/people/{twin_a.id}", headers=admin)
    assert "Ann" not in client.get("/v1/threshold/look-alikes", headers=admin).text


@pytest.mark.parametrize(
    "new",
    [
        {},
        {"mode": "magic"},
        {"mode": "auto", "target_fpir": 0.0},
        {"mode": "auto", "target_fpir": 0.5},
        {"mode": "auto", "target_fpir": 0.01, "preset": "normal"},
        {"mode": "auto", "preset": "lenient"},
        {"mode": "manual"},
        {"mode": "manual", "threshold": 7},
        {"mode": "manual", "threshold": "nan"},
        {"mode": "manual", "threshold": 0.5, "target_fpir": 0.01},
        {"mode": "manual", "threshold": 0.5, "reason": "x" * 201},
    ],
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_threshold_that_makes_no_sense_is_refused(client: TestClient, admin: Headers, new: dict[str, Any]) -> None:
    before = current(client, admin)
    answer = client.put("/v1/threshold", json=new, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (422, "fields_invalid")
    assert current(client, admin) == before


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_operators_look_and_only_admins_change(client: TestClient, operator: Headers, camera: Headers) -> None:
    paths = ("", "/curve", "/history", "/look-alikes", "/suspicious-templates")
    assert {client.get(f"/v1/threshold{path}", headers=operator).status_code for path in paths} == {200}
    assert {client.get(f"/v1/threshold{path}", headers=camera).status_code for path in paths} == {403}
    new = {"mode": "auto"}
    assert client.put("/v1/threshold", json=new, headers=operator).status_code == 403
    assert client.post("/v1/threshold/recalibrate", headers=operator).status_code == 403
    assert client.post("/v1/threshold/history/op_1/restore", headers=operator).status_code == 403

"""Two replicas with different backbones on one database: the one that came too late refuses, in plain words."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import update
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import DecisionRow, OperatingPointRow
from app.decisions.log import Circumstances
from app.gallery.queries import claim_model
from app.inference.port import Inference
from app.main import create_app
from app.operating_points.queries import lock_state
from app.settings import Settings
from tests.app import photos
from tests.app.crowd import enrol_crowd
from tests.app.decisions.test_decisions import MODEL, decided, judge
from tests.app.enrolment.test_enroll import enroll
from tests.app.operating_points.test_threshold import current, put

Headers = dict[str, str]


@pytest.fixture
def late(settings: Settings, inference: Inference, client: TestClient) -> Iterator[TestClient]:
    """A replica that started with an empty database, before somebody enrolled people with another backbone."""
    app = create_app(settings, inference)
    with TestClient(app) as late:
        app.state.gallery_upkeep.follower.stop()
        database: Database = app.state.database
        with database.write() as session:
            claim_model(session, "sface/1")
        enrol_crowd(database=database, n_people=2)
        yield late


def test_it_neither_enrols_nor_changes_the_threshold(late: TestClient, admin: Headers) -> None:
    answers = [
        enroll(late, admin, "G1", photos.grace(), name="Grace"),
        late.put("/v1/threshold", json={"mode": "auto"}, headers=admin),
        late.post("/v1/threshold/recalibrate", headers=admin),
        late.post("/v1/threshold/preview", json={"threshold": 0.5}, headers=admin),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "gallery_behind")
        assert "sface/1" in answer.json()["detail"] and answer.headers["Retry-After"]
    assert late.get("/v1/people", headers=admin).json()["items"][0]["n_templates"] == 3


def test_a_point_of_another_backbone_names_nobody(client: TestClient, database: Database, admin: Headers) -> None:
    put(client, admin, mode="manual", threshold=0.45)
    with database.write() as session:
        session.execute(update(OperatingPointRow).values(model="sface/1"))
        lock_state(session)
    point_id = current(client, admin)["id"]
    answer = client.post("/v1/identify", files={"image": photos.grace()}, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (503, "model_mismatch")
    assert current(client, admin)["id"] == point_id


def test_what_was_confirmed_with_another_backbone_is_no_evidence(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    a, b = enrol_crowd(database=database, n_people=2)
    before = put(client, admin, mode="auto")["evidence"]["n_mated"]
    circumstances = Circumstances("req", "key:test", 0.5, current(client, admin)["id"], 2, MODEL)
    ours, theirs = app.state.decision_log.store([decided([(a, 0.6), (b, 0.4)], 0.5)] * 2, circumstances)
    for event_id in (ours, theirs):
        judge(client, admin, event_id, correct=True)
    with database.write() as session:
        session.execute(update(DecisionRow).where(DecisionRow.id == theirs).values(model="sface/1"))
    assert put(client, admin, mode="auto")["evidence"]["n_mated"] == before + 1

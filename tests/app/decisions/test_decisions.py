"""Decisions are kept, previewed, judged and forgotten, on both databases."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, text, update
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import DecisionCandidate, DecisionRow
from app.db.types import utc_now
from app.decisions.log import Circumstances, DecidedFace, DecisionLog
from app.settings import Settings
from ml.types import Candidate, Decision, Outcome, Pose, Quality
from tests.app import photos
from tests.app.crowd import enrol_crowd
from tests.app.enrolment.test_enroll import enroll
from tests.app.identification.test_identify import identify

Headers = dict[str, str]
MODEL = "dlib-resnet/1"
QUALITY = Quality(
    score=0.9, pose=Pose(0.0, 0.0, 0.0), size_px=90.0, sharpness=1.0, brightness=120.0, detection_score=0.99
)


def decided(ranked: Sequence[tuple[str, float]], threshold: float, *, is_held_back: bool = False) -> DecidedFace:
    """A face with these candidates, decided at a threshold."""
    candidates = tuple(
        Candidate(person_id, score, rank, template_id=1) for rank, (person_id, score) in enumerate(ranked, start=1)
    )
    is_named = candidates[0].score >= threshold and not is_held_back
    outcome = Outcome.IDENTIFIED if is_named else Outcome.UNKNOWN
    margin = candidates[0].score - candidates[1].score if len(candidates) > 1 else None
    person_id = candidates[0].person_id if is_named else None
    return DecidedFace(Decision(outcome, person_id, candidates[0].score, margin, candidates), QUALITY, ())


@pytest.fixture
def people(app: FastAPI, client: TestClient, database: Database) -> list[str]:
    ids = enrol_crowd(database=database, n_people=3)
    app.state.gallery.catch_up()
    return ids


@pytest.fixture
def circumstances(app: FastAPI, people: list[str]) -> Circumstances:
    point = app.state.point_in_force.read()
    return Circumstances("req", "key:test", 0.5, point.id, 3, MODEL)


@pytest.fixture
def log(app: FastAPI) -> DecisionLog:
    log: DecisionLog = app.state.decision_log
    return log


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def judge(client: TestClient, headers: Headers, event_id: str | None, **feedback: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/events/{event_id}/feedback", json=feedback, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_each_face_identified_is_an_event_with_odds(
    client: TestClient, operator: Headers, database: Database, app: FastAPI
) -> None:
    enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace Hopper")
    face = identify(client, operator, photos.grace(variant=4))["faces"][0]
    stranger = identify(client, operator, photos.eileen())["faces"][0]
    assert face["odds"] > 1000 and 1 <= stranger["odds"] < 100
    with database.read() as session:
        rows = {row.id: row for row in session.scalars(select(DecisionRow))}
    assert set(rows) == {face["event_id"], stranger["event_id"]}
    named = rows[face["event_id"]]
    assert (named.outcome, named.person_id) == ("identified", face["person"]["id"])
    assert named.score == pytest.approx(face["score"], abs=1e-6)
    assert rows[stranger["event_id"]].person_id is None


def test_callers_at_the_same_time_all_get_their_events_stored(
    log: DecisionLog, people: list[str], circumstances: Circumstances, database: Database
) -> None:
    def store(_: int) -> list[str | None]:
        return log.store([decided([(people[0], 0.6), (people[1], 0.4)], 0.5)] * 2, circumstances)

    with ThreadPoolExecutor(16) as pool:
        ids = [event_id for stored in pool.map(store, range(100)) for event_id in stored]
    assert None not in ids and len(set(ids)) == 200
    assert (count(database, DecisionRow), count(database, DecisionCandidate)) == (200, 400)


def test_somebody_erased_in_between_is_left_out(
    log: DecisionLog, people: list[str], circumstances: Circumstances, database: Database
) -> None:
    assert log.store([decided([("per_gone", 0.6), (people[1], 0.4)], 0.5)], circumstances)[0] is not None
    with database.read() as session:
        assert session.scalars(select(DecisionRow.person_id)).all() == [None]
        assert session.scalars(select(DecisionCandidate.person_id)).all() == [people[1]]


def test_who_somebody_is_is_answered_even_when_it_cannot_be_kept(
    client: TestClient, operator: Headers, database: Database
) -> None:
    with database.write() as session:
        session.execute(text("ALTER TABLE decisions RENAME TO elsewhere"))
    assert identify(client, operator, photos.grace())["faces"][0]["event_id"] is None


def test_nothing_is_kept_where_the_settings_say_so(database: Database, circumstances: Circumstances) -> None:
    face = decided([("per_x", 0.6)], 0.5)
    assert DecisionLog(database, retention_days=0).store([face], circumstances) == [None]
    assert count(database, DecisionRow) == 0


def test_old_decisions_are_deleted(
    database: Database, settings: Settings, people: list[str], circumstances: Circumstances
) -> None:
    face = decided([(people[0], 0.6)], 0.5)
    old = DecisionLog(database, retention_days=7).store([face, face], circumstances)[0]
    with database.write() as session:
        session.execute(
            update(DecisionRow).where(DecisionRow.id == old).values(at=utc_now() - timedelta(days=7, minutes=1))
        )
    new = DecisionLog(database, retention_days=7).store([face], circumstances)[0]
    with database.read() as session:
        left = set(session.scalars(select(DecisionRow.id)))
    assert old not in left and new in left and len(left) == 2
    assert count(database, DecisionCandidate) == 2


def test_erasing_a_person_leaves_events_without_them(
    client: TestClient,
    operator: Headers,
    log: DecisionLog,
    people: list[str],
    circumstances: Circumstances,
    database: Database,
) -> None:
    faces = [decided([(people[0], 0.6), (people[1], 0.4)], 0.5), decided([(people[1], 0.6), (people[0], 0.4)], 0.5)]
    log.store([*faces, decided([(people[2], 0.6)], 0.5)], circumstances)
    receipt = client.delete(f"/v1/people/{people[0]}", headers=operator).json()
    assert receipt["events_anonymised"] == 2
    with database.read() as session:
        assert sorted(session.scalars(select(DecisionCandidate.person_id))) == sorted([people[1], people[1], people[2]])
        named = session.scalars(select(DecisionRow.person_id)).all()
    assert sorted(named, key=str) == sorted([None, people[1], people[2]], key=str)


def test_a_preview_lists_what_another_threshold_would_have_changed(
    client: TestClient, operator: Headers, log: DecisionLog, people: list[str], circumstances: Circumstances
) -> None:
    a, b, _ = people
    faces = [
        decided([(a, 0.70), (b, 0.3)], 0.5),
        decided([(a, 0.55), (b, 0.3)], 0.5),
        decided([(b, 0.45), (a, 0.3)], 0.5),
        decided([(b, 0.20), (a, 0.1)], 0.5),
        decided([(b, 0.58), (a, 0.57)], 0.5, is_held_back=True),
    ]
    ids = log.store(faces, circumstances)

    def preview(threshold: float) -> dict[str, Any]:
        answer = client.post("/v1/threshold/preview", json={"threshold": threshold}, headers=operator)
        return dict(answer.json())

    assert preview(0.5)["changes"] == []
    assert (preview(0.5)["n_events"], preview(0.5)["n_named"]) == (5, 2)
    stricter = preview(0.6)
    assert (stricter["n_no_longer_named"], stricter["n_newly_named"]) == (1, 0)
    assert [(c["event_id"], c["new_outcome"], c["person"]["id"]) for c in stricter["changes"]] == [
        (ids[1], "unknown", a)
    ]
    at_score = preview(0.45)  # a score equal to the threshold names somebody
    assert [(c["event_id"], c["new_outcome"], c["person"]["id"]) for c in at_score["changes"]] == [
        (ids[2], "identified", b)
    ]
    assert preview(0.55)["changes"] == []
    assert stricter["expected_fpir"]["value"] < at_score["expected_fpir"]["value"]


def test_not_this_person_raises_the_bar_for_that_pair_only_from_the_next_request_on(
    app: FastAPI,
    client: TestClient,
    operator: Headers,
    log: DecisionLog,
    people: list[str],
    circumstances: Circumstances,
) -> None:
    a, b, c = people
    event_id = log.store([decided([(a, 0.60), (b, 0.57), (c, 0.3)], 0.5)], circumstances)[0]
    raised = judge(client, operator, event_id, correct=False)["raised"]
    assert [raised["person_a"], raised["person_b"]] == sorted([a, b])
    assert raised["margin"] > 0.03
    margins = app.state.point_in_force.read().margins
    assert margins == {(raised["person_a"], raised["person_b"]): raised["margin"]}
    shown = client.get("/v1/threshold/look-alikes", headers=operator).json()["items"]
    assert [item["source"] for item in shown] == ["feedback"]


def test_the_bar_is_raised_between_the_one_named_and_the_one_it_was(
    client: TestClient, operator: Headers, log: DecisionLog, people: list[str], circumstances: Circumstances
) -> None:
    a, b, c = people
    event_id = log.store([decided([(a, 0.60), (b, 0.57), (c, 0.56)], 0.5)], circumstances)[0]
    raised = judge(client, operator, event_id, correct=False, person_id=c)["raised"]
    assert [raised["person_a"], raised["person_b"]] == sorted([a, c])


def test_an_operator_may_change_their_mind(
    app: FastAPI,
    client: TestClient,
    operator: Headers,
    log: DecisionLog,
    people: list[str],
    circumstances: Circumstances,
) -> None:
    event_id = log.store([decided([(people[0], 0.60), (people[1], 0.57)], 0.5)], circumstances)[0]
    judge(client, operator, event_id, correct=False)
    assert judge(client, operator, event_id, correct=True)["raised"] is None
    assert app.state.point_in_force.read().margins == {}


def test_a_stranger_far_from_everybody_else_does_not_lock_the_named_person_out(
    client: TestClient, operator: Headers, log: DecisionLog, people: list[str], circumstances: Circumstances
) -> None:
    event_id = log.store([decided([(people[0], 0.60), (people[1], 0.10)], 0.5)], circumstances)[0]
    assert judge(client, operator, event_id, correct=False)["raised"]["margin"] <= 0.1


def test_confirmed_decisions_become_evidence(
    app: FastAPI,
    client: TestClient,
    operator: Headers,
    log: DecisionLog,
    people: list[str],
    circumstances: Circumstances,
    admin: Headers,
) -> None:
    a, b, _ = people
    before = client.put("/v1/threshold", json={"mode": "auto"}, headers=admin).json()["evidence"]["n_mated"]
    faces = [decided([(a, 0.6), (b, 0.4)], 0.5), decided([(b, 0.45), (a, 0.4)], 0.5), decided([(b, 0.6)], 0.5)]
    right, missed, wrong = log.store(faces, circumstances)
    judge(client, operator, right, correct=True)
    judge(client, operator, missed, correct=False, person_id=b)
    judge(client, operator, wrong, correct=False)  # says who it was not: no evidence of anybody
    after = client.put("/v1/threshold", json={"mode": "auto"}, headers=admin).json()["evidence"]["n_mated"]
    assert after == before + 2


def test_feedback_on_nothing_is_refused(
    client: TestClient,
    operator: Headers,
    camera: Headers,
    log: DecisionLog,
    people: list[str],
    circumstances: Circumstances,
) -> None:
    event_id = log.store([decided([(people[0], 0.6)], 0.5)], circumstances)[0]

    def code(url: str, headers: Headers, **feedback: Any) -> tuple[int, str]:
        answer = client.post(url, json=feedback, headers=headers)
        return answer.status_code, answer.json()["code"]

    url = f"/v1/events/{event_id}/feedback"
    assert code("/v1/events/evt_none/feedback", operator, correct=True) == (404, "event_not_found")
    assert code(url, operator, correct=True, person_id="per_none") == (404, "person_not_found")
    assert code(url, operator) == (422, "fields_invalid")
    assert code(url, camera, correct=True) == (403, "scope_insufficient")

"""Decisions are kept, previewed, judged and forgotten, on both databases."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import sleep
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, text
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import DecisionCandidate, DecisionRow
from app.decisions.log import Circumstances, DecidedFace, DecisionLog
from app.people import service as people_service
from ml.types import Candidate, Decision, Outcome, Pose, Quality
from tests.app import photos
from tests.app.crowd import enrol_crowd
from tests.app.enrolment.test_enroll import enroll
from tests.app.factories import make_person, make_principal
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
    point = app.state.point_in_force.read(MODEL)
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
        decided([(b, 0.46), (a, 0.455)], 0.5),
    ]
    ids = [log.store([face], replace(circumstances, request_id=f"req {i}"))[0] for i, face in enumerate(faces)]
    held_apart = log.store([decided([(a, 0.6), (b, 0.59)], 0.5)], circumstances)[0]
    judge(client, operator, held_apart, correct=False)  # from now on the two need a lead over each other

    def preview(threshold: float) -> dict[str, Any]:
        answer = client.post("/v1/threshold/preview", json={"threshold": threshold}, headers=operator)
        return dict(answer.json())

    assert preview(0.5)["changes"] == []
    assert (preview(0.5)["n_events"], preview(0.5)["n_named"]) == (7, 3)
    stricter = preview(0.56)
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
    margins = app.state.point_in_force.read(MODEL).margins
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


@pytest.mark.parametrize(
    ("ranked", "feedback", "advice"),
    [
        ([0.6, 0.4], {"correct": True, "person": 1}, "send correct=false with this person_id"),
        ([0.6, 0.4], {"correct": False, "person": 0}, "send correct=true"),
        ([0.4, 0.3], {"correct": True, "person": 0}, "names nobody"),
    ],
)
def test_feedback_that_contradicts_itself_is_refused_and_changes_nothing(
    client: TestClient,
    operator: Headers,
    log: DecisionLog,
    people: list[str],
    circumstances: Circumstances,
    database: Database,
    ranked: list[float],
    feedback: dict[str, Any],
    advice: str,
) -> None:
    event_id = log.store([decided(list(zip(people, ranked, strict=False)), 0.5)], circumstances)[0]
    body = {"correct": feedback["correct"], "person_id": people[feedback["person"]]}
    answer = client.post(f"/v1/events/{event_id}/feedback", json=body, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (422, "feedback_contradictory")
    assert advice in answer.json()["detail"]
    with database.read() as session:
        assert session.scalars(select(DecisionRow.is_correct)).all() == [None]


def test_feedback_that_says_the_same_twice_is_taken(
    client: TestClient, operator: Headers, log: DecisionLog, people: list[str], circumstances: Circumstances
) -> None:
    named, unknown = log.store([decided([(people[0], 0.6)], 0.5), decided([(people[0], 0.4)], 0.5)], circumstances)
    judge(client, operator, named, correct=True, person_id=people[0])
    judge(client, operator, named, correct=False, person_id=people[1])
    judge(client, operator, unknown, correct=True)
    judge(client, operator, unknown, correct=False, person_id=people[0])


def test_of_two_complaints_about_a_pair_the_one_that_is_not_taken_back_still_counts(
    app: FastAPI,
    client: TestClient,
    operator: Headers,
    log: DecisionLog,
    people: list[str],
    circumstances: Circumstances,
) -> None:
    a, b, _ = people
    faces = [decided([(a, 0.60), (b, 0.57)], 0.5), decided([(b, 0.80), (a, 0.55)], 0.5)]
    mild, grave = log.store(faces, circumstances)
    smaller = judge(client, operator, mild, correct=False)["raised"]["margin"]
    larger = judge(client, operator, grave, correct=False)["raised"]["margin"]
    assert smaller < larger
    pair = (min(a, b), max(a, b))
    judge(client, operator, mild, correct=False)  # said again: no second complaint
    assert app.state.point_in_force.read(MODEL).margins == {pair: larger}
    judge(client, operator, grave, correct=True)
    assert app.state.point_in_force.read(MODEL).margins == {pair: smaller}
    judge(client, operator, mild, correct=True)
    assert app.state.point_in_force.read(MODEL).margins == {}


@pytest.mark.parametrize("is_enrolled", [True, False])
def test_judging_waits_for_an_erasure_and_then_knows_of_it(
    client: TestClient,
    operator: Headers,
    log: DecisionLog,
    people: list[str],
    circumstances: Circumstances,
    database: Database,
    is_enrolled: bool,
) -> None:
    named, other, _ = people
    if not is_enrolled:
        with database.write() as session:
            other = make_person(session=session).id
    event_id = log.store([decided([(named, 0.6), (other, 0.5)], 0.5)], circumstances)[0]
    body = {"correct": False, "person_id": other}
    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            people_service.erase(session, other, make_principal())
            judging = pool.submit(client.post, f"/v1/events/{event_id}/feedback", json=body, headers=operator)
            sleep(0.3)
            assert not judging.done()
        answer = judging.result()
    assert (answer.status_code, answer.json()["code"]) == (404, "person_not_found")


def test_people_are_erased_changed_and_judged_at_the_same_time(
    client: TestClient,
    operator: Headers,
    log: DecisionLog,
    circumstances: Circumstances,
    database: Database,
) -> None:
    people = enrol_crowd(database=database, n_people=12, n_photos=1, first_seed=500)
    faces = [decided([(a, 0.6), (b, 0.5)], 0.5) for a, b in zip(people, people[1:], strict=False)]
    event_ids = log.store(faces, circumstances)

    def erase(number: int) -> int:
        return client.delete(f"/v1/people/{people[number]}", headers=operator).status_code

    def deactivate(number: int) -> int:
        return client.patch(f"/v1/people/{people[number]}", json={"active": False}, headers=operator).status_code

    def complain(number: int) -> int:
        body = {"correct": False, "person_id": people[number + 1]}
        return client.post(f"/v1/events/{event_ids[number]}/feedback", json=body, headers=operator).status_code

    with ThreadPoolExecutor(8) as pool:
        deeds = [pool.submit(deed, number) for number in range(11) for deed in (complain, deactivate, erase, complain)]
    assert {deed.result() for deed in deeds} <= {200, 404}


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
    assert app.state.point_in_force.read(MODEL).margins == {}


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

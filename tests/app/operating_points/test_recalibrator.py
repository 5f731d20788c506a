"""When a calibration is due, and on whose behalf it is made."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import event, select, text
from starlette.testclient import TestClient

from app.db.engine import Database, open_database
from app.db.tables import OperatingPointRow
from app.inference.port import Inference
from app.main import create_app
from app.operating_points.recalibrator import Waiting, is_due
from app.operating_points.service import request_recalibration, set_auto
from app.settings import Settings
from tests.app.crowd import enrol_crowd
from tests.app.factories import make_headers
from tests.app.operating_points.test_threshold import crowd, current, put, wait_for_recalibration

Headers = dict[str, str]


def waiting(*, first: float = 100.0, last: float = 100.0, ended: float = 0.0, took: float = 0.0) -> Waiting:
    return Waiting(first_change_s=first, last_change_s=last, last_end_s=ended, last_took_s=took)


def test_changes_are_waited_out() -> None:
    assert not is_due(100.5, waiting())
    assert is_due(101.0, waiting())


def test_changes_that_never_end_are_not_waited_for() -> None:
    assert not is_due(109.0, waiting(last=108.9))
    assert is_due(110.0, waiting(last=109.9))


def test_a_slow_calibration_is_followed_by_a_rest_ten_times_as_long() -> None:
    assert not is_due(149.0, waiting(ended=100.0, took=5.0))
    assert is_due(150.0, waiting(ended=100.0, took=5.0))


@pytest.fixture
def large(
    app: FastAPI, client: TestClient, database: Database, admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> TestClient:
    """A service whose gallery counts as large, calibrated."""
    crowd(app, database)
    wait_for_recalibration(client, admin, n_people=12)
    monkeypatch.setattr("app.operating_points.calibrator.SMALL_N_TEMPLATES", 10)
    return client


def asked_for(database: Database) -> list[str]:
    """Who got a point that was asked for, in order."""
    with database.read() as session:
        rows = select(OperatingPointRow).where(OperatingPointRow.reason == "asked for")
        return [row.created_by for row in session.scalars(rows.order_by(OperatingPointRow.created_at))]


def await_true(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline, "it did not come true in time"
        sleep(0.05)


def test_a_queued_answer_is_given_again_and_nothing_is_calculated_twice(
    large: TestClient, database: Database, admin: Headers
) -> None:
    headers = {**admin, "Idempotency-Key": "once"}
    first = large.post("/v1/threshold/recalibrate", headers=headers)
    await_true(lambda: len(asked_for(database)) == 1)
    again = large.post("/v1/threshold/recalibrate", headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert (again.json(), again.headers["Location"]) == (first.json(), "/v1/threshold")
    assert again.headers["Idempotent-Replayed"] == "true"
    sleep(0.6)
    assert len(asked_for(database)) == 1


def test_everybody_who_asks_gets_a_point_of_their_own(large: TestClient, database: Database) -> None:
    admins = [make_headers(database=database, scope="admin") for _ in range(3)]
    for headers in admins:
        assert large.post("/v1/threshold/recalibrate", headers=headers).status_code == 202
    await_true(lambda: len(asked_for(database)) == 3)
    assert len(set(asked_for(database))) == 3


def test_who_asks_while_a_calibration_runs_is_not_forgotten(
    app: FastAPI, large: TestClient, database: Database
) -> None:
    assert large
    late = ["key:late"]

    def ask(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM templates JOIN enrolments" in statement and late:
            with database.write() as session:
                request_recalibration(session, late.pop())

    event.listen(database.engine, "before_cursor_execute", ask)
    enrol_crowd(database=database, n_people=1, first_seed=900)
    await_true(lambda: not late)
    await_true(lambda: asked_for(database) == ["key:late"])


def test_who_asked_while_the_database_was_away_gets_their_point_later(
    large: TestClient, database: Database, admin: Headers
) -> None:
    with database.write() as session:
        session.execute(text("ALTER TABLE suspicious_templates RENAME TO mislaid"))
    assert large.post("/v1/threshold/recalibrate", headers=admin).status_code == 202
    sleep(0.8)
    with database.write() as session:
        session.execute(text("ALTER TABLE mislaid RENAME TO suspicious_templates"))
    await_true(lambda: len(asked_for(database)) == 1)


def test_who_was_told_to_wait_gets_their_point_from_whichever_replica_is_left(
    large: TestClient, app: FastAPI, settings: Settings, inference: Inference, database: Database, admin: Headers
) -> None:
    app.state.recalibrator.stop()  # as if its process died right after the answer
    assert large.post("/v1/threshold/recalibrate", headers=admin).status_code == 202
    with TestClient(create_app(settings, inference)):
        await_true(lambda: len(asked_for(database)) == 1)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_of_two_replicas_one_calibrates(
    client: TestClient, app: FastAPI, settings: Settings, inference: Inference, database: Database, admin: Headers
) -> None:
    other = create_app(settings, inference)
    with TestClient(other):
        with database.alone("recalibration") as is_ours:
            assert is_ours
            crowd(app, database)
            sleep(2.5)
            assert current(client, admin)["n_people"] == 0
        wait_for_recalibration(client, admin, n_people=12)
        sleep(1.5)
    with database.read() as session:
        points = session.scalars(select(OperatingPointRow).where(OperatingPointRow.n_people == 12)).all()
    assert len(points) == 1


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_only_one_can_be_alone_and_the_next_one_after_it(database: Database, settings: Settings) -> None:
    other = open_database(settings)
    with database.alone("a"), other.alone("a") as is_other, other.alone("b") as is_another:
        assert (is_other, is_another) == (False, True)
    with other.alone("a") as is_other:
        assert is_other
    other.dispose()


def test_after_a_restart_of_a_large_gallery_the_card_answers_at_once_and_says_so(
    large: TestClient, settings: Settings, inference: Inference, database: Database, admin: Headers
) -> None:
    assert large
    with TestClient(create_app(settings, inference)) as restarted:
        preview = restarted.post("/v1/threshold/preview", json={"threshold": 0.5}, headers=admin).json()
        assert preview["method"] == "model card"
        first = put(restarted, admin, mode="auto", target_fpir=0.02)
        if first["method"] == "model card":  # unless the background was faster
            assert first["evidence"]["n_non_mated"] == 0 and "not been searched" in first["evidence"]["source"]
        await_true(lambda: current(restarted, admin)["evidence"]["n_non_mated"] == 36)
        after = current(restarted, admin)
        by = "system" if first["method"] == "model card" else first["created_by"]
        assert (after["target_fpir"], after["created_by"]) == (0.02, by)
        again = restarted.post("/v1/threshold/preview", json={"threshold": 0.5}, headers=admin).json()
        assert again["method"] != "model card"


def test_the_cards_word_that_comes_after_a_calibration_is_replaced_too(
    large: TestClient, app: FastAPI, database: Database, admin: Headers
) -> None:
    """Whoever asked the card before the background was done may commit after it."""
    late = app.state.calibrator.from_card()
    assert current(large, admin)["evidence"]["n_non_mated"] == 36
    with database.write_in_turn() as session:
        set_auto(session, late, 0.03, "key_late", None)
    await_true(lambda: current(large, admin)["evidence"]["n_non_mated"] == 36)
    assert current(large, admin)["target_fpir"] == 0.03


def test_what_was_found_stands_while_only_the_card_speaks(
    large: TestClient, settings: Settings, inference: Inference, admin: Headers
) -> None:
    found = large.get("/v1/threshold/look-alikes", headers=admin).json()
    assert (found["n_searched"], found["n_templates"]) == (36, 36)
    with TestClient(create_app(settings, inference)) as restarted:
        put(restarted, admin, mode="manual", threshold=0.45)
        assert restarted.get("/v1/threshold/look-alikes", headers=admin).json() == found


def test_a_calibration_sees_what_another_replica_has_just_enrolled(settings: Settings, inference: Inference) -> None:
    app = create_app(settings, inference)
    with TestClient(app) as client:
        app.state.gallery_upkeep.follower.stop()
        database: Database = app.state.database
        admin = make_headers(database=database, scope="admin")
        for number, calibrate in enumerate(
            (
                lambda: put(client, admin, mode="auto"),
                lambda: client.post("/v1/threshold/recalibrate", headers=admin).json(),
            ),
            start=1,
        ):
            enrol_crowd(database=database, n_people=2, first_seed=100 * number)
            assert calibrate()["n_people"] == 2 * number


def test_suggestions_are_told_from_what_was_in_force_and_keep_no_curves(
    client: TestClient, database: Database, admin: Headers
) -> None:
    assert put(client, admin, mode="manual", threshold=0.45)["is_suggestion"] is False
    for _ in range(2):
        assert client.post("/v1/threshold/recalibrate", headers=admin).json()["is_suggestion"] is True
    assert current(client, admin)["is_suggestion"] is False
    suggestion = current(client, admin)["suggestion"]
    assert suggestion["is_suggestion"] is True
    history = client.get("/v1/threshold/history", headers=admin).json()["items"]
    assert [point["is_suggestion"] for point in history] == [True, True, True, False, False]
    with database.read() as session:
        kept = select(OperatingPointRow.id).where(OperatingPointRow.is_suggestion)
        with_curves = [row.id for row in session.scalars(select(OperatingPointRow)) if row.curves]
        superseded = set(session.scalars(kept)) - {suggestion["id"]}
    assert len(superseded) == 2 and not superseded & set(with_curves)
    assert suggestion["id"] in with_curves
    put(client, admin, mode="auto")
    assert client.get("/v1/threshold/curve", headers=admin).status_code == 200


def test_of_people_who_have_nothing_but_one_clip_nobody_knows_how_often_they_are_missed(
    app: FastAPI, client: TestClient, database: Database, admin: Headers
) -> None:
    crowd(app, database, n_people=4)
    assert put(client, admin, mode="auto")["evidence"]["n_mated"] == 12
    with database.write() as session:
        session.execute(text("UPDATE enrolments SET kind = 'video'"))
    enrol_crowd(database=database, n_people=1, first_seed=900)
    evidence = put(client, admin, mode="auto")["evidence"]
    assert (evidence["n_mated"], evidence["n_non_mated"]) == (3, 15)

"""No request may hold one connection while it waits for another: enough of them at once would wait for each other."""

from collections.abc import Iterator
from threading import Event, Thread
from time import monotonic, sleep

import pytest
from fastapi import FastAPI
from sqlalchemy import URL, text
from starlette.testclient import TestClient

from app.db.engine import Database, TooManyWritersError, make_engine, open_database
from app.errors import problem_for
from app.gallery.queries import lock_gallery
from app.gallery.replica import GalleryReplica
from app.inference.port import Inference
from app.main import create_app
from app.settings import Settings
from tests.app import photos
from tests.app.enrolment.test_enroll import enroll
from tests.app.factories import make_person, make_template
from tests.app.identification.test_identify import identify

Headers = dict[str, str]


@pytest.fixture
def app(settings: Settings, inference: Inference) -> FastAPI:
    """With two connections: as many again as are kept are opened under load."""
    return create_app(settings.model_copy(update={"db_pool_size": 1}), inference)


@pytest.fixture
def last_connection(database: Database, admin: Headers) -> Iterator[None]:
    """All but one connection are taken."""
    with database.engine.connect():
        yield


@pytest.mark.usefixtures("last_connection")
def test_one_connection_is_enough_for_every_request(client: TestClient, admin: Headers) -> None:
    answers = [enroll(client, admin, "G1", photos.grace(), photos.grace(variant=1), name="Grace")]
    answers.append(enroll(client, {**admin, "Idempotency-Key": "1"}, "E1", photos.eileen(), name="Eileen"))
    event_id = identify(client, admin, photos.grace(variant=4))["faces"][0]["event_id"]
    answers += [
        client.post(f"/v1/events/{event_id}/feedback", json={"correct": False}, headers=admin),
        client.put("/v1/threshold", json={"mode": "auto"}, headers=admin),
        client.post("/v1/threshold/recalibrate", headers={**admin, "Idempotency-Key": "2"}),
        client.post("/v1/threshold/preview", json={"threshold": 0.5}, headers=admin),
        client.get("/v1/threshold/look-alikes", headers=admin),
        client.patch(f"/v1/people/{answers[0].json()['person']['id']}", json={"active": False}, headers=admin),
        client.delete(f"/v1/enrolments/{answers[1].json()['id']}", headers=admin),
        client.delete(f"/v1/people/{answers[0].json()['person']['id']}", headers=admin),
        client.get("/health/ready"),
    ]
    assert [answer.status_code for answer in answers] == [201, 201] + [200] * 9


@pytest.mark.usefixtures("client")
def test_a_follower_that_waits_for_a_connection_keeps_nobody_waiting(app: FastAPI, database: Database) -> None:
    gallery: GalleryReplica = app.state.gallery
    with database.write() as session:
        make_template(session=session, person=make_person(session=session))
    started, follower = Event(), Thread(target=lambda: (started.set(), gallery.catch_up()))
    with database.write() as session:
        lock_gallery(session)
        with database.engine.connect():  # the last one
            follower.start()
            started.wait()
            sleep(0.2)
            began = monotonic()
            assert gallery.catch_up(session) == 1
            assert monotonic() - began < 2
    follower.join()


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)  # SQLite has one writer at a time in any case
@pytest.mark.usefixtures("client")
def test_writers_who_wait_for_the_gallery_leave_the_connections_to_others(
    client: TestClient, database: Database, settings: Settings, admin: Headers
) -> None:
    """Two connections, and five enrolments while another replica holds the gallery."""
    other = open_database(settings)

    def enrol() -> None:
        with database.write_in_turn() as session:
            lock_gallery(session)
            make_person(session=session)

    waiting = [Thread(target=enrol) for _ in range(5)]
    try:
        with other.write() as session:
            lock_gallery(session)
            for thread in waiting:
                thread.start()
            sleep(0.3)
            began = monotonic()
            assert client.get("/v1/people", headers=admin).json()["items"] == []
            assert monotonic() - began < 5
    finally:
        for thread in waiting:
            thread.join()
        other.dispose()
    assert len(client.get("/v1/people", headers=admin).json()["items"]) == 5


@pytest.mark.usefixtures("client")
def test_a_writer_whose_turn_does_not_come_is_told_to_try_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.engine.TURN_TIMEOUT_S", 0.1)
    refused: list[BaseException] = []

    def write() -> None:
        try:
            with database.write_in_turn():
                pass
        except TooManyWritersError as error:
            refused.append(error)

    with database.write_in_turn():
        late = Thread(target=write)
        late.start()
        late.join()
    problem = problem_for(refused[0])
    assert (problem.status_code, problem.code, problem.headers) == (429, "overloaded", {"Retry-After": "1"})
    with database.write_in_turn():
        pass


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_whoever_stops_in_the_middle_of_a_transaction_does_not_hold_the_gallery_for_ever(settings: Settings) -> None:
    database = open_database(settings)
    with database.read() as session:
        shown = {name: session.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "tcp_keepalives_idle")}
        idle = session.scalar(text("SHOW idle_in_transaction_session_timeout"))
    database.dispose()
    assert (shown, idle) == ({"lock_timeout": "30s", "tcp_keepalives_idle": "30"}, "15s")


def test_a_line_that_is_too_long_is_not_joined(database: Database) -> None:
    """Each who waits keeps a thread, and the others need some: to identify, and to say that they are alive."""
    release, outcomes = Event(), list[str]()

    def write() -> None:
        try:
            with database.write_in_turn():
                release.wait()
            outcomes.append("done")
        except TooManyWritersError:
            outcomes.append("refused")

    writers = [Thread(target=write) for _ in range(20)]
    for writer in writers:
        writer.start()
    sleep(0.3)
    assert outcomes == ["refused"] * 4
    release.set()
    for writer in writers:
        writer.join()
    assert outcomes.count("done") == 16


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_what_the_url_and_the_environment_say_of_a_connection_wins(
    settings: Settings, url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=7s")
    said = {"application_name": "payroll", "connect_timeout": "9", "options": "-c lock_timeout=3s"}
    engine = make_engine(url.update_query_dict(said))
    names = ("application_name", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    with engine.connect() as connection:
        shown = [connection.scalar(text(f"SHOW {name}")) for name in names]
    engine.dispose()
    assert shown == ["payroll", "3s", "7s", "15s"]

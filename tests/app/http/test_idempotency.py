import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI, Form, Request, UploadFile
from pydantic import BaseModel
from sqlalchemy import URL, select, update
from sqlalchemy.orm import Session
from starlette.responses import Response
from starlette.testclient import TestClient

from app.auth.dependencies import CameraDep
from app.db.engine import Database
from app.db.tables import IdempotencyKey, Person
from app.db.types import utc_now
from app.http.idempotency import PURGE_EVERY, Answer, Idempotency, IdempotencyDep, InFlight, Ticket
from tests.app.factories import make_headers, make_person

NEW = {"employee_code": "E1", "name": "Ada Byron"}
TTL = timedelta(hours=48)


class Made(BaseModel):
    id: str


def post(client: TestClient, headers: dict[str, str], key: str, **new: str) -> Any:
    return client.post("/v1/people", json={**NEW, **new}, headers={**headers, "Idempotency-Key": key})


def n_people(database: Database) -> int:
    with database.read() as session:
        return len(session.scalars(select(Person.id)).all())


def make_ticket(*, key: str = "k", body_sha256: str = "same") -> Ticket:
    return Ticket(owner="key_1", endpoint="POST /v1/people", key=key, body_sha256=body_sha256)


def make_idempotency(*, database: Database, ticket: Ticket | None = None) -> Idempotency:
    """As another process would have it: with its own idea of what is in flight."""
    return Idempotency(database, InFlight(TTL), ticket or make_ticket())


def create(session: Session) -> Answer:
    return Answer(201, Made(id=make_person(session=session, employee_code="E1").id), {"Location": "/there"})


def test_the_same_request_again_gets_the_first_answer(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    first, again = post(client, operator, "k"), post(client, operator, "k")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert n_people(database) == 1


def test_the_same_key_with_another_body_is_refused(client: TestClient, operator: dict[str, str]) -> None:
    post(client, operator, "k")
    response = post(client, operator, "k", employee_code="E2")
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_mismatch")


def test_a_key_belongs_to_one_caller_and_one_address(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    post(client, operator, "k")
    other = make_headers(database=database)
    assert post(client, other, "k", employee_code="E2").status_code == 201
    headers = {**operator, "Idempotency-Key": "k", "Content-Type": "text/csv"}
    imported = client.post("/v1/people/import", content="employee_code,name\nE3,Cy\n", headers=headers)
    assert imported.json()["created"] == 1


def test_a_refusal_is_not_remembered(client: TestClient, database: Database, operator: dict[str, str]) -> None:
    with database.write() as session:
        person = make_person(session=session, employee_code="E1")
    assert post(client, operator, "k").status_code == 409
    client.delete(f"/v1/people/{person.id}", headers=operator)
    assert post(client, operator, "k").status_code == 201


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "\u00e4"])
def test_an_odd_key_is_refused(client: TestClient, operator: dict[str, str], key: str) -> None:
    headers: Any = {**operator, "Idempotency-Key": key.encode("latin-1")}
    response = client.post("/v1/people", json=NEW, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_invalid")


def test_of_two_requests_at_once_the_second_is_told_to_wait(
    app: FastAPI, client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    working, go_on = threading.Event(), threading.Event()

    def slow(_caller: CameraDep, idempotency: IdempotencyDep) -> Response:
        def work(session: Session) -> Answer:
            working.set()
            assert go_on.wait(10)
            return create(session)

        return idempotency.write(work)

    app.add_api_route("/v1/slow", slow, methods=["POST"])
    headers = {**operator, "Idempotency-Key": "k"}
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(client.post("/v1/slow", headers=headers)))
    first.start()
    assert working.wait(10)
    second = client.post("/v1/slow", headers=headers)
    go_on.set()
    first.join()
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_in_progress")
    assert second.headers["retry-after"]
    assert answers[0].status_code == 201
    assert client.post("/v1/slow", headers=headers).content == answers[0].content
    assert n_people(database) == 1


def test_of_two_processes_at_once_one_does_the_work_and_both_give_its_answer(database: Database) -> None:
    loser = make_idempotency(database=database)
    won: list[Response] = []

    def attempt(store: Any) -> Answer:
        # Meanwhile another process is faster from start to end.
        won.append(make_idempotency(database=database).write(create))
        with database.write() as session:
            return store(session, create(session))  # type: ignore[no-any-return]

    lost = loser.run(attempt)
    assert lost.body == won[0].body
    assert lost.headers["idempotent-replayed"] == "true"
    assert n_people(database) == 1


def test_two_processes_that_collide_only_on_the_key_do_the_work_once(database: Database) -> None:
    """Nothing else is unique here: the stored answer itself must stop the second."""

    def create_anybody(session: Session) -> Answer:
        return Answer(201, Made(id=make_person(session=session).id))

    def attempt(store: Any) -> Answer:
        make_idempotency(database=database).write(create_anybody)
        with database.write() as session:
            return store(session, create_anybody(session))  # type: ignore[no-any-return]

    make_idempotency(database=database).run(attempt)
    assert n_people(database) == 1


def test_many_processes_at_once_do_the_work_once(database: Database) -> None:
    barrier = threading.Barrier(4)
    answers: list[bytes] = []

    def request() -> None:
        idempotency = make_idempotency(database=database)
        barrier.wait()
        answers.append(bytes(idempotency.write(create).body))

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4 and len(set(answers)) == 1
    assert n_people(database) == 1


CRASH = """
import os, sys
from datetime import timedelta
from sqlalchemy import make_url
from app.db.engine import Database, make_engine
from tests.app.http.test_idempotency import create, make_idempotency

def work(session):
    create(session)
    os._exit(9)

make_idempotency(database=Database(make_engine(make_url(sys.argv[1])))).write(work)
"""


def test_a_process_that_dies_before_it_commits_leaves_the_work_to_the_retry(database: Database, url: URL) -> None:
    died = subprocess.run([sys.executable, "-c", CRASH, url.render_as_string(hide_password=False)])
    assert died.returncode == 9
    assert n_people(database) == 0
    response = make_idempotency(database=database).write(create)
    assert (response.status_code, n_people(database)) == (201, 1)
    assert "idempotent-replayed" not in response.headers


def test_an_answer_that_was_lost_after_the_commit_is_given_to_the_retry(database: Database) -> None:
    first = make_idempotency(database=database).write(create)  # and the caller never heard of it
    again = make_idempotency(database=database).write(create)
    assert again.body == first.body


def test_work_that_fails_leaves_nothing(database: Database) -> None:
    def work(session: Session) -> Answer:
        create(session)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        make_idempotency(database=database).write(work)
    assert n_people(database) == 0
    assert make_idempotency(database=database).write(create).status_code == 201


def test_an_old_answer_expires_and_is_thrown_away(database: Database) -> None:
    in_flight = InFlight(TTL)
    Idempotency(database, in_flight, make_ticket(key="old")).write(create)
    with database.write() as session:
        session.execute(update(IdempotencyKey).values(created_at=utc_now() - TTL - timedelta(seconds=1)))

    def create_other(session: Session) -> Answer:
        return Answer(201, Made(id=make_person(session=session).id))

    expired = Idempotency(database, in_flight, make_ticket(key="old", body_sha256="other")).write(create_other)
    assert "idempotent-replayed" not in expired.headers
    with database.write() as session:
        session.execute(update(IdempotencyKey).values(created_at=utc_now() - TTL - timedelta(seconds=1)))
    make_idempotency(database=database, ticket=make_ticket(key="new")).write(create_other)
    with database.read() as session:
        assert session.scalars(select(IdempotencyKey.idempotency_key)).all() == ["new"]


def test_old_answers_are_looked_for_now_and_then_only() -> None:
    in_flight, now = InFlight(TTL), utc_now()
    assert in_flight.is_purge_due(now)
    assert not in_flight.is_purge_due(now + PURGE_EVERY / 2)
    assert in_flight.is_purge_due(now + PURGE_EVERY)


def test_erasing_a_person_empties_the_answers_that_name_them_and_a_late_retry_does_not_bring_them_back(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    person_id = post(client, operator, "k").json()["id"]
    post(client, operator, "other", employee_code="E2", name="Cy")
    client.delete(f"/v1/people/{person_id}", headers=operator)
    with database.read() as session:
        bodies = dict(session.execute(select(IdempotencyKey.idempotency_key, IdempotencyKey.body)).all())
    assert bodies["k"] is None and bodies["other"] is not None
    retry = post(client, operator, "k")
    assert (retry.status_code, retry.json()["code"]) == (410, "idempotency_erased")
    assert n_people(database) == 1


@pytest.fixture
def upload(app: FastAPI, client: TestClient, operator: dict[str, str]) -> Any:
    """Posts a form; every call has another boundary."""

    async def route(
        request: Request, _caller: CameraDep, idempotency: IdempotencyDep, files: list[UploadFile], note: str = Form("")
    ) -> Response:
        sizes = [str(len(await file.read())) for file in files]
        return idempotency.write(lambda _session: Answer(201, Made(id=",".join([note, *sizes]))))

    app.add_api_route("/v1/upload", route, methods=["POST"])

    def send(files: list[tuple[str, bytes]], query: str = "", **data: str) -> Any:
        parts = [("files", file) for file in files]
        return client.post(f"/v1/upload{query}", files=parts, data=data, headers={**operator, "Idempotency-Key": "k"})

    return send


def test_a_form_sent_again_is_the_same_request_although_its_boundary_differs(upload: Any) -> None:
    first = upload([("a.jpg", b"aaa"), ("b.jpg", b"bb")], note="n")
    again = upload([("a.jpg", b"aaa"), ("b.jpg", b"bb")], note="n")
    assert first.json() == again.json() == {"id": "n,3,2"}  # hashing left the files to be read from the start
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("files", "query", "note"),
    [
        ([("a.jpg", b"aab"), ("b.jpg", b"bb")], "", "n"),
        ([("c.jpg", b"aaa"), ("b.jpg", b"bb")], "", "n"),
        ([("b.jpg", b"bb"), ("a.jpg", b"aaa")], "", "n"),
        ([("a.jpg", b"aaa")], "", "n"),
        ([("a.jpg", b"aaa"), ("b.jpg", b"bb")], "", "m"),
        ([("a.jpg", b"aaa"), ("b.jpg", b"bb")], "?on_duplicate=allow", "n"),
    ],
    ids=["content", "name", "order", "fewer files", "field", "query"],
)
def test_a_form_with_other_content_is_another_request(
    upload: Any, files: list[tuple[str, bytes]], query: str, note: str
) -> None:
    upload([("a.jpg", b"aaa"), ("b.jpg", b"bb")], note="n")
    assert upload(files, query, note=note).json()["code"] == "idempotency_mismatch"

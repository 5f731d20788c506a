"""Wrong passwords lock, sessions end, and nothing of it is known to one replica alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import AuditEntry, LoginTries, User, UserSession
from app.db.types import utc_now
from app.errors import ProblemError
from app.inference.port import Inference
from app.main import create_app
from app.sealing import Sealer
from app.settings import Settings
from app.users.sessions import BACKGROUND_HEADER, COOKIE
from app.users.tries import OF_ADDRESS, OF_NAME, Tries
from tests.app.factories import make_headers
from tests.app.users.factories import PASSWORD, make_browser, make_user, make_visitor, sign_in, token_of


@pytest.fixture
def anna(database: Database) -> str:
    return make_user(database=database)


def actions(database: Database) -> list[tuple[str, str, str | None]]:
    with database.read() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        return [(each.actor, each.action, each.target) for each in entries if each.action.startswith("user.")]


def end_locks(database: Database) -> None:
    with database.write() as session:
        session.execute(update(LoginTries).values(locked_until=utc_now() - timedelta(seconds=1)))


@pytest.mark.parametrize("name", ["anna", "nobody at all"])
def test_a_name_is_locked_after_five_wrong_passwords_whether_somebody_has_it_or_not(
    app: FastAPI, database: Database, anna: str, name: str
) -> None:
    tries = [sign_in(make_browser(app=app, address=f"10.0.0.{n}"), name, "wrong") for n in range(OF_NAME.most)]
    assert [answer.status_code for answer in tries] == [401] * OF_NAME.most
    locked = sign_in(make_browser(app=app, address="10.0.0.99"), name.upper())  # the right password, for anna
    assert locked.status_code == 429
    assert 295 <= int(locked.headers["Retry-After"]) <= 300
    assert "Wait until the lock ends" in locked.text and "again in 5 minutes" in locked.text
    assert ("nobody", "user.locked", anna if name == "anna" else None) in actions(database)
    end_locks(database)
    assert sign_in(make_browser(app=app), "anna").status_code == 303


def test_a_hundred_tries_at_once_are_no_more_than_five(app: FastAPI, database: Database, anna: str) -> None:
    browsers = [make_browser(app=app, address=f"10.1.0.{n}") for n in range(20)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda browser: sign_in(browser, "anna", "wrong").status_code, browsers))
    assert sorted(answers) == [401] * OF_NAME.most + [429] * (20 - OF_NAME.most)


def test_an_address_is_locked_after_twenty_wrong_names_and_passwords(
    app: FastAPI, database: Database, anna: str
) -> None:
    for n in range(OF_ADDRESS.most):
        assert sign_in(make_browser(app=app), f"name{n}", "wrong").status_code == 401
    assert sign_in(make_browser(app=app)).status_code == 429
    assert sign_in(make_browser(app=app, address="10.0.0.2")).status_code == 303
    assert ("nobody", "user.locked", None) in actions(database)


def test_those_who_are_right_do_not_lock_the_address_they_share(app: FastAPI, anna: str) -> None:
    assert {sign_in(make_browser(app=app)).status_code for _ in range(OF_ADDRESS.most + 2)} == {303}


def test_a_household_is_one_address_however_many_it_has(database: Database, settings: Settings) -> None:
    tries = Tries(database, Sealer.of(settings))
    for n in range(OF_ADDRESS.most):
        tries.count_failure(f"2001:db8:0:7:{n:x}::1")
    with pytest.raises(ProblemError, match="429"):
        tries.refuse_locked_address("2001:db8:0:7::ffff")
    tries.refuse_locked_address("2001:db8:0:8::1")
    for _ in range(OF_ADDRESS.most):
        tries.count_failure("::ffff:10.0.0.1")
    with pytest.raises(ProblemError, match="429"):
        tries.refuse_locked_address("10.0.0.1")
    tries.refuse_locked_address("10.0.0.2")


def test_whoever_is_right_starts_anew(app: FastAPI, database: Database, anna: str) -> None:
    for _ in range(2):
        for _ in range(OF_NAME.most - 1):
            assert sign_in(make_browser(app=app), "anna", "wrong").status_code == 401
        assert sign_in(make_browser(app=app)).status_code == 303


def test_wrong_keys_at_the_setup_page_lock_the_address_too(app: FastAPI, database: Database) -> None:
    browser = make_browser(app=app)
    right = make_headers(database=database)["X-API-Key"]
    form = {"username": "anna", "name": "Anna", "password": PASSWORD}
    guesses = [browser.post("/setup", data={**form, "key": f"rck_{n}"}) for n in range(OF_ADDRESS.most)]
    assert {guess.status_code for guess in guesses} == {401}
    assert "www-authenticate" not in guesses[0].headers
    locked = browser.post("/setup", data={**form, "key": right})
    assert (locked.status_code, "Retry-After" in locked.headers) == (429, True)
    with database.read() as session:
        assert session.scalars(select(User)).all() == []
    end_locks(database)
    assert browser.post("/setup", data={**form, "key": right}).status_code == 303


def test_no_name_and_no_address_stands_in_the_rows_that_count(app: FastAPI, database: Database, anna: str) -> None:
    sign_in(make_browser(app=app), "anna", "wrong")
    with database.read() as session:
        subjects = session.scalars(select(LoginTries.subject)).all()
    assert len(subjects) == 2
    assert all(len(subject) == 64 and "anna" not in subject and "10.0" not in subject for subject in subjects)


def test_signing_in_and_out_is_audited(app: FastAPI, database: Database, anna: str) -> None:
    browser = make_browser(app=app)
    sign_in(browser)
    assert browser.post("/logout", data={"csrf_token": token_of(browser)["X-CSRF-Token"]}).status_code == 303
    assert [each for each in actions(database) if each[1] != "user.created"] == [
        (f"user:{anna}", "user.signed_in", anna),
        (f"user:{anna}", "user.signed_out", anna),
    ]


def test_a_session_that_somebody_else_prepared_is_not_taken_over(app: FastAPI, database: Database, anna: str) -> None:
    browser = make_browser(app=app)
    prepared = browser.post(
        "/login", data={"username": "anna", "password": PASSWORD}, headers={"Cookie": f"{COOKIE}=somebody-elses"}
    )
    first = prepared.cookies[COOKIE]
    assert first != "somebody-elses"
    assert sign_in(browser).cookies[COOKIE] != first
    with database.read() as session:
        assert len(session.scalars(select(UserSession)).all()) == 1  # the first ended with the second


def test_only_the_hash_of_a_cookie_is_stored(app: FastAPI, database: Database, anna: str) -> None:
    browser = make_browser(app=app)
    sign_in(browser)
    with database.read() as session:
        stored = [str(value) for row in session.execute(select(UserSession.__table__)) for value in row]
    assert browser.cookies[COOKIE] not in stored


def test_a_session_ends_when_nobody_clicks_and_in_any_case(app: FastAPI, database: Database, anna: str) -> None:
    idle, old = make_browser(app=app), make_browser(app=app)
    for browser in (idle, old):
        sign_in(browser)
        assert browser.get("/account").status_code == 200
    with database.write() as session:
        mine = session.scalars(select(UserSession)).all()
        mine[0].seen_at = utc_now() - timedelta(minutes=61)
        mine[1].expires_at = utc_now() - timedelta(seconds=1)
    for browser in (idle, old):
        assert browser.get("/account").headers["location"] == "/login?next=%2Faccount"
        assert browser.get("/v1/system").status_code == 401
    sign_in(make_browser(app=app))
    with database.read() as session:
        assert len(session.scalars(select(UserSession)).all()) == 1  # those that have ended are thrown away


def test_a_click_now_and_then_keeps_a_session(app: FastAPI, database: Database, anna: str) -> None:
    browser = make_browser(app=app)
    sign_in(browser)
    with database.write() as session:
        session.execute(update(UserSession).values(seen_at=utc_now() - timedelta(minutes=59)))
    assert browser.get("/account").status_code == 200
    with database.read() as session:
        (seen_at,) = session.scalars(select(UserSession.seen_at))
    assert utc_now() - seen_at < timedelta(minutes=1)


@pytest.mark.parametrize("path", ["/account", "/v1/system"])
@pytest.mark.parametrize(
    "headers", [{BACKGROUND_HEADER: "1"}, {"Accept": "image/avif,image/webp,*/*"}, {"Accept": "text/event-stream"}]
)
def test_what_a_page_asks_by_itself_is_no_click(
    app: FastAPI, database: Database, anna: str, path: str, headers: dict[str, str]
) -> None:
    browser = make_browser(app=app)
    sign_in(browser)
    with database.write() as session:
        session.execute(update(UserSession).values(seen_at=utc_now() - timedelta(minutes=59)))
    assert browser.get(path, headers=headers).status_code == 200
    with database.read() as session:
        (seen_at,) = session.scalars(select(UserSession.seen_at))
    assert utc_now() - seen_at > timedelta(minutes=58)


def test_a_disabled_user_is_out_at_once_and_cannot_come_in(app: FastAPI, admin: dict[str, str]) -> None:
    ben = make_visitor(app=app, role="operator", username="ben")
    user_id = ben.get("/v1/users/me").json()["id"]
    assert ben.patch(f"/v1/users/{user_id}", json={"disabled": False}).status_code == 403
    program = TestClient(app, headers=admin)
    make_user(database=app.state.database, username="chief")
    assert program.patch(f"/v1/users/{user_id}", json={"disabled": True}).status_code == 200
    assert ben.get("/v1/system").status_code == 401
    assert sign_in(make_browser(app=app), "ben").status_code == 401
    assert program.patch(f"/v1/users/{user_id}", json={"disabled": False}).status_code == 200
    assert ben.get("/v1/system").status_code == 401  # the old session does not come back
    assert sign_in(make_browser(app=app), "ben").status_code == 303


@pytest.fixture
def replica(settings: Settings, inference: Inference) -> Iterator[FastAPI]:
    """Another process of the same deployment."""
    replica = create_app(settings, inference)
    yield replica
    replica.state.database.dispose()


def test_replicas_share_sessions_and_locks(app: FastAPI, replica: FastAPI, anna: str) -> None:
    here, there = make_browser(app=app), make_browser(app=replica)
    sign_in(here)
    there.cookies.set(COOKIE, here.cookies[COOKIE])
    token = token_of(there)
    assert there.delete("/v1/users/me/sessions").json()["code"] == "csrf_invalid"
    assert there.delete("/v1/users/me/sessions", headers=token).status_code == 200
    assert there.post("/logout", data={"csrf_token": token["X-CSRF-Token"]}).status_code == 303
    assert here.get("/account").status_code == 303
    for n in range(OF_NAME.most):
        assert sign_in(make_browser(app=(app, replica)[n % 2]), "anna", "wrong").status_code == 401
    assert [sign_in(make_browser(app=each)).status_code for each in (app, replica)] == [429, 429]

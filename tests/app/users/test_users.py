"""`/v1/users`: who may sign in, and that somebody always can."""

import threading
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import AuditEntry, IdempotencyKey, User
from app.errors import ProblemError
from app.hashing import SlowHasher
from app.users import service
from tests.app.factories import make_headers
from tests.app.users.factories import PASSWORD, make_browser, make_user, make_visitor, sign_in

NEW = {"username": "Ben", "name": "Benedikt", "role": "operator", "password": PASSWORD}


def add(client: TestClient, headers: dict[str, str], **fields: Any) -> Any:
    return client.post("/v1/users", json={**NEW, **fields}, headers=headers)


def test_a_new_user_can_sign_in_and_their_password_is_stored_nowhere(
    app: FastAPI, client: TestClient, admin: dict[str, str], database: Database
) -> None:
    made = add(client, {**admin, "Idempotency-Key": "once"})
    shown = made.json()
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/users/{shown['id']}")
    assert (shown["username"], shown["name"], shown["role"]) == ("ben", "Benedikt", "operator")
    assert set(shown) == {"id", "username", "name", "role", "created_at", "disabled_at", "last_login_at"}
    again = add(client, {**admin, "Idempotency-Key": "once"})
    assert (again.json(), again.headers["idempotent-replayed"]) == (shown, "true")
    assert sign_in(make_browser(app=app), "BEN ").status_code == 303
    with database.read() as session:
        (user,) = session.scalars(select(User))
        (kept,) = session.scalars(select(IdempotencyKey))
    assert user.password_hash.startswith("$argon2id$")
    assert PASSWORD not in kept.body and user.password_hash not in kept.body


def test_users_are_listed_page_by_page(client: TestClient, admin: dict[str, str]) -> None:
    for name in ("a", "b", "c"):
        add(client, admin, username=name)
    first = client.get("/v1/users?limit=2", headers=admin).json()
    rest = client.get("/v1/users", params={"cursor": first["next_cursor"]}, headers=admin).json()
    assert [user["username"] for user in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None
    one = first["items"][0]
    assert client.get(f"/v1/users/{one['id']}", headers=admin).json() == one
    assert client.get("/v1/users/usr_none", headers=admin).json()["code"] == "user_not_found"


def test_a_user_name_is_taken_once_however_it_is_written(client: TestClient, admin: dict[str, str]) -> None:
    add(client, admin, username="straße")
    taken = add(client, admin, username="STRASSE")
    assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("username", " ", "username_invalid"),
        ("username", "two words", "username_invalid"),
        ("username", "a\u0000b", "username_invalid"),
        ("username", "ß" * 60, "username_invalid"),
        ("password", "short", "password_weak"),
        ("password", "x" * 201, "password_weak"),
        ("name", "", "fields_invalid"),
        ("role", "camera", "fields_invalid"),
    ],
)
def test_what_cannot_be_is_refused_and_not_repeated(
    client: TestClient, admin: dict[str, str], field: str, value: str, code: str
) -> None:
    refused = add(client, admin, **{field: value})
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert PASSWORD not in refused.text and "x" * 201 not in refused.text
    assert client.get("/v1/users", headers=admin).json()["items"] == []


def test_a_new_role_or_password_ends_the_sessions_but_a_new_name_does_not(app: FastAPI, admin: dict[str, str]) -> None:
    make_user(database=app.state.database)
    program = TestClient(app, headers=admin)
    ben = make_visitor(app=app, role="operator", username="ben")
    url = f"/v1/users/{ben.get('/v1/users/me').json()['id']}"
    assert program.patch(url, json={"name": "Benno", "role": "operator"}).json()["name"] == "Benno"
    assert ben.get("/v1/users/me").json()["name"] == "Benno"
    assert program.patch(url, json={"role": "admin"}).json()["role"] == "admin"
    assert ben.get("/v1/users/me").status_code == 401
    sign_in(ben, "ben")
    assert program.patch(url, json={"password": "another long sentence"}).status_code == 200
    assert ben.get("/v1/users/me").status_code == 401
    assert sign_in(ben, "ben").status_code == 401
    assert sign_in(ben, "ben", "another long sentence").status_code == 303


def test_a_new_password_ends_a_lock(app: FastAPI, admin: dict[str, str], database: Database) -> None:
    user_id = make_user(database=database)
    for _ in range(5):
        sign_in(make_browser(app=app), "anna", "wrong")
    assert sign_in(make_browser(app=app)).status_code == 429
    TestClient(app, headers=admin).patch(f"/v1/users/{user_id}", json={"password": "another long sentence"})
    assert sign_in(make_browser(app=app), "anna", "another long sentence").status_code == 303


@pytest.mark.parametrize("change", [{"role": "operator"}, {"disabled": True}])
def test_the_last_administrator_stays_one(
    client: TestClient, admin: dict[str, str], database: Database, change: dict[str, Any]
) -> None:
    anna, dora = make_user(database=database), make_user(database=database, username="dora")
    assert client.patch(f"/v1/users/{dora}", json=change, headers=admin).status_code == 200
    refused = client.patch(f"/v1/users/{anna}", json=change, headers=admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "last_admin")
    assert client.patch(f"/v1/users/{anna}", json={"name": "A", "password": PASSWORD}, headers=admin).status_code == 200
    assert (
        client.patch(f"/v1/users/{dora}", json={"role": "admin", "disabled": False}, headers=admin).status_code == 200
    )
    assert client.patch(f"/v1/users/{anna}", json=change, headers=admin).status_code == 200


def test_two_administrators_cannot_disable_each_other_at_once(database: Database) -> None:
    users = [make_user(database=database, username=name) for name in ("anna", "dora")]
    start, refused = threading.Barrier(2), []

    def disable(user_id: str) -> None:
        start.wait()
        try:
            with database.write() as session:
                service.update_user(session, user_id, {"disabled": True}, None, actor="a test")
        except ProblemError as problem:
            refused.append(problem.code)

    threads = [threading.Thread(target=disable, args=(user_id,)) for user_id in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["last_admin"]


def test_two_who_set_up_at_once_do_not_both_become_the_first(database: Database) -> None:
    start, refused = threading.Barrier(2), []
    password_hash = service.hashed(SlowHasher(), PASSWORD)

    def set_up(username: str) -> None:
        start.wait()
        try:
            with database.write() as session:
                service.create_first_admin(session, username, "A", password_hash, actor="a test")
        except ProblemError as problem:
            refused.append(problem.code)

    threads = [threading.Thread(target=set_up, args=(name,)) for name in ("anna", "dora")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["setup_done"]
    with database.read() as session:
        assert len(session.scalars(select(User)).all()) == 1


@pytest.mark.parametrize("change", [{"password": None}, {"role": None}, {"username": "x"}, {"disabled": "perhaps"}])
def test_a_change_that_means_nothing_is_refused(
    client: TestClient, admin: dict[str, str], database: Database, change: dict[str, Any]
) -> None:
    user_id = make_user(database=database)
    assert client.patch(f"/v1/users/{user_id}", json=change, headers=admin).json()["code"] == "fields_invalid"
    assert client.patch("/v1/users/usr_none", json={"name": "x"}, headers=admin).json()["code"] == "user_not_found"


def test_every_change_is_audited_without_names(client: TestClient, admin: dict[str, str], database: Database) -> None:
    user_id = add(client, admin).json()["id"]
    client.patch(f"/v1/users/{user_id}", json={"role": "admin", "password": PASSWORD}, headers=admin)
    with database.read() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.target == user_id).order_by(AuditEntry.id)).all()
    assert [(entry.action, entry.detail) for entry in entries] == [
        ("user.created", {"role": "operator"}),
        ("user.updated", {"fields": ["password", "role"], "role": "admin", "sessions_ended": 0}),
    ]
    assert all(entry.actor.startswith("key:key_") for entry in entries)


def test_ones_own_password_needs_the_current_one_and_ends_the_other_sessions(app: FastAPI, database: Database) -> None:
    here = make_visitor(app=app, role="operator", username="ben")
    there = make_browser(app=app)
    sign_in(there, "ben")
    wrong = here.put("/v1/users/me/password", json={"current_password": "wrong", "new_password": "x" * 12})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "password_wrong")
    weak = here.put("/v1/users/me/password", json={"current_password": PASSWORD, "new_password": "x"})
    assert weak.json()["code"] == "password_weak"
    changed = here.put("/v1/users/me/password", json={"current_password": PASSWORD, "new_password": "new sentence"})
    assert changed.status_code == 204
    assert (here.get("/v1/users/me").status_code, there.get("/v1/users/me").status_code) == (200, 401)
    assert sign_in(there, "ben").status_code == 401
    assert sign_in(there, "ben", "new sentence").status_code == 303


def test_the_current_password_cannot_be_guessed_from_a_session_either(app: FastAPI) -> None:
    ben = make_visitor(app=app, role="operator", username="ben")
    guess = {"current_password": "wrong", "new_password": "new sentence"}
    codes = [ben.put("/v1/users/me/password", json=guess).json()["code"] for _ in range(6)]
    assert codes == ["password_wrong"] * 5 + ["sign_in_locked"]


def test_one_can_sign_out_everywhere_else(app: FastAPI) -> None:
    here = make_visitor(app=app, role="operator", username="ben")
    others = [make_browser(app=app) for _ in range(2)]
    for other in others:
        sign_in(other, "ben")
    assert here.delete("/v1/users/me/sessions").json() == {"n_ended": 2}
    assert [each.get("/v1/users/me").status_code for each in (here, *others)] == [200, 401, 401]


@pytest.mark.parametrize("scope", ["operator", "admin"])
def test_a_key_has_no_account_and_cannot_get_a_session(
    app: FastAPI, client: TestClient, database: Database, scope: str
) -> None:
    headers = make_headers(database=database, scope=scope)
    change = {"current_password": PASSWORD, "new_password": PASSWORD}
    assert client.get("/v1/users/me", headers=headers).json()["code"] == "session_needed"
    assert client.put("/v1/users/me/password", json=change, headers=headers).json()["code"] == "session_needed"
    assert client.delete("/v1/users/me/sessions", headers=headers).json()["code"] == "session_needed"
    make_user(database=database)
    page = make_browser(app=app).get("/account", headers=headers)
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Faccount")
    assert "set-cookie" not in page.headers

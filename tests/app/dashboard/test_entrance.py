"""The doors of the dashboard: cookies, where one goes after signing in, and forms that other sites send."""

import pytest
from fastapi import FastAPI
from httpx import Response
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import User, UserSession
from app.users.sessions import COOKIE
from tests.app.factories import make_headers
from tests.app.users.factories import PASSWORD, make_browser, make_user, sign_in, token_of


@pytest.fixture
def browser(app: FastAPI, client: TestClient) -> TestClient:
    return make_browser(app=app)


@pytest.fixture
def anna(database: Database) -> str:
    return make_user(database=database)


def n_sessions(database: Database) -> int:
    with database.read() as session:
        return len(session.scalars(select(UserSession)).all())


def set_up(browser: TestClient, key: str, **fields: str) -> Response:
    form = {"key": key, "username": "Anna", "name": "Anna", "password": PASSWORD, **fields}
    return browser.post("/setup", data=form)


def test_the_first_administrator_is_made_with_an_admin_key_and_is_signed_in(
    app: FastAPI, browser: TestClient, database: Database
) -> None:
    assert browser.get("/login").headers["location"] == "/setup"
    assert "Admin key" in browser.get("/setup").text
    key = make_headers(database=database)["X-API-Key"]
    done = set_up(browser, f" {key} ")
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert browser.get("/users").status_code == 200
    assert browser.get("/setup").headers["location"] == "/login"
    again = set_up(make_browser(app=app), key, username="eve")
    assert again.status_code == 409
    with database.read() as session:
        assert [user.username for user in session.scalars(select(User))] == ["anna"]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"password": "short"}, 422, "12 to 200 characters"),
        ({"username": "two words"}, 422, "without spaces"),
        ({"username": ""}, 422, "without spaces"),
        ({"name": " "}, 422, "say what you are called"),
        ({"key": ""}, 401, "Send a key"),
    ],
)
def test_what_is_wrong_at_setup_is_said_and_the_rest_is_kept(
    browser: TestClient, database: Database, fields: dict[str, str], status: int, words: str
) -> None:
    form = {"key": make_headers(database=database)["X-API-Key"], **fields}
    refused = set_up(browser, form.pop("key"), **form)
    assert refused.status_code == status
    assert words in refused.text
    assert PASSWORD not in refused.text
    assert not browser.cookies


@pytest.mark.parametrize("scope", ["camera", "operator"])
def test_lesser_keys_set_nothing_up(browser: TestClient, database: Database, scope: str) -> None:
    refused = set_up(browser, make_headers(database=database, scope=scope)["X-API-Key"])
    assert refused.status_code == 403
    assert n_sessions(database) == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_scripts_cannot_read_the_cookie_and_https_keeps_it_to_itself(app: FastAPI, anna: str, scheme: str) -> None:
    browser = make_browser(app=app, scheme=scheme)
    made = sign_in(browser).headers["set-cookie"]
    parts = {part.strip().lower() for part in made.split(";")}
    assert {"httponly", "samesite=lax", "path=/", "max-age=43200"} <= parts
    assert ("secure" in parts) == (scheme == "https")
    ended = browser.post("/logout", data={"csrf_token": token_of(browser)["X-CSRF-Token"]}).headers["set-cookie"]
    assert "Max-Age=0" in ended and ("Secure" in ended) == (scheme == "https")


def test_signing_out_ends_the_session_not_only_the_cookie(app: FastAPI, anna: str, database: Database) -> None:
    browser, thief = make_browser(app=app), make_browser(app=app)
    sign_in(browser)
    thief.cookies.set(COOKIE, browser.cookies[COOKIE])
    assert thief.get("/users").status_code == 200
    refused = browser.post("/logout", data={"csrf_token": "guessed"})
    assert (refused.status_code, n_sessions(database)) == (403, 1)
    browser.post("/logout", data={"csrf_token": token_of(browser)["X-CSRF-Token"]})
    assert (thief.get("/users").status_code, n_sessions(database)) == (303, 0)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n\\evil.example",
        "javascript:alert(1)",
        "evil.example",
        " /people",
        "",
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(app: FastAPI, anna: str, elsewhere: str) -> None:
    browser = make_browser(app=app)
    assert 'name="next" value="/"' in browser.get("/login", params={"next": elsewhere}).text
    assert sign_in(browser, next=elsewhere).headers["location"] == "/"
    assert browser.get("/login", params={"next": elsewhere}).headers["location"] == "/"


def test_who_had_to_sign_in_gets_where_they_wanted_to(app: FastAPI, anna: str) -> None:
    browser = make_browser(app=app)
    sent = browser.get("/people?query=Nguy%E1%BB%85n&active=true").headers["location"]
    assert sent == "/login?next=%2Fpeople%3Fquery%3DNguy%25E1%25BB%2585n%26active%3Dtrue"
    wanted = "/people?query=Nguy%E1%BB%85n&active=true"
    assert sign_in(browser, next=wanted).headers["location"] == wanted


OTHER_SITES = {
    "another origin": {"Origin": "https://evil.example"},
    "another port": {"Origin": "http://testserver:8080"},
    "a hidden origin": {"Origin": "null"},
    "a browser that says so": {"Sec-Fetch-Site": "cross-site"},
    "a neighbour": {"Origin": "http://testserver", "Sec-Fetch-Site": "same-site"},
}


@pytest.mark.parametrize("headers", OTHER_SITES.values(), ids=OTHER_SITES)
def test_other_sites_cannot_sign_anybody_in(
    app: FastAPI, anna: str, database: Database, headers: dict[str, str]
) -> None:
    form = {"username": "anna", "password": PASSWORD}
    refused = make_browser(app=app).post("/login", data=form, headers=headers)
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    assert "sent by another site" in refused.text
    key = make_headers(database=database)["X-API-Key"]
    assert make_browser(app=app).post("/setup", data={**form, "key": key}, headers=headers).status_code == 403
    assert n_sessions(database) == 0


def test_a_browser_that_names_our_own_origin_is_let_in(app: FastAPI, anna: str) -> None:
    headers = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
    form = {"username": "anna", "password": PASSWORD}
    assert make_browser(app=app).post("/login", data=form, headers=headers).status_code == 303


@pytest.mark.parametrize(
    "name", ["a\u0000b", "' OR 1=1 --", "%", "x" * 200, "\udcff".encode("utf-8", "replace").decode()]
)
def test_names_that_nobody_can_have_are_just_wrong(app: FastAPI, anna: str, name: str) -> None:
    refused = sign_in(make_browser(app=app), name, "wrong")
    assert refused.status_code == 401
    assert "The user name or the password is wrong." in refused.text


def test_what_somebody_typed_is_text_on_the_page(app: FastAPI, anna: str) -> None:
    refused = sign_in(make_browser(app=app), '"><script>alert(1)</script>', "wrong")
    assert "<script>alert" not in refused.text and "&lt;script&gt;" in refused.text


def test_a_stranger_cannot_send_a_large_form(app: FastAPI, anna: str) -> None:
    refused = make_browser(app=app).post("/login", data={"username": "anna", "password": "x" * 70_000})
    assert (refused.status_code, "text/html" in refused.headers["content-type"]) == (413, True)

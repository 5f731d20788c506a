"""People who sign in, and the browsers they do it with."""

import re

from fastapi import FastAPI
from httpx import Response
from starlette.testclient import TestClient

from app.auth.scopes import Scope
from app.db.engine import Database
from app.hashing import SlowHasher
from app.users import service

PASSWORD = "a long sentence to remember"
HTML = {"Accept": "text/html,application/xhtml+xml"}
_TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


def make_user(
    *, database: Database, username: str = "anna", role: str = "admin", name: str = "Anna", password: str = PASSWORD
) -> str:
    """Their id."""
    password_hash = service.hashed(SlowHasher(), password)
    with database.write() as session:
        return service.create_user(session, username, name, Scope(role), password_hash, actor="a test").id


def make_browser(*, app: FastAPI, address: str = "10.0.0.1", scheme: str = "http") -> TestClient:
    """Somebody's browser, with cookies of its own."""
    return TestClient(app, base_url=f"{scheme}://testserver", client=(address, 1), follow_redirects=False, headers=HTML)


def sign_in(browser: TestClient, username: str = "anna", password: str = PASSWORD, **fields: str) -> Response:
    return browser.post("/login", data={"username": username, "password": password, **fields})


def token_of(browser: TestClient) -> dict[str, str]:
    """The header that goes with everything that changes something."""
    found = _TOKEN.search(browser.get("/account").text)
    assert found is not None
    return {"X-CSRF-Token": found[1]}


def make_visitor(*, app: FastAPI, role: str = "admin", username: str | None = None) -> TestClient:
    """A browser whose user is signed in, and which sends the page's token with everything."""
    username = username or role
    make_user(database=app.state.database, username=username, role=role)
    browser = make_browser(app=app)
    assert sign_in(browser, username).status_code == 303
    browser.headers.update(token_of(browser))
    return browser

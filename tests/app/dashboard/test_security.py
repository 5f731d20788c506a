"""Who may do what, asked of every page and every operation that there is."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from httpx import Response
from sqlalchemy import select
from starlette.testclient import TestClient

from app.auth.dependencies import ScopeNeeded
from app.auth.scopes import Scope
from app.dashboard.frame.visitor import AdminVisitorDep, VisitorDep
from app.dashboard.routes import PAGES
from app.db.engine import Database
from app.db.tables import Base, Person, UserSession
from app.main import ROUTERS
from app.settings import Settings
from app.users.sessions import COOKIE, SAFE_METHODS
from tests.app.factories import make_headers
from tests.app.users.factories import make_browser, make_visitor, sign_in

ADA = {"employee_code": "A1", "name": "Ada Byron"}
# Whoever comes may see these; the kiosk has a camera's key of its own and shows nothing without it.
OPEN_PAGES = {"/login", "/setup", "/kiosk", "/kiosk-worker.js", "/kiosk.webmanifest"}
# These answer for ever.
STREAMS = {"/live"}
# What changes without anybody's asking: who was seen when, and what replicas and workers say of themselves.
RESTLESS = {"user_sessions", "api_keys", "gallery_replicas", "job_workers"}


@dataclass(frozen=True)
class Operation:
    """One method at one address; `needs` is the scope that it declares."""

    method: str
    path: str
    needs: Scope | None

    @property
    def url(self) -> str:
        """Of something that there is not."""
        return re.sub(r"\{[^}]+\}", "1", self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations() -> list[Operation]:
    """All of /v1."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return [
        Operation(method, route.path, _scope_of(route.dependant))
        for route in routes
        for method in sorted(route.methods)
        if route.path.startswith("/v1")
    ]


def pages() -> list[Operation]:
    """All that the dashboard shows, and the few forms that it takes."""
    routes = [route for router in PAGES for route in router.routes if isinstance(route, APIRoute)]
    return [
        Operation(method, route.path, _visitor_of(route.dependant))
        for route in routes
        for method in sorted(route.methods)
    ]


def _dependants(of: Dependant) -> Iterator[Dependant]:
    for each in of.dependencies:
        yield each
        yield from _dependants(each)


def _scope_of(dependant: Dependant) -> Scope | None:
    needed = [each.call.scope for each in _dependants(dependant) if isinstance(each.call, ScopeNeeded)]
    return max(needed, key=list(Scope).index, default=None)


def _visitor_of(dependant: Dependant) -> Scope | None:
    calls = [each.call for each in _dependants(dependant)]
    if get_args(AdminVisitorDep)[1].dependency in calls:
        return Scope.ADMIN
    return Scope.OPERATOR if get_args(VisitorDep)[1].dependency in calls else None


def ask(client: TestClient, operation: Operation, **options: Any) -> Response:
    return client.request(operation.method, operation.url, **options)


def code_of(answer: Response) -> str | None:
    is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return answer.json()["code"] if is_problem else None


def stored(database: Database) -> dict[str, list[Any]]:
    """Everything but what is restless."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in RESTLESS]
    with database.read() as session:
        return {table.name: sorted(map(repr, session.execute(select(table)))) for table in tables}


def test_every_operation_says_whom_it_is_for(client: TestClient) -> None:
    listed = {
        (method.upper(), path)
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
        if path.startswith("/v1")
    }
    assert {(each.method, each.path) for each in operations()} == listed
    assert [str(each) for each in operations() if each.needs is None] == []
    assert [str(each) for each in pages() if each.needs is None and each.path not in OPEN_PAGES] == []


class TestOnSqlite:
    """What does not depend on the database: hundreds of calls each."""

    @pytest.fixture
    def backend(self) -> str:
        return "sqlite"

    def test_nobody_may_do_anything(self, client: TestClient) -> None:
        wrong = {"X-API-Key": "rck_wrong"}
        for operation in operations():
            assert code_of(ask(client, operation)) == "key_missing", operation
            assert code_of(ask(client, operation, headers=wrong)) == "key_unknown", operation

    def test_nobody_is_shown_a_page(self, app: FastAPI, client: TestClient, database: Database) -> None:
        make_visitor(app=app)
        stranger = make_browser(app=app)
        for page in pages():
            if page.path not in OPEN_PAGES:
                answer = ask(stranger, page)
                assert (answer.status_code, answer.headers["location"][:6]) == (303, "/login"), page

    def test_an_operators_session_may_what_an_operators_key_may(
        self, app: FastAPI, client: TestClient, operator: dict[str, str]
    ) -> None:
        program, visitor = TestClient(app, headers=operator), make_visitor(app=app, role="operator")
        visitor.headers["Accept"] = "application/json"
        for operation in operations():
            is_refused = operation.needs is Scope.ADMIN
            for caller in (program, visitor):
                if str(operation) == "DELETE /v1/users/me/sessions":
                    continue  # keys have none
                answer = ask(caller, operation)
                assert (code_of(answer) == "scope_insufficient") == is_refused, operation
                assert answer.status_code != 401, operation

    def test_a_cameras_key_may_only_what_is_for_cameras(
        self, app: FastAPI, client: TestClient, camera: dict[str, str]
    ) -> None:
        program = TestClient(app, headers=camera)
        for operation in operations():
            if operation.needs is not Scope.CAMERA:
                assert code_of(ask(program, operation)) == "scope_insufficient", operation

    def test_an_operator_is_not_shown_what_is_for_administrators(self, app: FastAPI, client: TestClient) -> None:
        visitor = make_visitor(app=app, role="operator")
        for page in pages():
            if page.method == "GET" and page.path not in OPEN_PAGES | STREAMS:
                answer = ask(visitor, page)
                assert (answer.status_code == 403) == (page.needs is Scope.ADMIN), page
                if answer.status_code == 403:
                    assert "This page is for administrators." in answer.text, page

    def test_a_session_changes_nothing_without_its_pages_token(
        self, app: FastAPI, client: TestClient, database: Database
    ) -> None:
        visitor, other = make_visitor(app=app), make_visitor(app=app, username="other")
        own = visitor.headers.pop("X-CSRF-Token")
        before = stored(database)
        for operation in operations() + pages():
            if operation.method in SAFE_METHODS or operation.path in OPEN_PAGES:
                continue
            for token in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": other.headers["X-CSRF-Token"]}):
                answer = ask(visitor, operation, headers=token)
                is_form = not operation.path.startswith("/v1")  # its fields are looked at with the token
                assert answer.status_code == 403 or (is_form and answer.status_code == 422), operation
                assert code_of(answer) in ("csrf_invalid", None), operation
        assert stored(database) == before
        assert visitor.post("/v1/people", json=ADA, headers={"X-CSRF-Token": own}).status_code == 201

    def test_looking_changes_nothing(self, app: FastAPI, client: TestClient, database: Database) -> None:
        visitor = make_visitor(app=app)
        before = stored(database)
        for operation in operations() + pages():
            if operation.method == "GET" and operation.path not in STREAMS:
                answer = ask(visitor, operation)
                assert answer.status_code < 500, operation
        assert stored(database) == before

    def test_every_kind_of_answer_says_how_it_may_be_used(self, app: FastAPI, client: TestClient) -> None:
        visitor = make_visitor(app=app)
        large = {"content-length": "999999999"}
        answers = {
            "page": visitor.get("/users"),
            "problem page": visitor.get("/nowhere"),
            "redirect": make_browser(app=app).get("/users"),
            "sign-in": make_browser(app=app).get("/login"),
            "answer": visitor.get("/v1/users"),
            "no key": client.get("/v1/users"),
            "no token": visitor.post("/v1/users", headers={"X-CSRF-Token": "x"}),
            "fields": visitor.post("/v1/users", json={}),
            "nowhere": client.get("/nowhere"),
            "method": client.delete("/v1/system"),
            "too large": visitor.post("/v1/users", content=b"x", headers=large),
            "style": client.get("/assets/css/rollcall.css"),
            "no style": client.get("/assets/css/none.css"),
            "words": client.get("/assets/messages/vi.js"),
            "health": client.get("/health/live"),
            "metrics": client.get("/metrics"),
            "reference": client.get("/docs"),
            "schema": client.get("/openapi.json"),
        }
        for kind, answer in answers.items():
            policy = answer.headers.get("content-security-policy", "")
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, kind
            assert ("script-src 'self';" in policy) == (kind != "reference"), kind
            assert answer.headers["x-content-type-options"] == "nosniff", kind
            assert answer.headers["referrer-policy"] == "same-origin", kind
            assert "permissions-policy" in answer.headers, kind
        for kind in ("page", "problem page", "sign-in"):
            assert answers[kind].headers["cache-control"] == "no-store", kind

    def test_browsers_are_told_in_pages_and_programs_in_json(self, app: FastAPI, client: TestClient) -> None:
        visitor = make_visitor(app=app, role="operator")
        shown = [visitor.get("/users"), visitor.get("/nowhere"), visitor.get("/audit?cursor=junk")]
        assert [answer.status_code for answer in shown] == [403, 404, 403]
        assert {answer.headers["content-type"] for answer in shown} == {"text/html; charset=utf-8"}
        visitor.headers["Accept"] = "*/*"
        told = [visitor.get("/users"), visitor.get("/nowhere"), visitor.get("/v1/users")]
        assert [code_of(answer) for answer in told] == ["scope_insufficient", "not_found", "scope_insufficient"]

    def test_what_breaks_is_told_in_a_page_without_a_stack(self, app: FastAPI, client: TestClient) -> None:
        def broken() -> None:
            raise RuntimeError("a secret of the house")

        app.add_api_route("/broken", broken)
        page = make_browser(app=app).get("/broken")
        assert (page.status_code, page.headers["content-type"]) == (500, "text/html; charset=utf-8")
        assert "secret of the house" not in page.text
        assert code_of(client.get("/broken")) == "internal_error"


@pytest.fixture
def visitor(app: FastAPI, client: TestClient) -> TestClient:
    return make_visitor(app=app)


def n_people(database: Database) -> int:
    with database.read() as session:
        return len(session.scalars(select(Person)).all())


def test_a_session_writes_with_the_token_of_its_page_alone(visitor: TestClient, database: Database) -> None:
    token = visitor.headers.pop("X-CSRF-Token")
    refused = visitor.post("/v1/people", json=ADA)
    assert (refused.status_code, refused.json()["code"], n_people(database)) == (403, "csrf_invalid", 0)
    made = visitor.post("/v1/people", json=ADA, headers={"X-CSRF-Token": token})
    assert (made.status_code, n_people(database)) == (201, 1)


def test_the_token_of_an_earlier_session_is_worth_nothing(app: FastAPI, visitor: TestClient) -> None:
    sign_in(visitor, "admin")
    assert visitor.post("/v1/people", json=ADA).json()["code"] == "csrf_invalid"


def test_a_key_in_the_cookie_is_nobody(app: FastAPI, client: TestClient, admin: dict[str, str]) -> None:
    browser = make_browser(app=app)
    browser.cookies.set(COOKIE, admin["X-API-Key"])
    assert browser.get("/v1/people").status_code == 401
    assert browser.get("/users").status_code == 303


def test_a_wrong_key_is_not_made_good_by_a_session(visitor: TestClient) -> None:
    for headers in ({"X-API-Key": "rck_wrong"}, {"Authorization": "Bearer rck_wrong"}):
        answer = visitor.get("/v1/people", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "key_unknown")


def test_a_key_counts_before_a_session(visitor: TestClient, database: Database) -> None:
    lesser = make_headers(database=database, scope="camera")
    assert visitor.get("/v1/people", headers=lesser).json()["code"] == "scope_insufficient"


def test_a_session_is_not_a_key(app: FastAPI, visitor: TestClient) -> None:
    program = TestClient(app, headers={"X-API-Key": visitor.cookies[COOKIE]})
    assert program.get("/v1/people").json()["code"] == "key_unknown"


def test_who_is_signed_in_cannot_send_too_much_either(visitor: TestClient, settings: Settings) -> None:
    declared = {"content-length": str(settings.max_enroll_bytes + 1)}
    assert visitor.post("/v1/enroll", content=b"x", headers=declared).json()["code"] == "request_too_large"
    without_token = {"X-CSRF-Token": "", **declared}
    assert visitor.post("/v1/enroll", content=b"x", headers=without_token).status_code == 413

    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        for _ in range(25):
            yield bytes(1_000_000)

    form = {"content-type": "multipart/form-data; boundary=b"}
    grown = visitor.post("/v1/captures", content=chunks(), headers=form)
    assert (grown.status_code, grown.json()["code"]) == (413, "request_too_large")


def test_a_body_without_a_token_is_not_even_read(app: FastAPI, visitor: TestClient) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was asked for")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"cookie", f"{COOKIE}={visitor.cookies[COOKIE]}".encode()), (b"x-csrf-token", b"wrong")]
    scope = {"type": "http", "method": "POST", "path": "/v1/enroll", "query_string": b"", "headers": headers}
    asyncio.run(
        app({**scope, "client": ("10.0.0.1", 1), "server": ("testserver", 80), "scheme": "http"}, receive, send)
    )
    assert sent[0]["status"] == 403 and b"csrf_invalid" in sent[1]["body"]


def test_the_session_of_one_user_says_nothing_to_another(app: FastAPI, visitor: TestClient, database: Database) -> None:
    other = make_visitor(app=app, role="operator", username="ben")
    assert [each.get("/v1/users/me").json()["username"] for each in (visitor, other)] == ["admin", "ben"]
    with database.read() as session:
        tokens = session.scalars(select(UserSession.csrf_token)).all()
    assert len(set(tokens)) == 2

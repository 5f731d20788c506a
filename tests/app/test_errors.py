import json
from collections.abc import Callable
from errno import ENOSPC
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from app.db.engine import TooManyWritersError
from app.errors import IMAGE_STATUS, TABLE, ProblemError
from app.hashing import HashingBusyError
from app.inference.port import InferenceBusyError, InferenceClosedError
from app.logs import safe_traceback
from ml.errors import GalleryError, ImageError, ModelError


@pytest.fixture
def backend() -> str:
    return "sqlite"  # nothing here depends on the database


class Body(BaseModel):
    count: int


def raiser(exc: Exception) -> Callable[[], None]:
    def route() -> None:
        raise exc

    return route


def is_problem(response: Any, *, status: int, code: str) -> bool:
    body = response.json()
    return (
        response.status_code == body["status"] == status
        and body["code"] == code
        and response.headers["content-type"] == "application/problem+json"
        and set(body) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
        and body["request_id"] == response.headers["x-request-id"]
    )


CASES = [
    *[(ImageError(code, "why"), status, code) for code, status in IMAGE_STATUS.items()],
    (ModelError("no such file"), 503, "model_unavailable"),
    (GalleryError("mixed backbones"), 500, "internal_error"),
    (OperationalError("SELECT", {}, Exception("down")), 503, "database_unavailable"),
    (OperationalError("INSERT", {}, Exception("database or disk is full")), 507, "storage_full"),
    (OSError(ENOSPC, "No space left on device"), 507, "storage_full"),
    (TooManyWritersError(), 429, "overloaded"),
    (InferenceBusyError(2), 429, "overloaded"),
    (HashingBusyError(), 429, "overloaded"),
    (InferenceClosedError(), 503, "not_ready"),
    (PoolTimeoutError("no connection"), 503, "database_unavailable"),
    (DataError("SELECT", {}, Exception("NUL")), 422, "fields_invalid"),
    (ClientDisconnect(), 400, "client_disconnected"),
    (ProblemError(409, "person_gone", "why"), 409, "person_gone"),
    (RuntimeError("a secret of the server"), 500, "internal_error"),
]


@pytest.mark.parametrize(("exc", "status", "code"), CASES, ids=lambda case: getattr(case, "code", None))
def test_every_exception_has_its_status_and_code(
    app: FastAPI, client: TestClient, exc: Exception, status: int, code: str
) -> None:
    app.add_api_route("/raise", raiser(exc))
    response = client.get("/raise")
    assert is_problem(response, status=status, code=code)
    assert ("retry-after" in response.headers) == (status in (429, 503))


def test_every_kind_of_exception_in_the_table_is_tried_above() -> None:
    tried = [type(exc) for exc, _, _ in CASES]
    by_http = 2  # RequestValidationError and HTTPException are raised by requests, below
    untried = [kinds for kinds, _ in TABLE if not any(issubclass(kind, kinds) for kind in tried)]
    assert len(untried) <= by_http


def test_an_unexpected_error_is_logged_with_its_stack_and_answered_without(app: FastAPI, client: TestClient) -> None:
    app.add_api_route("/raise", raiser(RuntimeError("a secret of the server")))
    with capture_logs() as logs:
        response = client.get("/raise")
    assert is_problem(response, status=500, code="internal_error")
    assert "secret" not in response.text and "Traceback" not in response.text
    failed = next(line for line in logs if line["event"] == "http.failed")
    assert "in route" in failed["exception"] and "a secret of the server" in failed["exception"]


def test_a_wrong_field_is_named_but_its_value_is_not_repeated(app: FastAPI, client: TestClient) -> None:
    def route(body: Body) -> None: ...

    app.add_api_route("/fields", route, methods=["POST"])
    response = client.post("/fields", json={"count": "my password"})
    assert is_problem(response, status=422, code="fields_invalid")
    assert response.json()["errors"] == [
        {"loc": ["body", "count"], "msg": "Input should be a valid integer, unable to parse string as an integer"}
    ]
    assert "password" not in response.text


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000], ids=["cut", "not UTF-8", "nested"])
def test_a_body_that_is_not_json_is_refused(app: FastAPI, client: TestClient, body: bytes) -> None:
    def route(body: Body) -> None: ...

    app.add_api_route("/fields", route, methods=["POST"])
    response = client.post("/fields", content=body, headers={"content-type": "application/json"})
    assert is_problem(response, status=422, code="fields_invalid") or is_problem(
        response, status=400, code="body_invalid"
    )


def test_an_unknown_address_and_a_wrong_method_are_problems(client: TestClient) -> None:
    assert is_problem(client.get("/nowhere"), status=404, code="not_found")
    response = client.put("/health/live")
    assert is_problem(response, status=405, code="method_not_allowed")
    assert response.headers["allow"] == "GET"


def test_a_logged_stack_shows_no_values_that_were_validated_or_stored() -> None:
    def fail(name: str) -> None:
        try:
            Body.model_validate({"count": name})
        except ValidationError as exc:
            raise DataError("INSERT", {}, Exception(f"bad row\nDETAIL: ({name})")) from exc

    with pytest.raises(DataError) as caught:
        fail("Grace " + "Hopper")
    text = safe_traceback(caught.value)
    assert "Grace Hopper" not in text
    assert "bad row" in text and "ValidationError" in text and "in fail" in text


def test_openapi_documents_the_problem_and_all_ways_to_say_who_calls(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    documented = {
        "/v1/people",
        "/v1/people/{person_id}",
        "/v1/people/import",
        "/v1/people/export",
        "/v1/audit",
        "/health/live",
        "/health/ready",
    }
    assert documented <= set(schema["paths"])
    assert set(schema["components"]["securitySchemes"]) == {"ApiKey", "Bearer", "Session"}
    create = schema["paths"]["/v1/people"]["post"]
    assert create["security"] == [{"ApiKey": []}, {"Bearer": []}, {"Session": []}]
    assert "application/problem+json" in create["responses"]["default"]["content"]
    assert "HTTPValidationError" not in json.dumps(schema)


def test_every_reference_in_openapi_leads_somewhere(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    references = {part.split('"')[0] for part in json.dumps(schema).split('"#/components/schemas/')[1:]}
    assert references <= set(schema["components"]["schemas"])


def test_a_disk_that_is_full_while_a_form_is_read_is_not_the_callers_fault(app: FastAPI, client: TestClient) -> None:
    def route() -> None:
        try:
            raise OSError(ENOSPC, "No space left on device")
        except OSError as error:
            raise HTTPException(400, "There was an error parsing the body") from error

    app.add_api_route("/full", route)
    assert is_problem(client.get("/full"), status=507, code="storage_full")

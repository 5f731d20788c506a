import re

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient


@pytest.fixture
def backend() -> str:
    return "sqlite"  # nothing here depends on the database


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app)  # not started: the reference needs neither networks nor database


@pytest.fixture
def page(client: TestClient) -> str:
    return client.get("/docs").text


def test_the_reference_asks_no_other_server_for_anything(page: str) -> None:
    assert "//" not in page
    assert '"validatorUrl": null' in page


def test_everything_that_the_reference_needs_is_here(client: TestClient, page: str) -> None:
    addresses = re.findall(r"""(?:src|href)="([^"]+)"|url: '([^']+)'""", page)
    found = {a or b: client.get(a or b) for a, b in addresses}
    assert set(found) >= {"/docs/assets/swagger-ui-bundle.js", "/docs/assets/swagger-ui.css", "/openapi.json"}
    assert {answer.status_code for answer in found.values()} == {200}


def test_the_reference_does_not_describe_itself(client: TestClient) -> None:
    assert not [path for path in client.get("/openapi.json").json()["paths"] if path.startswith("/docs")]


def test_there_is_one_reference(client: TestClient) -> None:
    assert client.get("/redoc").status_code == 404

from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from starlette.testclient import TestClient

from app.db.engine import Database
from app.main import create_app
from app.settings import Settings


def test_a_live_process_says_so(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "live"}


def test_a_ready_service_names_its_checks(app: FastAPI, client: TestClient) -> None:
    app.state.readiness["model"] = lambda: None
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert {"database", "migrations", "model"} <= set(response.json()["checks"])


def test_a_service_that_lacks_something_says_what(app: FastAPI, client: TestClient) -> None:
    def broken() -> str | None:
        raise RuntimeError("a secret of the server")

    app.state.readiness.update(model=lambda: "The model is loading.", gallery=broken)
    response = client.get("/health/ready")
    problem = response.json()
    assert (response.status_code, problem["code"]) == (503, "not_ready")
    assert {"loc": ["model"], "msg": "The model is loading."} in problem["errors"]
    assert {error["loc"][0] for error in problem["errors"]} == {"model", "gallery"}
    assert "secret" not in response.text


def test_a_gallery_that_is_not_kept_up_to_date_is_not_ready(
    app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.state.gallery_upkeep.follower.stop()  # as if it had died
    monkeypatch.setattr("app.gallery.replica.STALE_AFTER_S", 0.0)
    [problem] = client.get("/health/ready").json()["errors"]
    assert problem["loc"] == ["gallery"]
    assert problem["msg"].startswith("The gallery was last compared with the database")


def test_a_database_of_another_release_is_not_ready(client: TestClient, database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    problem = client.get("/health/ready").json()
    assert [error["loc"] for error in problem["errors"]] == [["migrations"]]


def test_a_database_that_is_away_is_not_ready_and_requests_say_so(tmp_path: Path) -> None:
    nowhere = SecretStr("postgresql://nobody@127.0.0.1:9/none")
    app = create_app(Settings(data_dir=tmp_path, database_url=nowhere))
    client = TestClient(app)  # not started: it could not migrate
    assert client.get("/health/live").status_code == 200
    problem = client.get("/health/ready").json()
    assert problem["code"] == "not_ready"
    assert ["database"] in [error["loc"] for error in problem["errors"]]
    response = client.get("/v1/people", headers={"X-API-Key": "rck_x"})
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert response.headers["retry-after"]

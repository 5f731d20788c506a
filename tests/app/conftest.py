"""The service on SQLite and on PostgreSQL: every test that asks for a database runs on both.

A test for one of them says `@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)`; a module whose tests do
not depend on the database has its own fixture `backend` that returns "sqlite".
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI, routing
from sqlalchemy import URL, make_url
from starlette.testclient import TestClient

from app.db.engine import Database, make_engine
from app.inference.loading import load_inference
from app.inference.port import Inference
from app.main import create_app
from app.settings import Settings
from ml.plan import default_plan
from tests import postgres
from tests.app.databases import Databases, create, drop
from tests.app.factories import make_headers


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[psycopg.Connection]:
    """A connection that may create databases; skips, visibly, where there is no server to be had."""
    with postgres.server_url() as url, psycopg.connect(url, autocommit=True, connect_timeout=60) as connection:
        yield connection


@pytest.fixture(scope="session")
def postgres_databases(
    postgres_server: psycopg.Connection, inference: Inference, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    """Databases of a service that was started once, for one test after the other."""
    template = create(postgres_server, "template1")
    _start_once(_postgres_url(postgres_server, template), tmp_path_factory.mktemp("template"), inference)
    databases = Databases(postgres_server, template)
    yield databases
    databases.drop_all()
    drop(postgres_server, template)


@pytest.fixture(scope="session")
def sqlite_template(inference: Inference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database file of a service that was started once, which others are copied from."""
    folder = tmp_path_factory.mktemp("template")
    path = folder / "rollcall.sqlite3"
    _start_once(_sqlite_url(path), folder, inference)
    database = Database(make_engine(_sqlite_url(path)))
    database.scrub()
    database.dispose()
    return path


def _start_once(url: URL, folder: Path, inference: Inference) -> None:
    """Migrates, and finds the first threshold: a quarter of what most tests would compute, the same each time."""
    settings = Settings(data_dir=folder / "data", database_url=url.render_as_string(hide_password=False))
    with TestClient(create_app(settings, inference)):
        pass


@pytest.fixture
def empty_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[URL]:
    """A database with nothing in it."""
    if backend == "sqlite":
        yield _sqlite_url(tmp_path / "empty.sqlite3")
        return
    server = request.getfixturevalue("postgres_server")
    name = create(server, "template1")
    yield _postgres_url(server, name)
    drop(server, name)


@pytest.fixture(scope="session", autouse=True)
def routes_are_read_once() -> Iterator[None]:
    """FastAPI works out what each route needs anew for each application, with its first request: 0.1 s of each test.

    What it finds depends on where the route is included, and not on the application: none of ours overrides a
    dependency.
    """
    build = routing._EffectiveRouteContext.from_api_route
    found: dict[Any, Any] = {}

    def find(*, original_route: Any, include_context: Any) -> Any:
        depends = tuple(each.dependency for each in include_context.dependencies)
        place = id(original_route), include_context.path_for(original_route), depends
        if place not in found:
            alone = replace(include_context, dependency_overrides_provider=None)
            found[place] = original_route, build(original_route=original_route, include_context=alone)
        return found[place][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routing._EffectiveRouteContext, "from_api_route", find)
        yield


@pytest.fixture
def url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[URL]:
    """A database of this test's own, of a service that was started once before."""
    if backend == "sqlite":
        path = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "rollcall.sqlite3")
        yield _sqlite_url(Path(path))
        return
    databases: Databases = request.getfixturevalue("postgres_databases")
    with databases.lent() as name:
        yield _postgres_url(request.getfixturevalue("postgres_server"), name)


@pytest.fixture
def settings(url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("ROLLCALL_")]:
        monkeypatch.delenv(name)
    return Settings(data_dir=tmp_path / "data", database_url=url.render_as_string(hide_password=False))


@pytest.fixture(scope="session")
def inference(tmp_path_factory: pytest.TempPathFactory) -> Inference:
    """The default networks on the CPU, loaded once: they take seconds and keep nothing of what they see.

    On one thread: each core has a test process of its own, and two teams of threads would wait for each other.
    """
    plan = replace(default_plan("cpu"), n_threads=1)
    return load_inference(Settings(data_dir=tmp_path_factory.mktemp("inference"), device="cpu", engine=str(plan)))


@pytest.fixture
def app(settings: Settings, inference: Inference) -> Iterator[FastAPI]:
    made = create_app(settings, inference)
    yield made
    made.state.database.dispose()  # of a test that never starts it


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Speaks to the started application."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def database(app: FastAPI, client: TestClient) -> Database:
    """The application's own database."""
    database: Database = app.state.database
    return database


@pytest.fixture
def admin(database: Database) -> dict[str, str]:
    return make_headers(database=database, scope="admin")


@pytest.fixture
def operator(database: Database) -> dict[str, str]:
    return make_headers(database=database, scope="operator")


@pytest.fixture
def camera(database: Database) -> dict[str, str]:
    return make_headers(database=database, scope="camera")


def _sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _postgres_url(server: psycopg.Connection, name: str) -> URL:
    info = server.info
    url = make_url("postgresql+psycopg://")
    return url.set(username=info.user, password=info.password or None, host=info.host, port=info.port, database=name)

"""The power fails while people are enrolled: what was acknowledged is there, and nothing is half there.

The files are copied at an instant in which no process runs, and opened elsewhere: a power cut after which the disk has
everything that it was given.
"""

import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from starlette.testclient import TestClient

from app.inference.loading import load_inference
from app.inference.port import Inference
from app.main import create_app
from app.settings import Settings
from tests import postgres
from tests.app import photos
from tests.postgres import Cluster, running_cluster, stopped
from tests.server import Server, audits, enroll, identify, running_server

# Of each database; a cut costs about two seconds.
CUTS = [f"cut{number}" for number in range(int(os.environ.get("ROLLCALL_TEST_POWER_CUTS", "3")))]
N_WRITERS = 3
# Long enough for a dozen enrolments.
LONGEST_WAIT_S = 0.7
PHOTOS = {
    "G": [photos.grace(variant=variant) for variant in range(6)],
    "E": [photos.eileen(variant=variant) for variant in range(6)],
}

pytestmark = pytest.mark.timeout(120 + 30 * len(CUTS))

Rows = Callable[[str], list[tuple[Any, ...]]]
"""Answers a question to the database itself."""
Copy = TypeVar("Copy")


@dataclass
class Record:
    """What the writers were told: the answer by employee code. One that was refused or cut off is a failure."""

    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def wait_for(self, n: int) -> None:
        """Until there are this many answers."""
        until = monotonic() + 60.0
        while len(self.acknowledged) < n:
            assert monotonic() < until and not self.failures, self.failures
            sleep(0.005)


@contextmanager
def enrolling(server: Server, key: str, prefix: str) -> Iterator[Record]:
    """People are enrolled during the block, one after another by each of several clients."""
    record, ending = Record(), threading.Event()
    writers = [
        threading.Thread(target=_write, args=(server, key, f"{prefix}{number}", record, ending))
        for number in range(N_WRITERS)
    ]
    for writer in writers:
        writer.start()
    try:
        yield record
    finally:
        ending.set()
        for writer in writers:
            writer.join()
    assert record.failures == []


def _write(server: Server, key: str, prefix: str, record: Record, ending: threading.Event) -> None:
    with server.client(key) as client:
        for number in count():
            if ending.is_set():
                return
            letter = "GE"[number % 2]
            code, pictures = f"{letter}-{prefix}-{number}", PHOTOS[letter]
            pair = pictures[number % 6], pictures[(number + 1) % 6]
            try:
                answer = enroll(client, code, *pair, name="Somebody", on_duplicate="allow")
                answer.raise_for_status()
            except httpx.HTTPError as error:
                record.failures.append(repr(error))
                return
            record.acknowledged[code] = answer.json()


@pytest.fixture(scope="module")
def inference(tmp_path_factory: pytest.TempPathFactory) -> Inference:
    """The default networks, for the services that are started on the copies."""
    return load_inference(Settings(data_dir=tmp_path_factory.mktemp("inference"), device="cpu"))


def assert_whole(rows: Rows) -> None:
    """Every enrolment is one transaction: its person, its templates, the log, its audit entry, and nothing besides."""
    templates = rows("SELECT id, person_id FROM templates ORDER BY id")
    logged = rows("SELECT template_id, person_id FROM gallery_changes WHERE kind = 'add' ORDER BY template_id")
    assert templates == logged
    enrolments = rows("SELECT id, person_id FROM enrolments WHERE status = 'done' ORDER BY id")
    assert rows("SELECT DISTINCT enrolment_id, person_id FROM templates ORDER BY enrolment_id") == enrolments
    assert rows("SELECT id FROM people ORDER BY id") == sorted((person_id,) for _, person_id in enrolments)
    told = rows("SELECT target FROM audit_log WHERE action = 'enrolment.created' ORDER BY target")
    assert told == [(enrolment_id,) for enrolment_id, _ in enrolments]
    revisions = rows("SELECT DISTINCT revision FROM gallery_changes ORDER BY revision")
    assert revisions == [(number + 1,) for number in range(len(enrolments))]
    assert rows("SELECT revision FROM gallery_state") == [(len(enrolments),)]


def assert_kept(client: httpx.Client, acknowledged: dict[str, dict[str, Any]]) -> None:
    """Whoever was told that somebody is enrolled finds it so."""
    assert acknowledged
    for answer in acknowledged.values():
        stored = client.get(f"/v1/enrolments/{answer['id']}").json()
        assert stored["templates"] == answer["templates"] != []
        assert stored["person"] == answer["person"]


def assert_searchable(client: httpx.Client, n_templates: int, letters: set[str]) -> None:
    """The index is that of the database, and recognises whoever is enrolled."""
    (report,) = audits(client)
    assert (report["is_clean"], report["n_indexed"]) == (True, n_templates)
    for letter in letters:
        answer = identify(client, PHOTOS[letter][0]).json()
        assert answer["gallery"]["n_templates"] == n_templates
        assert answer["faces"][0]["candidates"][0]["person"]["employee_code"].startswith(letter)


def assert_service_goes_on(settings: Settings, inference: Inference, key: str, before: Record, rows: Rows) -> None:
    """A service on the copy has what the writers had been told, finds it, and takes more."""
    ((n_templates,),) = rows("SELECT count(*) FROM templates")
    with TestClient(create_app(settings, inference), headers={"X-API-Key": key}) as client:
        assert client.get("/health/ready").status_code == 200
        assert_kept(client, before.acknowledged)
        assert_searchable(client, n_templates, {code[0] for code in before.acknowledged})
        assert enroll(client, "G-after", photos.grace(), name="Somebody", on_duplicate="allow").status_code == 201
    assert_whole(rows)


@contextmanager
def sqlite_rows(path: Path) -> Iterator[Rows]:
    with closing(sqlite3.connect(path)) as connection:
        yield lambda query: connection.execute(query).fetchall()


@contextmanager
def postgres_rows(url: str) -> Iterator[Rows]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield lambda query: connection.execute(query.encode()).fetchall()


def cut_at_any_moment(server: Server, name: str, copy: Callable[[], Copy]) -> tuple[Record, Copy]:
    """Copies the files while people are enrolled; also returns what had been acknowledged before that."""
    with enrolling(server, server.printed_keys[0], name) as record:
        record.wait_for(1)
        sleep(random.uniform(0.0, LONGEST_WAIT_S))
        before = Record(dict(record.acknowledged))
        return before, copy()


def copy_as_after_a_power_cut(server: Server, to: Path) -> Path:
    with stopped([server.pid]):
        shutil.copytree(server.data_dir, to)
    return to


def test_sqlite_survives_a_power_cut_at_any_moment(tmp_path: Path, inference: Inference) -> None:
    with running_server(tmp_path / "data", ROLLCALL_WORKERS="0") as server:
        key = server.printed_keys[0]
        for name in CUTS:
            before, copied = cut_at_any_moment(
                server, name, partial(copy_as_after_a_power_cut, server, tmp_path / name)
            )
            with sqlite_rows(copied / "rollcall.sqlite3") as rows:
                assert rows("PRAGMA integrity_check") == [("ok",)]
                assert rows("PRAGMA foreign_key_check") == []
                assert_whole(rows)
                assert_service_goes_on(Settings(data_dir=copied), inference, key, before, rows)


def test_postgres_survives_a_power_cut_at_any_moment(tmp_path: Path, inference: Inference) -> None:
    with running_cluster() as cluster:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE rollcall")
        settings = {"ROLLCALL_DATABASE_URL": cluster.url("rollcall"), "ROLLCALL_WORKERS": "0"}
        with running_server(tmp_path / "data", **settings) as server:
            for name in CUTS:
                copy = partial(cluster.copy_as_after_a_power_cut, cluster.data.with_name(name))
                before, copied = cut_at_any_moment(server, name, copy)
                assert_copy_is_sound(copied, tmp_path, inference, server.printed_keys[0], before)


def assert_copy_is_sound(cluster: Cluster, data_dir: Path, inference: Inference, key: str, before: Record) -> None:
    """Starts it, which replays its log, reads every page and index, and lets a service run on it."""
    url = cluster.url("rollcall")
    try:
        cluster.start()
        postgres.run("pg_amcheck", "--install-missing", "--heapallindexed", url)
        settings = Settings(data_dir=data_dir, database_url=url)
        with postgres_rows(url) as rows:
            assert_whole(rows)
            assert_service_goes_on(settings, inference, key, before, rows)
    finally:
        cluster.stop("immediate")

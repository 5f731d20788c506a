"""Backups of a running service by the README's own commands, and what a service on the restored database answers."""

import shutil
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.app import photos
from tests.e2e.test_deployment import shell_blocks, shell_environment
from tests.e2e.test_power_cut import N_WRITERS, assert_kept, enrolling
from tests.postgres import Cluster, running_cluster
from tests.server import Server, audits, enroll, run_rollcall, running_server

BACK_UP_SQLITE, RESTORE_SQLITE, BACK_UP_POSTGRES, RESTORE_POSTGRES = shell_blocks("\n**Backup.**")
PHOTOS = [maker(variant=variant) for variant in (0, 2, 4) for maker in (photos.grace, photos.eileen)]


def run_documented(block: str, **settings: str) -> None:
    done = subprocess.run(
        ["bash", "-e", "-c", block], env=shell_environment(**settings), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def answers(client: httpx.Client) -> list[dict[str, Any]]:
    """What is decided about every photo, and on what ground."""
    found = []
    for photo in PHOTOS:
        answer = client.post("/v1/identify?top_k=50", files={"image": ("a.jpg", photo)}).json()
        (face,) = answer["faces"]
        face.pop("event_id")
        found.append({"face": face, "threshold": answer["operating_point"]["threshold"]})
    return found


def scores(client: httpx.Client) -> list[tuple[float, list[float]]]:
    """The decision score of every photo, and everybody's own; many are the same face, so who comes first is open."""
    faces = [answer["face"] for answer in answers(client)]
    return [(face["score"], sorted(candidate["score"] for candidate in face["candidates"])) for face in faces]


def people(client: httpx.Client) -> set[str]:
    return {person["id"] for person in client.get("/v1/people?limit=200").json()["items"]}


def enrol_both(client: httpx.Client) -> None:
    for code, maker in (("G1", photos.grace), ("E1", photos.eileen)):
        assert enroll(client, code, maker(), maker(variant=1), maker(variant=3), name="Somebody").status_code == 201


def leave_behind(server: Server, data_dir: Path) -> None:
    """What a restore may find in the folder: the files of a newer database that was not closed in good order."""
    shutil.copytree(server.data_dir, data_dir)
    assert (data_dir / "rollcall.sqlite3-wal").stat().st_size


def test_a_sqlite_backup_under_load_has_everybody_who_was_enrolled_before(tmp_path: Path) -> None:
    file, restored = tmp_path / "backup.sqlite3", tmp_path / "restored"
    with running_server(tmp_path / "data", ROLLCALL_WORKERS="0") as server:
        with enrolling(server, server.printed_keys[0], "load") as record:
            record.wait_for(6)
            before = dict(record.acknowledged)
            run_documented(BACK_UP_SQLITE, ROLLCALL_DATA_DIR=str(server.data_dir), BACKUP=str(file))
            record.wait_for(len(record.acknowledged) + N_WRITERS + 1)  # of these one at least is not in it
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert list(tmp_path.glob("*.part")) + list(tmp_path.glob("backup.sqlite3-*")) == []
        leave_behind(server, restored)
        run_documented(RESTORE_SQLITE, ROLLCALL_DATA_DIR=str(restored), BACKUP=str(file))
        with running_server(restored, ROLLCALL_WORKERS="0") as copy:
            assert_equal(server, copy, before)


def assert_equal(server: Server, copy: Server, before: dict[str, dict[str, Any]]) -> None:
    """Once those who came after the copy are gone, both hold and answer the same."""
    key = server.printed_keys[0]
    with server.client(key) as here, copy.client(key) as there:
        assert_kept(there, before)
        later = people(here) - people(there)
        assert later
        for person_id in later:
            here.delete(f"/v1/people/{person_id}").raise_for_status()
        assert people(here) == people(there)
        assert scores(here) == scores(there)
        reports = [*audits(here), *audits(there)]
    assert all(report["is_clean"] for report in reports)
    assert len({report["fingerprint"] for report in reports}) == 1


def test_a_postgres_backup_answers_as_the_original_did(tmp_path: Path) -> None:
    file = tmp_path / "backup.dump"
    with running_cluster() as cluster:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE rollcall")
        url = cluster.url("rollcall")
        with running_server(tmp_path / "data", ROLLCALL_DATABASE_URL=url, ROLLCALL_WORKERS="0") as server:
            key = server.printed_keys[0]
            with server.client(key) as client:
                enrol_both(client)
                client.post("/v1/threshold/recalibrate").raise_for_status()
                run_documented(BACK_UP_POSTGRES, ROLLCALL_DATABASE_URL=url, BACKUP=str(file))
                expected = answers(client)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {answer["face"]["outcome"] for answer in expected} == {"identified"}
    with running_cluster() as cluster:
        restore(cluster, file)
        settings = {"ROLLCALL_DATABASE_URL": cluster.url("rollcall"), "ROLLCALL_WORKERS": "0"}
        with running_server(tmp_path / "other", **settings) as server, server.client(key) as client:
            assert answers(client) == expected
            assert [report["is_clean"] for report in audits(client)] == [True]


def restore(cluster: Cluster, file: Path) -> None:
    where = {"PGHOST": "127.0.0.1", "PGPORT": str(cluster.port), "PGUSER": "postgres"}
    run_documented(RESTORE_POSTGRES, **where, ROLLCALL_DATABASE_URL=cluster.url("rollcall"), BACKUP=str(file))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new database."""
    folder = tmp_path_factory.mktemp("backup") / "data"
    assert run_rollcall(folder, "migrate").status == 0
    return folder


def assert_refused(data_dir: Path, file: Path, *words: str, **settings: str) -> str:
    """In one line, and nothing is left of the attempt."""
    told = run_rollcall(data_dir, "backup", file, **settings)
    assert told.status == 1 and told.err.count("\n") == 1, told
    assert all(word in told.err for word in words), told
    assert list(file.parent.glob("*.part")) + list(file.parent.glob(".*.part")) == []
    return told.err


def test_a_backup_is_one_file_and_says_how_to_restore_it(data_dir: Path, tmp_path: Path) -> None:
    made = run_rollcall(data_dir, "backup", tmp_path / "b")
    assert made.status == 0, made
    assert "is a sound copy" in made.out and "-wal" in made.out and "100%" in made.err
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    with closing(sqlite3.connect(f"file:{tmp_path / 'b'}?mode=ro&immutable=1", uri=True)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_backup_overwrites_nothing(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("precious")
    assert_refused(data_dir, tmp_path / "b", "exists already")
    assert (tmp_path / "b").read_text() == "precious"


def test_a_backup_of_what_is_not_there_or_not_ours_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "data", tmp_path / "b", "there is no database", "ROLLCALL_DATA_DIR")
    assert not (tmp_path / "data").exists()
    with closing(sqlite3.connect(tmp_path / "rollcall.sqlite3")) as other, other:
        other.execute("CREATE TABLE recipes (id INTEGER)")
    assert_refused(tmp_path, tmp_path / "b", "no database of Rollcall's")
    assert not (tmp_path / "b").exists()


def test_on_postgres_it_names_the_command_to_use_without_the_password(data_dir: Path, tmp_path: Path) -> None:
    url = "postgresql://ada:s3cret@db.example/rollcall?sslmode=require&password=s3cret"
    told = assert_refused(data_dir, tmp_path / "b", "pg_dump --format=custom", ROLLCALL_DATABASE_URL=url)
    assert "'postgresql://ada@db.example/rollcall?sslmode=require'" in told and "s3cret" not in told

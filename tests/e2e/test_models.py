"""`kill -9` while a model takes another one's place: before the commit nothing has changed, and after it all has."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from sqlite3 import connect
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from app.db.engine import open_database
from app.sealing import Sealer
from app.settings import Settings
from tests.app import photos
from tests.app.models.rotations import BASE, make_rotation
from tests.server import Server, enroll, identify, running_server

N_KILLS = 3
PATIENCE_S = 120.0

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "data", ROLLCALL_WORKER_TIMEOUT_S="2") as running:
        yield running


def worker_pid(server: Server) -> int | None:
    """The process beside the service that runs jobs."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError):
                parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
                if int(parent) == server.pid and b"app.jobs" in (folder / "cmdline").read_bytes():
                    return int(folder.name)
    return None


def kill_worker(server: Server) -> None:
    pid = worker_pid(server)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def in_force(server: Server) -> tuple[str, str, str]:
    """The model that is searched with, the champion of the registry, and the model of the threshold."""
    with closing(connect(server.database_path)) as database:
        query = """SELECT g.model, m.word, o.model FROM gallery_state g, models m, threshold_state t
            JOIN operating_points o ON o.id = t.current_id WHERE m.status = 'champion'"""
        rows = database.execute(query).fetchall()
    assert len(rows) == 1  # never two champions, and never none
    found: tuple[str, str, str] = rows[0]
    return found


def recognised(client: httpx.Client) -> tuple[str, str | None]:
    answer = identify(client, photos.grace(variant=4))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    person = said["faces"][0]["person"]
    return said["model"], person and person["employee_code"]


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    """The job, once it is over."""
    until_s = monotonic() + PATIENCE_S
    while (state := client.get(f"/v1/jobs/{job}").json())["status"] not in ("done", "failed"):
        assert monotonic() < until_s, state
        sleep(0.1)
    over: dict[str, Any] = state
    return over


def test_killed_at_any_moment_a_promotion_is_whole_or_not_at_all(server: Server) -> None:
    settings = Settings(data_dir=server.data_dir)
    moments = Random(9)
    with server.client(server.new_key("admin")) as client:
        for code, face in (("G1", photos.grace), ("E1", photos.eileen)):
            assert enroll(client, code, face(variant=1), face(variant=2), name=code).status_code == 201
        database = open_database(settings)
        model = make_rotation(database=database, sealer=Sealer.of(settings), seed=7)
        database.dispose()
        asked = client.post(f"/v1/models/{model.id}/promote", json={})
        assert asked.status_code == 202, asked.text
        job = asked.json()["job_id"]
        for _ in range(N_KILLS):
            until_s = monotonic() + PATIENCE_S
            while client.get(f"/v1/jobs/{job}").json()["status"] == "queued" and monotonic() < until_s:
                sleep(0.02)
            sleep(moments.uniform(0, 3))
            kill_worker(server)
            assert len(set(in_force(server))) == 1
            word, who = recognised(client)
            assert word in (BASE, model.word) and who == "G1"
        state = ended(client, job)
        if state["status"] == "failed":  # a job whose worker has died so often is not tried again by itself
            assert "died" in state["error"]
            assert set(in_force(server)) == {BASE}
            state = ended(client, client.post(f"/v1/models/{model.id}/promote", json={}).json()["job_id"])
        assert state["status"] == "done", state
        assert in_force(server) == (model.word,) * 3
        until_s = monotonic() + 10.0
        while recognised(client)[0] != model.word:
            assert monotonic() < until_s
        assert recognised(client) == (model.word, "G1")
        server.kill()
        server.start()  # the settings still name the first network
    with server.client(server.new_key("admin")) as client:
        assert recognised(client) == (model.word, "G1")
        back = client.post(f"/v1/models/{model.id}/rollback", json={})
        assert back.json()["model"] == BASE, back.text
        assert recognised(client) == (BASE, "G1")

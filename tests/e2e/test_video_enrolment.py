"""`kill -9` of the service or its worker amid video enrolments: each is done once, and nothing stays behind."""

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from app.jobs.rules import DIED_TOO_OFTEN
from tests.app import clips
from tests.e2e.test_crashes import rows
from tests.server import Server, running_server

# Ten take two minutes; set ROLLCALL_TEST_KILLS for that.
N_KILLS = int(os.environ.get("ROLLCALL_TEST_KILLS", "4"))
# From the answer to the last template: loading the networks and looking at 24 frames on an idle machine.
LONGEST_WAIT_S = 6.0
PATIENCE_S = 90.0

pytestmark = pytest.mark.timeout(120 + 60 * N_KILLS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("videos")
    with running_server(folder / "data", ROLLCALL_WORKER_TIMEOUT_S="2") as server:
        yield server


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clips.eileen(tmp_path_factory.mktemp("clip") / "e.mp4").read_bytes()


def send(client: httpx.Client, code: str, clip: bytes) -> dict[str, Any]:
    form = {"employee_code": code, "name": "Eileen Collins", "consent": "true", "on_duplicate": "allow"}
    answer = client.post("/v1/enroll", data=form, files={"files": ("e.mp4", clip)})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def over(client: httpx.Client, enrolment_id: str) -> dict[str, Any]:
    """The enrolment once it is done or failed."""
    until = monotonic() + PATIENCE_S
    while monotonic() < until:
        enrolment = client.get(f"/v1/enrolments/{enrolment_id}").json()
        if enrolment["status"] in ("done", "failed"):
            return dict(enrolment)
        sleep(0.1)
    raise AssertionError(f"not over after {PATIENCE_S} s: {enrolment}")


def workers_of(server: Server) -> list[int]:
    """The processes that the service started, once there is one."""
    assert server._process is not None
    threads = Path(f"/proc/{server._process.pid}/task")
    until = monotonic() + PATIENCE_S
    while not (pids := [int(pid) for file in threads.glob("*/children") for pid in file.read_text().split()]):
        assert monotonic() < until, "no worker was started"
        sleep(0.05)
    return pids


def strike(server: Server, number: int) -> None:
    """Kill the worker, or the service itself, in turns."""
    if number % 2:
        for pid in workers_of(server):
            os.kill(pid, signal.SIGKILL)
    else:
        server.kill()
        server.start()


def frames_of(enrolment: dict[str, Any]) -> list[int]:
    return [template["source"]["frame"] for template in enrolment["templates"]]


def test_a_video_enrolment_survives_kill_9_at_any_moment_and_is_done_once(server: Server, clip: bytes) -> None:
    key, moments = server.printed_keys[0], random.Random(20261121)
    with server.client(key) as client:
        reference = over(client, send(client, "E-reference", clip)["id"])
        assert reference["status"] == "done", reference
        sent = []
        for number in range(N_KILLS):
            sent.append(send(client, f"E-{number}", clip)["id"])
            sleep(moments.uniform(0.0, LONGEST_WAIT_S))
            strike(server, number)
        enrolments = [over(client, enrolment_id) for enrolment_id in sent]
    for enrolment in enrolments:
        is_done = enrolment["status"] == "done"  # else its worker was killed three times, and it is not tried again
        assert frames_of(enrolment) == (frames_of(reference) if is_done else [])
        assert enrolment["error"] == (None if is_done else DIED_TOO_OFTEN)
    done = [enrolment["id"] for enrolment in enrolments if enrolment["status"] == "done"]
    assert done
    assert_stored_once(server.database_path, [reference["id"], *done])
    assert_swept(server.data_dir / "uploads")


def assert_stored_once(path: Path, enrolment_ids: list[str]) -> None:
    """The gallery's log speaks of exactly the templates there are, and every enrolment was written down once."""
    templates = rows(path, "SELECT id, person_id FROM templates ORDER BY id")
    logged = rows(path, "SELECT template_id, person_id FROM gallery_changes WHERE kind = 'add' ORDER BY template_id")
    assert templates == logged
    told = Counter(
        target for (target,) in rows(path, "SELECT target FROM audit_log WHERE action = 'enrolment.created'")
    )
    assert told == Counter(enrolment_ids)
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def assert_swept(folder: Path) -> None:
    """Nothing is left of the clips, at the latest after the next sweep."""
    until = monotonic() + 90.0
    while list(folder.iterdir()):
        assert monotonic() < until, list(folder.iterdir())
        sleep(0.2)

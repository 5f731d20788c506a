"""`rollcall camera` as a process, against a real service: the walking clip, with and without a network.

The clip is small: its two people are 11 to 25 px wide, where 40 px are usual, and all settings are the usual ones. No
other photo of them exists, so one of them is enrolled from enlarged frames of the clip.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.app import clips
from tests.app.camera.motion_jpeg import MotionJpeg
from tests.ml.faces import data_file
from tests.server import ROLLCALL, Server, enroll, environment, running_server

PATIENCE_S = 120.0
LATER = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
EARLIER = LATER - timedelta(hours=1)
# Where each of the two is in the last quarter of the clip, px, and who they are for these tests.
MAN, WOMAN = slice(250, 350), slice(140, 240)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def walking() -> Path:
    return data_file("videos/face-demographics-walking.mp4")


@contextmanager
def client(
    server_url: str, key: str, source: Path | None, spool: Path, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """A running client; its lines are JSON."""
    arguments = ["--server", server_url, "--spool", spool, "--json", *options]
    if source is not None:
        arguments += ["--source", source]
    process = subprocess.Popen(
        [ROLLCALL, "camera", *arguments],
        env=environment(spool.parent, ROLLCALL_API_KEY=key, OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(process: "subprocess.Popen[str]") -> tuple[int, list[dict[str, Any]], str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def play(server_url: str, key: str, source: Path | None, spool: Path, *options: str) -> tuple[int, list[Any], str]:
    with client(server_url, key, source, spool, *options) as process:
        return finished(process)


def enlarged_frames(clip: Path, columns: slice, *numbers: int) -> list[bytes]:
    """Photos of one person from the clip, four times as large."""
    film = cv2.VideoCapture(str(clip))
    frames = [film.read()[1] for _ in range(max(numbers) + 1)]
    film.release()
    parts = [np.ascontiguousarray(frames[number][40:200, columns]) for number in numbers]
    large = [cv2.resize(part, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for part in parts]
    return [cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for part in large]


@dataclass(frozen=True)
class Entrance:
    """A camera of its own for each run, so that its events can be told from those of others."""

    id: str
    key: str

    @classmethod
    def make(cls, admin: httpx.Client, **policy: Any) -> "Entrance":
        answer = admin.post("/v1/cameras", json={"name": "Entrance", "direction": "in", "policy": policy})
        assert answer.status_code == 201, answer.text
        return cls(answer.json()["id"], answer.json()["key"])

    def ledger(self, admin: httpx.Client, began_at: datetime) -> list[tuple[str, str | None, str | None, str | None]]:
        """What payroll sees: outcome, who, direction, whether again; all of it within the clip."""
        events = admin.get("/v1/events", params={"order": "asc", "camera_id": self.id}).json()["items"]
        for event in events:
            after = datetime.fromisoformat(event["occurred_at"]) - began_at
            assert timedelta(0) <= after <= timedelta(seconds=4)
        return [
            (
                event["outcome"],
                event["person"]["employee_code"] if event["person"] else None,
                event["direction"],
                event["duplicate_of"],
            )
            for event in events
        ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"ROLLCALL_WORKERS": "0"}
    with running_server(tmp_path_factory.mktemp("camera") / "data", **settings) as server:
        yield server


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.new_key("admin")) as admin:
        yield admin


def wait_for_captures(process: "subprocess.Popen[str]", spool: Path, n: int) -> None:
    until = monotonic() + PATIENCE_S
    while len(list(spool.glob("*.capture"))) < n:
        assert monotonic() < until and process.poll() is None
        sleep(0.05)


def began(at: datetime) -> tuple[str, str]:
    return "--started-at", at.strftime("%Y-%m-%dT%H:%M:%S+0000")


@contextmanager
def enrolled(admin: httpx.Client, photos: list[bytes]) -> Iterator[None]:
    answer = enroll(admin, "E1", *photos, name="One of the two")
    assert answer.status_code == 201 and answer.json()["status"] == "done", answer.text
    try:
        yield
    finally:
        assert admin.delete(f"/v1/people/{answer.json()['person']['id']}").is_success


@pytest.mark.parametrize("columns", [MAN, WOMAN], ids=["he is enrolled", "she is enrolled"])
def test_one_in_for_whoever_is_enrolled_and_one_unknown_visitor_however_the_network_is(
    server: Server, admin: httpx.Client, walking: Path, tmp_path: Path, columns: slice
) -> None:
    expected = [("identified", "E1", "in", None), ("unknown", None, "in", None)]
    with enrolled(admin, enlarged_frames(walking, columns, 30, 32, 34)):
        entrance = Entrance.make(admin)
        status, lines, err = play(server.url, entrance.key, walking, tmp_path / "a", *began(EARLIER))
        assert status == 0, (lines, err)
        assert sorted(entrance.ledger(admin, EARLIER)) == expected, lines

        entrance, spool = Entrance.make(admin), tmp_path / "b"
        server.stop()
        again = (server.url, entrance.key, walking, spool, "--realtime", "--wait-s", "100", *began(LATER))
        with client(*again) as process:
            wait_for_captures(process, spool, 1)
            server.start()
            status, lines, err = finished(process)
        assert status == 0, (lines, err)
        assert any(line["event"] == "problem" and line["about"] == "server" for line in lines)
        assert sorted(entrance.ledger(admin, LATER)) == expected, lines


def test_a_client_killed_while_the_service_is_away_delivers_later_with_the_original_times(
    server: Server, admin: httpx.Client, tmp_path: Path
) -> None:
    """Two strangers at the default limits: no development data is needed."""
    film, spool, entrance = clips.both(tmp_path / "both.mp4"), tmp_path / "spool", Entrance.make(admin)
    nowhere = ("http://127.0.0.1:9", entrance.key, film, spool, "--wait-s", "600", *began(EARLIER))
    with client(*nowhere) as process:
        wait_for_captures(process, spool, 2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        status, lines, err = play(server.url, entrance.key, None, spool)
    assert status == 0, (lines, err)
    assert [line["outcome"] for line in lines if line["event"] == "answer"] == ["unknown", "unknown"]
    assert entrance.ledger(admin, EARLIER) == [("unknown", None, "in", None)] * 2
    # Once more: there is nothing left to deliver.
    assert play(server.url, entrance.key, None, spool)[:2] == (0, [])


def test_sigterm_ends_it_with_success_and_the_captures_stay(tmp_path: Path) -> None:
    film, spool = clips.both(tmp_path / "both.mp4"), tmp_path / "spool"
    with client("http://127.0.0.1:9", "a key of nobody", film, spool, "--wait-s", "600") as process:
        wait_for_captures(process, spool, 2)
        process.send_signal(signal.SIGTERM)
        status, lines, err = finished(process)
    assert status == 0, (lines, err)
    assert len(list(spool.glob("*.capture"))) == 2
    assert lines[-1]["event"] == "waiting"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--source", "none.mp4"], "no such file; a camera is rtsp"),
        (["--dry-run"], "needs a --source"),
        (["--save", "folder"], "--save goes with --dry-run"),
        (["--source", "0", "--realtime"], "are for films"),
        (["--show"], "opencv-python"),
        ([], "rollcall keys create --scope camera"),
    ],
)
def test_what_cannot_be_is_told_in_a_line_with_exit_status_1(tmp_path: Path, options: list[str], told: str) -> None:
    done = subprocess.run(
        [ROLLCALL, "camera", *options],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1 and told in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_systemd_unit_is_printed(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROLLCALL, "camera", "--print-systemd"], env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "ExecStart=" in done.stdout and "[Install]" in done.stdout
    assert "ROLLCALL_SOURCE=" in done.stdout and "--source" not in done.stdout


def test_sigterm_ends_a_client_whose_camera_hangs_up_again_and_again(tmp_path: Path) -> None:
    camera = MotionJpeg(n_frames=40)
    arguments = ["--source", camera.url, "--dry-run", "--json"]
    process = subprocess.Popen(
        [ROLLCALL, "camera", *arguments], env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE_S)
    camera.close()
    assert process.returncode == 0, out
    assert first["event"] == "solved" and first["about"] == "camera"

"""Clips that are broken, lie or show nobody, sent to a real service: documented answers, in bounded time and memory.

The tests share one server and run in their order: the last ones look at what all the others have left behind.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from app.enrolment.jobs import REFUSALS
from app.errors import VIDEO_STATUS
from tests.app import clips, photos
from tests.e2e.test_video_enrolment import assert_swept, over, workers_of
from tests.ml.videos import make_clip, make_lying_mp4, make_sound, with_bytes
from tests.server import Server, running_server

NAME = "Wilhelmina Unmistakable"
# An answer of a service that is busy with nothing else; reading the whole clip takes a second.
LONGEST_ANSWER_S = 15.0
# FFmpeg may take one block of 47 MB at most; the rest is frames on their way and what the allocator keeps.
MEMORY_GROWTH_MB = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("bad") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.printed_keys[0]) as client:
        yield client


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clips.eileen(tmp_path_factory.mktemp("good") / "e.mp4").read_bytes()


@pytest.fixture(scope="module", autouse=True)
def baseline_mb(server: Server, client: httpx.Client, good: bytes) -> dict[str, float]:
    """Peak memory of service and worker once everything that is loaded lazily has been used."""
    assert over(client, send(client, good, code="GOOD").json()["id"])["status"] == "done"
    assert client.post("/v1/identify/video", files={"video": good}).status_code == 200
    return peaks_mb(server)


def peaks_mb(server: Server) -> dict[str, float]:
    [worker] = workers_of(server)
    return {"service": server.peak_memory_mb(), "worker": _peak_mb(worker)}


def _peak_mb(pid: int) -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def send(client: httpx.Client, clip: bytes, *, code: str = "BAD") -> httpx.Response:
    form = {"employee_code": code, "name": NAME, "consent": "true"}
    return client.post("/v1/enroll", data=form, files={"files": ("holiday-on-sark.mp4", clip)})


def ended(client: httpx.Client, clip: bytes) -> tuple[str, str | None]:
    """How an enrolment of the clip ended: refused at once, failed later, or done; and the word for why."""
    started = monotonic()
    answer = send(client, clip)
    assert monotonic() - started < LONGEST_ANSWER_S
    if answer.status_code != 202:
        assert answer.status_code < 500, answer.text
        return "refused", answer.json()["code"]
    enrolment: dict[str, Any] = over(client, answer.json()["id"])
    error = enrolment["error"]
    return enrolment["status"], error and error.partition(": ")[0]


def identified(client: httpx.Client, clip: bytes) -> tuple[int, str | None]:
    started = monotonic()
    answer = client.post("/v1/identify/video", files={"video": clip})
    assert monotonic() - started < LONGEST_ANSWER_S
    return answer.status_code, answer.json().get("code")


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_clip_cut_off_at_any_tenth_is_refused_or_gives_what_was_good(
    client: httpx.Client, tmp_path: Path, tenths: int
) -> None:
    for suffix in (".mp4", ".avi", ".gif"):
        whole = clips.grace(tmp_path / f"g{suffix}").read_bytes()
        cut = whole[: len(whole) * tenths // 10]
        status, code = identified(client, cut)
        assert (status, code) == (200, None) or (
            status == VIDEO_STATUS.get(str(code)) and code != "video_type_unsupported"
        )
        how, why = ended(client, cut)
        assert how == "done" or str(why) in {*VIDEO_STATUS, *REFUSALS}
        if how == "done":
            remove_bad(client)


def remove_bad(client: httpx.Client) -> None:
    [person] = [each for each in client.get("/v1/people").json()["items"] if each["employee_code"] == "BAD"]
    assert client.delete(f"/v1/people/{person['id']}").status_code == 200


def nobody(folder: Path) -> bytes:
    return clips.nobody(folder / "nobody.mp4").read_bytes()


def declares_4_gb(folder: Path) -> bytes:
    clip = make_clip(folder / "c.mp4").read_bytes()
    at = clip.index(b"mdat") - 4
    return clip[:at] + b"\xff\xff\xff\xff" + clip[at + 4 :]


def ten_thousand_fps(folder: Path) -> bytes:
    return with_bytes(make_clip(folder / "c.avi").read_bytes(), b"strh", 24, b"\1\0\0\0\x10\x27\0\0")


BAD: dict[str, tuple[Callable[[Path], bytes], str | None, str]] = {
    # what to send -> how identifying refuses it, and how enrolling does
    "zero bytes": (lambda _: b"", "video_empty", "image_empty"),
    "a JPEG renamed": (lambda _: photos.nobody(), "video_type_unsupported", "no_face"),
    "text renamed": (lambda _: b"hello" * 1000, "video_type_unsupported", "image_type_unsupported"),
    "4 GB declared in the header": (declares_4_gb, "video_truncated", "video_truncated"),
    "tables of 100 million frames": (
        lambda _: make_lying_mp4(n_samples=100_000_000, data=bytes(1000)),
        "video_no_frames",
        "video_no_frames",
    ),
    "10 000 frames a second": (ten_thousand_fps, "video_too_large", "video_too_large"),
    "sound alone": (lambda folder: make_sound(folder / "s.mp4").read_bytes(), "video_no_frames", "video_no_frames"),
    "nobody in it": (nobody, None, "no_face"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_clip_that_is_of_no_use_is_answered_in_words(client: httpx.Client, tmp_path: Path, kind: str) -> None:
    make, when_identified, when_enrolled = BAD[kind]
    clip = make(tmp_path)
    assert identified(client, clip) == (VIDEO_STATUS.get(str(when_identified), 200), when_identified)
    assert ended(client, clip)[1] == when_enrolled


def test_a_clip_larger_than_accepted_is_refused_while_it_comes(client: httpx.Client) -> None:
    head = b"--b\r\n" + b'Content-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    body = iter([head, *[bytes(1_000_000)] * 202])
    answer = client.post(
        "/v1/identify/video", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


def test_nothing_of_it_was_enrolled_and_no_clip_is_left(server: Server, client: httpx.Client) -> None:
    people = client.get("/v1/people").json()["items"]
    assert {person["employee_code"]: person["n_templates"] for person in people}.get("BAD", 0) == 0
    assert_swept(server.data_dir / "uploads")


def test_memory_of_service_and_worker_stayed_bounded(server: Server, baseline_mb: dict[str, float]) -> None:
    now = peaks_mb(server)
    assert {who: now[who] - baseline_mb[who] < MEMORY_GROWTH_MB for who in now} == {"service": True, "worker": True}


def test_the_log_has_no_failure_and_nobody_in_it(server: Server) -> None:
    for word in (NAME, "holiday", "Traceback", "jobs.failed", "status=5"):
        assert word not in server.log

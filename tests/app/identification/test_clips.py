"""Identifying everybody in a clip through REST, on both databases, with the real networks."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import DecisionRow
from tests.app import clips, photos
from tests.app.enrolment.test_enroll import enroll
from tests.ml.videos import box

Headers = dict[str, str]


@pytest.fixture
def two_enrolled(client: TestClient, operator: Headers) -> None:
    enroll(client, operator, "E1", photos.eileen(), photos.eileen(variant=1), name="Eileen")
    enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace")


def identify(client: TestClient, headers: Headers, clip: Path, **query: int) -> Any:
    answer = client.post("/v1/identify/video", params=query, files={"video": clip.read_bytes()}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def codes(answer: Any) -> list[str | None]:
    return [track["person"] and track["person"]["employee_code"] for track in answer["tracks"]]


@pytest.mark.usefixtures("two_enrolled")
def test_everybody_in_a_clip_is_named_once(client: TestClient, camera: Headers, tmp_path: Path) -> None:
    answer = identify(client, camera, clips.both(tmp_path / "both.mp4"))
    assert sorted(codes(answer), key=str) == ["E1", "G1"]
    assert answer["video"] == {"width": 720, "height": 360, "duration_s": 2.4}
    assert answer["faces_seen"] == 2 * answer["frames_read"]
    for track in answer["tracks"]:
        assert (track["outcome"], track["n_frames"]) == ("identified", answer["frames_read"])
        assert track["first_s"] == 0.0 < track["last_s"] <= 2.4
        assert track["score"] >= answer["operating_point"]["threshold"]
        x1, y1, x2, y2 = track["best_frame"]["box_xyxy"]
        assert 0 <= x1 < x2 <= 720 and 0 <= y1 < y2 <= 360
    left, right = sorted(answer["tracks"], key=lambda track: track["best_frame"]["box_xyxy"][0])
    assert [left["person"]["employee_code"], right["person"]["employee_code"]] == ["E1", "G1"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".avi", ".webm", ".gif"])
def test_who_is_not_enrolled_is_unknown_whatever_the_container(
    client: TestClient, operator: Headers, tmp_path: Path, suffix: str
) -> None:
    enroll(client, operator, "G1", photos.grace(), photos.grace(variant=1), name="Grace")
    answer = identify(client, operator, clips.eileen(tmp_path / f"clip{suffix}", n=8))
    assert [track["outcome"] for track in answer["tracks"]] == ["unknown"]
    assert answer["tracks"][0]["person"] is None
    assert answer["tracks"][0]["candidates"][0]["person"]["employee_code"] == "G1"


@pytest.mark.usefixtures("two_enrolled")
def test_a_cut_from_one_person_to_another_makes_two_tracks(client: TestClient, camera: Headers, tmp_path: Path) -> None:
    answer = identify(client, camera, clips.one_after_the_other(tmp_path / "cut.mp4"))
    assert codes(answer) == ["E1", "G1"]
    assert answer["tracks"][0]["last_s"] < answer["tracks"][1]["first_s"]


def test_a_clip_without_faces_has_no_tracks(client: TestClient, camera: Headers, tmp_path: Path) -> None:
    answer = identify(client, camera, clips.nobody(tmp_path / "nobody.mp4"))
    assert (answer["tracks"], answer["faces_seen"]) == ([], 0)


@pytest.mark.usefixtures("two_enrolled")
def test_each_track_is_one_stored_decision_and_can_be_judged(
    client: TestClient, operator: Headers, database: Database, tmp_path: Path
) -> None:
    answer = identify(client, operator, clips.both(tmp_path / "both.mp4"))
    with database.read() as session:
        stored = {row.id for row in session.query(DecisionRow)}
    assert stored == {track["event_id"] for track in answer["tracks"]}
    judged = client.post(f"/v1/events/{stored.pop()}/feedback", json={"correct": True}, headers=operator)
    assert judged.status_code == 200, judged.text


@pytest.mark.usefixtures("two_enrolled")
def test_how_many_candidates_are_shown_changes_no_decision(client: TestClient, camera: Headers, tmp_path: Path) -> None:
    clip = clips.both(tmp_path / "both.mp4")
    one, many = (identify(client, camera, clip, top_k=k) for k in (1, 50))
    assert codes(one) == codes(many)
    assert [len(track["candidates"]) for track in one["tracks"]] == [1, 1]
    assert [len(track["candidates"]) for track in many["tracks"]] == [2, 2]


@pytest.mark.parametrize(
    ("damage", "status", "code"),
    [
        (lambda clip: b"", 400, "video_empty"),
        (lambda clip: photos.grace(), 415, "video_type_unsupported"),
        (lambda clip: clip[: len(clip) // 10], 400, "video_truncated"),
        (lambda clip: b"hello", 415, "video_type_unsupported"),
    ],
)
def test_a_file_that_is_no_clip_is_refused(
    client: TestClient, camera: Headers, tmp_path: Path, damage: Any, status: int, code: str
) -> None:
    clip = clips.eileen(tmp_path / "e.mp4", n=6).read_bytes()
    answer = client.post("/v1/identify/video", files={"video": damage(clip)}, headers=camera)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_clip_leaves_no_file_behind(
    client: TestClient, camera: Headers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    clip = clips.eileen(tmp_path / "e.mp4", n=6)
    clip.write_bytes(clip.read_bytes() + box(b"free", bytes(2_000_000)))  # more than is spooled in memory
    identify(client, camera, clip)
    assert list(spool.iterdir()) == []


def test_only_a_few_clips_are_looked_at_at_a_time(
    client: TestClient, camera: Headers, app: FastAPI, tmp_path: Path
) -> None:
    clip = clips.eileen(tmp_path / "e.mp4", n=4)
    with app.state.clip_slots.one(), app.state.clip_slots.one():
        answer = client.post("/v1/identify/video", files={"video": clip.read_bytes()}, headers=camera)
        assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
        assert int(answer.headers["Retry-After"]) > 0
    identify(client, camera, clip)

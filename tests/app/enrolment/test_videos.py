"""Enrolling clips through REST, on both databases, with the real networks; the job runs in this process."""

from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import AuditEntry, Enrolment, Job, Person, Template
from app.enrolment.jobs import REFUSALS
from app.inference.local import LocalInference
from app.jobs.context import Equipment
from app.jobs.handlers import built_in
from app.jobs.runner import JobRunner
from ml.types import Reason
from tests.app import clips, photos

Headers = dict[str, str]


class Worker:
    """Does all waiting jobs, as `rollcall worker` would, with networks that are loaded already."""

    def __init__(self, app: FastAPI, inference: LocalInference) -> None:
        self.database: Database = app.state.database
        self._equipment = Equipment(app.state.settings, self.database)
        self._equipment.__dict__["inference"] = inference

    def work(self) -> None:
        runner = JobRunner("wrk_test", self._equipment, built_in(), Event())
        with self.database.read() as session:
            waiting = [job.id for job in session.query(Job).order_by(Job.created_at) if job.status == "queued"]
        for job_id in waiting:
            runner.run(job_id)

    def close(self) -> None:
        if "gallery" in self._equipment.__dict__:
            self._equipment.gallery.stop()


@pytest.fixture
def worker(app: FastAPI, client: TestClient, inference: LocalInference) -> Any:
    worker = Worker(app, inference)
    yield worker
    worker.close()


def send(client: TestClient, headers: Headers, code: str, clip: Path | bytes, **fields: str) -> Response:
    data = {"employee_code": code, "name": f"Person {code}", "consent": "true", **fields}
    content = clip if isinstance(clip, bytes) else clip.read_bytes()
    return client.post("/v1/enroll", data=data, files={"files": ("my clip.mp4", content)}, headers=headers)


def enrolled(client: TestClient, headers: Headers, worker: Worker, code: str, clip: Path, **fields: str) -> Any:
    """The enrolment of a clip, once it is over."""
    answer = send(client, headers, code, clip, **fields)
    assert answer.status_code == 202, answer.text
    worker.work()
    return client.get(answer.headers["Location"], headers=headers).json()


def uploads(app: FastAPI) -> list[str]:
    folder: Path = app.state.settings.uploads_path
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_clip_is_taken_in_at_once_and_read_by_a_job(
    client: TestClient, operator: Headers, worker: Worker, app: FastAPI, tmp_path: Path
) -> None:
    answer = send(client, operator, "E1", clips.eileen(tmp_path / "e.mp4"))
    queued = answer.json()
    assert (answer.status_code, queued["status"], queued["progress"], queued["kind"]) == (202, "queued", 0.0, "video")
    assert answer.headers["Location"] == f"/v1/enrolments/{queued['id']}"
    assert uploads(app) == [queued["id"]]
    worker.work()
    done = client.get(answer.headers["Location"], headers=operator).json()
    assert (done["status"], done["progress"], done["error"]) == ("done", 1.0, None)
    assert done["frames_read"] == done["faces_seen"] == 24
    assert 3 <= len(done["templates"]) <= 12
    assert len(done["templates"]) + len(done["rejected"]) == 24
    assert done["templates"][0]["source"]["file"] == "my clip.mp4"
    assert {rejection["reason"] for rejection in done["rejected"]} <= {reason.value for reason in Reason}
    assert done["preflight"]["n_searched"] == len(done["templates"])
    assert done["preflight"]["n_recognised"] >= 1
    assert done["gallery_revision"] == 1
    assert uploads(app) == []
    job = client.get(f"/v1/jobs/{done['job_id']}", headers=operator).json()
    assert (job["status"], job["kind"], job["result"]["enrolment_id"]) == ("done", "enroll_video", done["id"])


def test_who_was_enrolled_by_a_clip_is_recognised_and_others_are_not(
    client: TestClient, operator: Headers, worker: Worker, tmp_path: Path
) -> None:
    enrolled(client, operator, worker, "E1", clips.eileen(tmp_path / "e.mp4"))
    header = {**operator, "X-Min-Gallery-Revision": "1"}
    for photo, code in ((photos.eileen(variant=2), "E1"), (photos.grace(), None)):
        face = client.post("/v1/identify", files={"image": photo}, headers=header).json()["faces"][0]
        assert (face["person"] and face["person"]["employee_code"]) == code


@pytest.mark.parametrize(
    ("film", "codes"),
    [
        (clips.nobody, {"no_face"}),
        (clips.both, {"several_people"}),
        (clips.one_after_the_other, {"identity_conflict", "several_people"}),
    ],
)
def test_a_clip_that_is_not_of_one_person_enrols_nothing_and_says_why(
    client: TestClient, operator: Headers, worker: Worker, app: FastAPI, tmp_path: Path, film: Any, codes: set[str]
) -> None:
    refused = enrolled(client, operator, worker, "X1", film(tmp_path / "x.mp4"))
    code, _, advice = refused["error"].partition(": ")
    assert (refused["status"], refused["templates"]) == ("failed", [])
    assert code in codes
    assert advice == REFUSALS[code]
    assert {rejection["reason"] for rejection in refused["rejected"]} <= codes | {"no_face"}
    assert uploads(app) == []


def test_a_face_that_belongs_to_somebody_else_is_refused_by_name_unless_allowed(
    client: TestClient, operator: Headers, worker: Worker, tmp_path: Path
) -> None:
    clip = clips.eileen(tmp_path / "e.mp4")
    first = enrolled(client, operator, worker, "E1", clip)
    other = enrolled(client, operator, worker, "E2", clips.eileen(tmp_path / "other.mp4", n=30))
    assert other["error"].startswith("duplicate_person: ")
    assert other["duplicate_of"]["employee_code"] == "E1"
    assert other["person"]["n_templates"] == 0
    allowed = enrolled(client, operator, worker, "E2", clip, on_duplicate="allow")
    assert allowed["status"] == "done"
    assert any(first["person"]["id"] in warning for warning in allowed["warnings"])


def test_another_person_cannot_be_added_to_somebody_by_a_clip(
    client: TestClient, operator: Headers, worker: Worker, tmp_path: Path
) -> None:
    enrolled(client, operator, worker, "E1", clips.eileen(tmp_path / "e.mp4"))
    refused = enrolled(client, operator, worker, "E1", clips.grace(tmp_path / "g.mp4"))
    assert refused["error"].startswith("identity_conflict: ")
    assert refused["person"]["n_templates"] > 0


def test_the_same_clip_again_adds_nothing(
    client: TestClient, operator: Headers, worker: Worker, tmp_path: Path
) -> None:
    clip = clips.eileen(tmp_path / "e.mp4")
    first = enrolled(client, operator, worker, "E1", clip)
    again = enrolled(client, operator, worker, "E1", clip)
    assert again["error"].startswith("duplicate_frame: ")
    assert again["person"]["n_templates"] == len(first["templates"])


def test_a_job_that_runs_twice_stores_once(
    client: TestClient, operator: Headers, worker: Worker, database: Database, tmp_path: Path
) -> None:
    done = enrolled(client, operator, worker, "E1", clips.eileen(tmp_path / "e.mp4"))
    with database.write() as session:  # as if the worker had died between its last commit and saying so
        job = session.get(Job, done["job_id"])
        assert job is not None
        job.status, job.result, job.finished_at = "queued", None, None
    worker.work()
    again = client.get(f"/v1/enrolments/{done['id']}", headers=operator).json()
    assert again == done
    with database.read() as session:
        assert session.query(AuditEntry).filter_by(action="enrolment.created").count() == 1


def test_the_answer_to_a_retried_upload_is_the_first_one_and_one_job_is_made(
    client: TestClient, operator: Headers, database: Database, app: FastAPI, tmp_path: Path
) -> None:
    clip = clips.eileen(tmp_path / "e.mp4")
    headers = {**operator, "Idempotency-Key": "upload-1"}
    first, second = (send(client, headers, "E1", clip) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert uploads(app) == [first.json()["id"]]
    with database.read() as session:
        assert session.query(Job).count() == 1


def test_a_cancelled_job_leaves_no_template_and_no_clip(
    client: TestClient, operator: Headers, worker: Worker, app: FastAPI, tmp_path: Path
) -> None:
    queued = send(client, operator, "E1", clips.eileen(tmp_path / "e.mp4")).json()
    client.post(f"/v1/jobs/{queued['job_id']}/cancel", headers=operator)
    worker.work()
    cancelled = client.get(f"/v1/enrolments/{queued['id']}", headers=operator).json()
    assert (cancelled["status"], cancelled["error"]) == ("failed", "This enrolment was cancelled.")
    assert cancelled["templates"] == []
    app.state.sweeper.sweep()
    assert uploads(app) == []


def test_deleting_an_enrolment_that_waits_takes_its_clip_and_its_job_with_it(
    client: TestClient, operator: Headers, worker: Worker, app: FastAPI, database: Database, tmp_path: Path
) -> None:
    queued = send(client, operator, "E1", clips.eileen(tmp_path / "e.mp4")).json()
    assert client.delete(f"/v1/enrolments/{queued['id']}", headers=operator).status_code == 200
    assert uploads(app) == []
    worker.work()
    assert client.get(f"/v1/jobs/{queued['job_id']}", headers=operator).json()["status"] == "cancelled"
    with database.read() as session:
        assert session.query(Template).count() == 0


def test_erasing_a_person_erases_the_clip_that_waits(
    client: TestClient, operator: Headers, worker: Worker, app: FastAPI, database: Database, tmp_path: Path
) -> None:
    queued = send(client, operator, "E1", clips.eileen(tmp_path / "e.mp4")).json()
    client.delete(f"/v1/people/{queued['person']['id']}", headers=operator)
    assert uploads(app) == []
    worker.work()
    with database.read() as session:
        assert session.query(Template).count() + session.query(Person).count() == 0


def test_a_clip_whose_file_is_gone_is_refused_in_words(
    client: TestClient, operator: Headers, worker: Worker, app: FastAPI, tmp_path: Path
) -> None:
    queued = send(client, operator, "E1", clips.eileen(tmp_path / "e.mp4")).json()
    app.state.uploads.remove(queued["id"])
    worker.work()
    assert client.get(f"/v1/enrolments/{queued['id']}", headers=operator).json()["error"].startswith("upload_missing")


def test_what_an_interrupted_upload_left_is_swept_and_what_waits_is_kept(
    client: TestClient, operator: Headers, app: FastAPI, tmp_path: Path
) -> None:
    queued = send(client, operator, "E1", clips.eileen(tmp_path / "e.mp4")).json()
    (app.state.settings.uploads_path / "enr_that_never_was").write_bytes(b"half a clip")
    assert app.state.sweeper.sweep() == 1
    assert uploads(app) == [queued["id"]]


@pytest.mark.parametrize(
    ("damage", "status", "code"),
    [
        (lambda clip: clip[: len(clip) // 10], 400, "video_truncated"),
        (lambda clip: clip[:64], 400, "video_truncated"),
        (lambda clip: b"", 400, "image_empty"),
        (lambda clip: photos.grace()[:2000], 400, "image_truncated"),
    ],
)
def test_a_file_that_is_no_usable_clip_is_refused_at_once(
    client: TestClient,
    operator: Headers,
    app: FastAPI,
    database: Database,
    tmp_path: Path,
    damage: Any,
    status: int,
    code: str,
) -> None:
    clip = clips.eileen(tmp_path / "e.mp4").read_bytes()
    answer = send(client, operator, "E1", damage(clip))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert uploads(app) == []
    with database.read() as session:
        assert session.query(Person).count() + session.query(Enrolment).count() + session.query(Job).count() == 0


def test_a_clip_and_photos_in_one_call_are_refused(client: TestClient, operator: Headers, tmp_path: Path) -> None:
    clip = clips.eileen(tmp_path / "e.mp4").read_bytes()
    files = [("files", ("a.mp4", clip)), ("files", ("b.jpg", photos.eileen()))]
    data = {"employee_code": "E1", "name": "E", "consent": "true"}
    answer = client.post("/v1/enroll", data=data, files=files, headers=operator)
    assert (answer.status_code, answer.json()["code"]) == (422, "one_video_alone")


def test_a_clip_without_consent_is_refused_before_it_is_kept(
    client: TestClient, operator: Headers, app: FastAPI, tmp_path: Path
) -> None:
    answer = send(client, operator, "E1", clips.eileen(tmp_path / "e.mp4"), consent="false")
    assert (answer.status_code, answer.json()["code"]) == (409, "consent_missing")
    assert uploads(app) == []

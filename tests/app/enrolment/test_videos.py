"""Enrolling clips through REST, on both databases, with the real networks; the job runs in this process."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import AuditEntry, Enrolment, Job, Person, Template
from app.enrolment.jobs import REFUSALS
from app.enrolment.sweeper import UploadSweeper
from app.enrolment.uploads import Uploads
from app.inference.port import Inference
from app.jobs.context import Equipment
from app.jobs.handlers import built_in
from app.jobs.runner import JobRunner
from ml.image import decode_image
from ml.types import Reason
from tests.app import clips, photos
from tests.app.factories import make_template
from tests.ml.factories import make_near

Headers = dict[str, str]


class Worker:
    """Does all waiting jobs, as `rollcall worker` would, with networks that are loaded already."""

    def __init__(self, app: FastAPI, inference: Inference) -> None:
        self.database: Database = app.state.database
        self._equipment = Equipment(app.state.settings, self.database)
        self._equipment.__dict__["inference"] = inference

    def work(self) -> None:
        for job_id in self.waiting():
            self.run(job_id)

    def work_side_by_side(self) -> None:
        """As if each job had a worker of its own."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.run, self.waiting()))

    def waiting(self) -> list[str]:
        with self.database.read() as session:
            return [job.id for job in session.query(Job).order_by(Job.created_at) if job.status == "queued"]

    def run(self, job_id: str) -> None:
        JobRunner(f"wrk_{job_id}", self._equipment, built_in(), Event()).run(job_id)

    def close(self) -> None:
        self._equipment.close()


@pytest.fixture
def worker(app: FastAPI, client: TestClient, inference: Inference) -> Iterator[Worker]:
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
    assert (cancelled["status"], cancelled["error"]) == ("failed", "cancelled: This enrolment was cancelled.")
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


def test_what_came_between_the_upload_and_its_job_counts(
    client: TestClient, operator: Headers, worker: Worker, tmp_path: Path
) -> None:
    changes = {"person_inactive": {"active": False}, "consent_missing": {"consent": None}}
    for code, change in changes.items():
        queued = send(client, operator, code, clips.eileen(tmp_path / f"{code}.mp4")).json()
        client.patch(f"/v1/people/{queued['person']['id']}", json=change, headers=operator)
        worker.work()
        refused = client.get(f"/v1/enrolments/{queued['id']}", headers=operator).json()
        assert (refused["status"], refused["error"].partition(": ")[0]) == ("failed", code)
        assert refused["templates"] == []


def test_two_people_are_never_enrolled_as_one_by_two_workers(
    client: TestClient, operator: Headers, worker: Worker, tmp_path: Path
) -> None:
    films = clips.eileen(tmp_path / "e.mp4"), clips.grace(tmp_path / "g.mp4")
    places = [send(client, operator, "X1", film).headers["Location"] for film in films]
    worker.work_side_by_side()
    ended = [client.get(place, headers=operator).json() for place in places]
    assert sorted(enrolment["status"] for enrolment in ended) == ["done", "failed"]
    assert [enrolment["error"] for enrolment in ended if enrolment["error"]][0].startswith("identity_conflict")


def test_the_same_clip_sent_twice_at_once_gives_its_templates_once(
    client: TestClient, operator: Headers, worker: Worker, tmp_path: Path
) -> None:
    clip = clips.eileen(tmp_path / "e.mp4")
    places = [send(client, operator, "E1", clip).headers["Location"] for _ in range(2)]
    worker.work_side_by_side()
    ended = [client.get(place, headers=operator).json() for place in places]
    assert sorted(enrolment["status"] for enrolment in ended) == ["done", "failed"]
    assert ended[0]["person"]["n_templates"] == max(len(enrolment["templates"]) for enrolment in ended)


def test_who_has_all_templates_that_are_kept_is_refused_at_once(
    client: TestClient, operator: Headers, worker: Worker, app: FastAPI, tmp_path: Path
) -> None:
    app.state.settings.templates_per_person_max = 3
    clip = clips.eileen(tmp_path / "e.mp4")
    assert len(enrolled(client, operator, worker, "E1", clip)["templates"]) == 3
    again = send(client, operator, "E1", clip)
    assert (again.status_code, again.json()["code"]) == (409, "too_many_templates")


def test_clips_are_kept_where_that_is_wished_until_their_enrolment_is_deleted(
    client: TestClient, operator: Headers, app: FastAPI, worker: Worker, tmp_path: Path
) -> None:
    app.state.settings.keep_uploads = True
    done = enrolled(client, operator, worker, "E1", clips.eileen(tmp_path / "e.mp4"))
    keeper = UploadSweeper(app.state.database, app.state.uploads, keep_uploads=True)
    assert (keeper.sweep(), uploads(app)) == (0, [done["id"]])
    client.delete(f"/v1/enrolments/{done['id']}", headers=operator)
    assert uploads(app) == []


class SlowFile(BytesIO):
    """Gives its first bytes, and the rest when it is told to."""

    def __init__(self) -> None:
        super().__init__(bytes(3_000_000))
        self.began, self.go_on = Event(), Event()

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            self.began.set()
            assert self.go_on.wait(20)
        return super().read(size)


def test_a_clip_on_its_way_is_not_swept(tmp_path: Path) -> None:
    folder, slow = Uploads(tmp_path / "uploads"), SlowFile()
    seen: list[int] = []

    def save() -> None:
        with folder.saved("enr_1", slow) as path:
            seen.append(folder.sweep(lambda _: ()))
            seen.append(path.stat().st_size)

    saving = Thread(target=save)
    saving.start()
    assert slow.began.wait(20)
    assert folder.sweep(lambda _: ()) == 0
    slow.go_on.set()
    saving.join()
    assert seen == [0, 3_000_000]
    assert folder.sweep(lambda _: ()) == 1  # now that nobody holds it


def test_advice_is_about_all_templates_of_a_person(
    client: TestClient,
    operator: Headers,
    worker: Worker,
    database: Database,
    inference: Inference,
    tmp_path: Path,
) -> None:
    [[sample]] = inference.analyze([decode_image(photos.eileen())]).samples
    queued = send(client, operator, "E1", clips.eileen(tmp_path / "e.mp4")).json()
    with database.write() as session:  # she has looked around before, on other days
        person = session.get(Person, queued["person"]["id"])
        for seed, (yaw_deg, pitch_deg) in enumerate(((0.0, 0.0), (-30.0, 0.0), (30.0, 0.0), (0.0, 25.0))):
            other_day = make_near(embedding=sample.embedding, cosine=0.96, seed=seed)
            make_template(
                session=session, person=person, embedding=other_day.tobytes(), yaw_deg=yaw_deg, pitch_deg=pitch_deg
            )
    worker.work()
    ended = client.get(f"/v1/enrolments/{queued['id']}", headers=operator).json()
    assert ended["status"] == "done", ended
    told = [warning for warning in ended["warnings"] if warning.startswith("coverage: ")]
    assert len(told) == sum(n == 0 for n in ended["coverage"].values()) <= 1

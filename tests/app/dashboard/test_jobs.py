"""The pages of jobs and models, as the service renders them, on both databases."""

from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.dashboard.frame.plotly import style_ids
from app.dashboard.jobs import KINDS, QUEUES
from app.dashboard.models import is_here
from app.db.engine import Database
from app.db.tables import Enrolment, Job
from app.jobs import service
from app.jobs.handlers import built_in, by_queue
from app.jobs.rules import JobStatus
from ml.backbones.cards import all_cards, find_card
from tests.app.dashboard.visitors import sign_in
from tests.app.factories import make_enrolment, make_person, make_template
from tests.app.jobs.factories import make_job, make_running, make_worker


def shown(client: TestClient, path: str = "/jobs") -> str:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return answer.text


def make_clip(database: Database, name: str) -> tuple[str, str]:
    """A person whose clip waits for its job: ids of the enrolment and of the job."""
    with database.write() as session:
        person = make_person(session=session, name=name)
        enrolment = make_enrolment(session=session, person=person, kind="video", status="queued")
        enrolment_id = enrolment.id
    return enrolment_id, make_job(database=database, kind="enroll_video", payload={"enrolment_id": enrolment_id})


def end(database: Database, job_id: str, status: JobStatus, error: str | None = None) -> None:
    with database.write() as session:
        service.end(session.scalars(select(Job).where(Job.id == job_id)).one(), status, error=error)


def test_without_jobs_the_page_says_where_they_come_from(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database)
    assert "Enrol somebody by a video" in shown(client)


def test_a_waiting_job_says_that_nobody_is_there_to_do_it(client: TestClient, database: Database) -> None:
    make_clip(database, "Ada Byron")
    sign_in(client=client, database=database)
    page = shown(client)
    assert "No worker is running, so jobs wait." in page and "Ada Byron" in page and "data-cancel" in page


def test_a_running_job_shows_how_far_it_is(client: TestClient, database: Database) -> None:
    job_id = make_running(database=database, attempts=2)
    with database.write() as session:
        job = session.scalars(select(Job).where(Job.id == job_id)).one()
        job.progress, job.message = 0.25, "looking at the frames"
    sign_in(client=client, database=database, language="vi")
    page = shown(client)
    assert 'value="0.25"' in page and "đang xem các khung hình" in page and "đã khởi động 2 lần" in page


def test_what_came_of_a_clip_is_told_in_words_with_whose_it_is(client: TestClient, database: Database) -> None:
    (good, good_job), (bad, bad_job) = make_clip(database, "Ada Byron"), make_clip(database, "Grace Hopper")
    with database.write() as session:
        enrolment, refused = session.get_one(Enrolment, good), session.get_one(Enrolment, bad)
        enrolment.status, enrolment.frames_read = "done", 120
        refused.status, refused.error = "failed", "no_face: No face was found. Film one person."
        person = make_person(session=session)
        make_template(session=session, person=person, enrolment=enrolment)
    for job_id in (good_job, bad_job):
        end(database, job_id, JobStatus.DONE)
    sign_in(client=client, database=database)
    page = shown(client)
    assert "1 template of 120 frames" in page and "Ada Byron" in page
    assert "Nothing enrolled" in page and "No face was found. Film one person." in page and "no_face" not in page
    assert "Send another video" in page


def test_jobs_are_filtered_and_a_filter_that_finds_nothing_says_so(client: TestClient, database: Database) -> None:
    end(database, make_job(database=database), JobStatus.FAILED, "It broke at 100 % of the work.")
    sign_in(client=client, database=database)
    assert "It broke at 100 % of the work." in shown(client, "/jobs?status=failed")
    assert "No job matches." in shown(client, "/jobs?status=done&kind=")
    refused = client.get("/jobs?status=lost", headers={"Accept": "text/html"})
    assert refused.status_code == 422 and "There is no such status" in refused.text


def test_every_kind_and_queue_of_this_release_has_a_name() -> None:
    assert built_in().keys() == KINDS.keys() and by_queue(built_in()).keys() == QUEUES.keys()


def test_work_on_models_is_named_and_leads_to_the_models(client: TestClient, database: Database) -> None:
    for kind in ("retrain", "measure_backbone", "promote_model"):
        make_job(database=database, kind=kind)
    make_worker(database=database, queues=("video",))
    sign_in(client=client, database=database)
    page = shown(client)
    for words in ("Training a new model", "Measuring another network", "Putting a model to use"):
        assert f"<strong>{words}</strong>" in page
    assert page.count('<br><a href="/models">Models</a>') == 3
    assert "No worker serves the queue Model training" in page
    sign_in(client=client, database=database, language="vi")
    page = shown(client)
    assert "<strong>Đang huấn luyện mô hình mới</strong>" in page and '<br><a href="/models">Mô hình</a>' in page
    assert "hàng đợi Huấn luyện mô hình" in page


def test_the_job_of_an_enrolment_that_is_gone_says_so(client: TestClient, database: Database) -> None:
    enrolment_id, job_id = make_clip(database, "Ada Byron")
    end(database, job_id, JobStatus.DONE)
    with database.write() as session:
        session.delete(session.get_one(Enrolment, enrolment_id))
    sign_in(client=client, database=database)
    page = shown(client)
    assert "The enrolment was removed since." in page and "Ada Byron" not in page


def test_the_models_page_names_what_is_in_use_and_what_else_there_is(client: TestClient, database: Database) -> None:
    sign_in(client=client, database=database)
    page = shown(client, "/models")
    assert all(card.model in page for card in all_cards())
    assert "CC0-1.0 (public domain)" in page and "everything is compared" in page
    assert "rollcall models pull sface" in page and "Compare with the database" in page
    sign_in(client=client, database=database, role="operator")
    assert "Compare with the database" not in shown(client, "/models")


@pytest.mark.parametrize("path", ["/threshold", "/threshold/history", "/threshold/look-alikes", "/jobs", "/models"])
def test_strangers_are_sent_to_sign_in(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")


def test_a_network_is_here_once_its_file_is(tmp_path: Path) -> None:
    sface, mtcnn = find_card("sface"), find_card("mtcnn")
    assert is_here(mtcnn, tmp_path) and not is_here(sface, tmp_path)
    assert sface.weights is not None
    (tmp_path / sface.weights.filename).touch()
    assert is_here(sface, tmp_path)


def test_plotly_finds_every_style_element_that_it_would_make() -> None:
    own, *brought = style_ids()
    assert own == "plotly.js-style-global" and len(brought) == 1

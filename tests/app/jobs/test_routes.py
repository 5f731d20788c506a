from typing import Any

import pytest
from starlette.testclient import TestClient

from app.db.engine import Database
from app.jobs.rules import NO_WORKER, JobStatus
from tests.app.jobs.factories import BY, make_finished, make_job, make_running, make_worker


def get(client: TestClient, headers: dict[str, str], **params: Any) -> Any:
    answer = client.get("/v1/jobs", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_job_is_told_in_full_but_not_what_it_was_given(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    job_id = make_job(database=database, kind="count", payload={"n": 3})
    job = client.get(f"/v1/jobs/{job_id}", headers=operator).json()
    assert job.pop("created_at").endswith("Z")
    assert job.pop("message").startswith("No worker is running")
    assert job == {
        "id": job_id,
        "kind": "count",
        "status": "queued",
        "progress": 0.0,
        "result": None,
        "error": None,
        "attempts": 0,
        "requested_cancel": False,
        "created_by": BY,
        "started_at": None,
        "finished_at": None,
    }


def test_a_queued_job_says_that_nobody_is_there_to_do_it(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    job_id = make_job(database=database)
    for is_there in (False, True):
        if is_there:
            make_worker(database=database)
        one = client.get(f"/v1/jobs/{job_id}", headers=operator).json()
        assert [job["message"] for job in (one, *get(client, operator)["items"])] == 2 * [
            None if is_there else NO_WORKER
        ]


def test_a_finished_job_has_its_result(client: TestClient, database: Database, operator: dict[str, str]) -> None:
    job_id = make_finished(database=database, result={"n_templates": 7})
    job = client.get(f"/v1/jobs/{job_id}", headers=operator).json()
    assert (job["status"], job["result"]) == ("done", {"n_templates": 7})
    assert job["started_at"] <= job["finished_at"]


def test_the_newest_job_comes_first_and_a_walk_shows_each_once(
    client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    made = [make_job(database=database) for _ in range(5)]
    first = get(client, operator, limit=2)
    second = get(client, operator, limit=2, cursor=first["next_cursor"])
    third = get(client, operator, limit=2, cursor=second["next_cursor"])
    assert [job["id"] for page in (first, second, third) for job in page["items"]] == made[::-1]
    assert third["next_cursor"] is None


def test_jobs_can_be_found_by_status_and_kind(client: TestClient, database: Database, operator: dict[str, str]) -> None:
    queued = make_job(database=database, kind="a")
    running = make_running(database=database, kind="b")
    failed = make_finished(database=database, status=JobStatus.FAILED)
    for params, expected in (
        ({"status": "queued"}, queued),
        ({"status": "running"}, running),
        ({"status": "failed"}, failed),
        ({"kind": "a"}, queued),
        ({"kind": "b", "status": "running"}, running),
    ):
        assert [job["id"] for job in get(client, operator, **params)["items"]] == [expected]
    assert get(client, operator, kind="a", status="done")["items"] == []
    assert client.get("/v1/jobs?status=lost", headers=operator).json()["code"] == "fields_invalid"
    assert client.get("/v1/jobs?cursor=x", headers=operator).json()["code"] == "cursor_invalid"


def test_cancelling(client: TestClient, database: Database, operator: dict[str, str], admin: dict[str, str]) -> None:
    queued, running = make_job(database=database), make_running(database=database)
    answers = [client.post(f"/v1/jobs/{job_id}/cancel", headers=operator) for job_id in (queued, running)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["status"] for answer in answers] == ["cancelled", "running"]
    assert [answer.json()["requested_cancel"] for answer in answers] == [True, True]
    again = client.post(f"/v1/jobs/{queued}/cancel", headers=operator)
    assert (again.status_code, again.json()["code"]) == (409, "job_finished")
    noted = client.get("/v1/audit?action=job.cancelled", headers=admin).json()["items"]
    assert [(entry["target"], entry["detail"]["status"]) for entry in noted] == [
        (running, "running"),
        (queued, "queued"),
    ]


def test_what_there_is_not_is_404(client: TestClient, operator: dict[str, str]) -> None:
    for answer in (
        client.get("/v1/jobs/job_none", headers=operator),
        client.post("/v1/jobs/job_none/cancel", headers=operator),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/job_none"), ("POST", "/job_none/cancel")], ids=["list", "get", "cancel"]
)
def test_cameras_have_no_business_with_jobs(client: TestClient, camera: dict[str, str], method: str, path: str) -> None:
    assert client.request(method, f"/v1/jobs{path}", headers=camera).json()["code"] == "scope_insufficient"
    assert client.request(method, f"/v1/jobs{path}").status_code == 401

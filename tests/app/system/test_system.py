from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db.engine import Database
from tests.app.jobs.factories import make_finished, make_job, make_running, make_worker


def test_the_system_counts_the_jobs_and_who_does_them(
    app: FastAPI, client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    def jobs() -> Any:
        return client.get("/v1/system", headers=operator).json()["jobs"]

    training, video = ({"name": name, "n_queued": 0, "n_running": 0, "n_workers": 0} for name in ("training", "video"))
    make_job(database=database)
    assert jobs() == {"n_queued": 1, "n_running": 0, "n_workers": 0, "queues": [training, video]}
    make_finished(database=database)
    make_running(database=database)
    make_worker(database=database, worker="wrk_idle")
    assert jobs() == {"n_queued": 1, "n_running": 1, "n_workers": 2, "queues": [training, video]}
    make_job(database=database, kind="enroll_video")
    make_worker(database=database, worker="wrk_video", queues=["training", "video"])
    training |= {"n_workers": 1}
    video |= {"n_queued": 1, "n_workers": 1}
    assert jobs() == {"n_queued": 2, "n_running": 1, "n_workers": 3, "queues": [training, video]}

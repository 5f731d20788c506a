from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db.engine import Database
from tests.app.jobs.factories import make_finished, make_job, make_running, make_worker


def test_the_system_counts_the_jobs_and_who_does_them(
    app: FastAPI, client: TestClient, database: Database, operator: dict[str, str]
) -> None:
    def jobs() -> dict[str, int]:
        shown: dict[str, int] = client.get("/v1/system", headers=operator).json()["jobs"]
        return shown

    make_job(database=database)
    assert jobs() == {"n_queued": 1, "n_running": 0, "n_workers": 0}
    make_finished(database=database)
    make_running(database=database)
    make_worker(database=database, worker="wrk_idle")
    assert jobs() == {"n_queued": 1, "n_running": 1, "n_workers": 2}

"""Jobs whose networks are on machines that do not answer: they are done later, and nobody is to blame."""

from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from sqlalchemy import URL

from app.db.engine import Database, make_engine
from app.inference import remote
from app.inference.batched import BatchedInference
from app.inference.port import Lane
from app.inference.remote import connect
from app.jobs.context import Equipment, JobContext
from tests.app.inference.fakes import make_ask
from tests.app.inference.served import QuickRunner, ServedWorker, make_settings, served
from tests.app.jobs.factories import make_job, make_runner, read_job


@pytest.fixture(params=["sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(url: URL) -> Iterator[Database]:
    database = Database(make_engine(url))
    yield database
    database.dispose()


def look(context: JobContext) -> dict[str, Any]:
    analysis = context.equipment.inference.submit(make_ask(number=3), Lane.BULK).result()
    return {"number": analysis.embed_s}


def run_job(database: Database, equipment: Equipment) -> tuple[Any, bool]:
    """The job after one attempt, and whether its worker took itself for unfit."""
    job_id, stopping = make_job(database=database), Event()
    make_runner(database=database, handler=look, equipment=equipment, stopping=stopping).run(job_id)
    return read_job(database=database, job_id=job_id), stopping.is_set()


def test_a_job_is_put_back_when_its_machines_go_away(database: Database) -> None:
    with served(QuickRunner()) as (machine,):
        settings = make_settings(machine.url, inference_timeout_s=0.2)
        inference = BatchedInference(connect(settings))
        equipment = Equipment(settings, database)
        vars(equipment)["inference"] = inference
        job, _ = run_job(database, equipment)
        assert (job.status, job.result) == ("done", {"number": 3.0})
        machine.stop()
        job, is_unfit = run_job(database, equipment)
        assert (job.status, job.attempts, job.error, is_unfit) == ("queued", 0, None, False)
        inference.close()


def test_a_worker_of_other_networks_than_the_machines_is_unfit_and_its_job_is_put_back(database: Database) -> None:
    with served(QuickRunner()) as (machine,):
        job, is_unfit = run_job(database, Equipment(make_settings(machine.url, detector="yunet"), database))
    assert (job.status, job.attempts, is_unfit) == ("queued", 0, True)


def test_a_worker_whose_machines_are_away_when_it_first_needs_them_does_the_job_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "START_WAIT_S", 0.0)
    machine = ServedWorker(QuickRunner())
    equipment = Equipment(make_settings(machine.url), database)
    job, is_unfit = run_job(database, equipment)
    assert (job.status, job.attempts, job.error, is_unfit) == ("queued", 0, None, False)
    machine.start()
    try:
        job, _ = run_job(database, equipment)
        assert (job.status, job.result) == ("done", {"number": 3.0})
        equipment.inference.close()
    finally:
        machine.stop()

"""Workers without the networks, or with others than the stored gallery's: what they take from the queue goes back."""

from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import URL
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app.db.engine import Database, make_engine
from app.gallery.queries import claim_model
from app.inference.port import Inference
from app.jobs import service
from app.jobs.context import Equipment, JobContext
from app.jobs.rules import MAX_ATTEMPTS, NO_NETWORKS
from app.settings import Settings
from ml.errors import ModelError
from tests.app.jobs.factories import BY, make_job, make_runner, read_job

Result = dict[str, Any]


def need_inference(context: JobContext) -> Result:
    return {"dim": context.equipment.inference.card.dim}


def test_a_worker_without_its_network_gives_the_job_back_and_begins_no_other(
    database: Database, tmp_path: Path
) -> None:
    first, second = make_job(database=database), make_job(database=database)
    equipment = Equipment(Settings(backbone="facenet-vggface2", models_dir=tmp_path), database)
    runner = make_runner(database=database, handler=need_inference, equipment=equipment)
    with capture_logs() as logs:
        for job_id in (first, second, first):
            runner.run(job_id)
    for job_id, message in ((first, NO_NETWORKS), (second, None)):
        job = read_job(database=database, job_id=job_id)
        assert (job.status, job.attempts, job.error, job.message) == ("queued", 0, None, message)
    (said,) = [line for line in logs if line["event"] == "jobs.worker_unfit"]
    assert "facenet-vggface2" in said["reason"]


def test_a_cancelled_job_does_not_wait_for_a_worker_with_networks(database: Database, tmp_path: Path) -> None:
    def handler(context: JobContext) -> Result:
        with database.write() as session:
            service.cancel(session, context.job_id, BY)
        return need_inference(context)

    job_id = make_job(database=database)
    equipment = Equipment(Settings(backbone="facenet-vggface2", models_dir=tmp_path), database)
    make_runner(database=database, handler=handler, equipment=equipment).run(job_id)
    assert read_job(database=database, job_id=job_id).status == "cancelled"


def equipped(database: Database, inference: Inference) -> Equipment:
    """As after a first job: the networks are there."""
    equipment = Equipment(Settings(), database)
    vars(equipment)["inference"] = inference
    return equipment


def test_a_worker_of_another_backbone_than_the_stored_gallery_fails_no_job(
    database: Database, inference: Inference
) -> None:
    with database.write() as session:
        claim_model(session, "another/1")
    job_id, stopping = make_job(database=database), Event()
    equipment = equipped(database, inference)
    make_runner(
        database=database,
        handler=lambda context: {"model": context.equipment.gallery.model},
        equipment=equipment,
        stopping=stopping,
    ).run(job_id)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.attempts, job.message) == ("queued", 0, NO_NETWORKS)
    assert stopping.is_set()


def test_a_gallery_that_was_tied_to_another_backbone_meanwhile_ends_the_worker_not_the_job(
    database: Database, inference: Inference
) -> None:
    def overtaken(context: JobContext) -> Result:
        with database.write() as session:
            claim_model(session, "another/1")
        with context.write() as session:
            claim_model(session, context.equipment.inference.info.model)
        return {}

    job_id, stopping = make_job(database=database), Event()
    equipment = equipped(database, inference)
    make_runner(database=database, handler=overtaken, equipment=equipment, stopping=stopping).run(job_id)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.attempts, job.message) == ("queued", 1, NO_NETWORKS)
    assert stopping.is_set()


def test_a_job_that_the_networks_fail_at_again_and_again_has_failed(database: Database) -> None:
    damaged = "the network returned a zero embedding"

    def fail(_context: JobContext) -> Result:
        raise ModelError(damaged)

    job_id = make_job(database=database)
    for _ in range(MAX_ATTEMPTS):
        make_runner(database=database, handler=fail).run(job_id)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.error) == ("failed", damaged)


def test_a_database_that_is_away_while_the_gallery_is_loaded_is_no_fault_of_the_worker(
    inference: Inference,
) -> None:
    nowhere = Database(make_engine(URL.create("postgresql+psycopg", host="127.0.0.1", port=9, database="none")))
    with pytest.raises(OperationalError):
        _ = equipped(nowhere, inference).gallery

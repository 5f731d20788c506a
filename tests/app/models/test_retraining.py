"""Trainings from the database to a judged model, on people whose embeddings are drawn; and what is left of them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
from sqlalchemy import URL, select, update

from app.db.engine import Database, make_engine
from app.db.tables import AuditEntry, Job, Model, ModelWeights, ThresholdState, TrainingRun
from app.gallery.queries import claim_model
from app.inference.port import Inference
from app.jobs import service as jobs
from app.jobs.context import Equipment
from app.jobs.rules import JobStatus, new_worker_id
from app.models import registry
from app.models.judged import as_json
from app.models.measuring import measure_backbone
from app.models.retraining import retrain
from app.models.workshop import sweep_leftovers
from app.sealing import Sealer
from app.settings import Settings
from ml.backbones.trained_file import from_bytes
from ml.training.projection import project
from tests.app import photos
from tests.app.jobs.factories import kill_worker, make_job, make_runner, make_running, read_job
from tests.app.models.slow_retraining import PLACE
from tests.app.models.test_training_data import enrolled, keep_crop
from tests.app.models.training_factories import CARD, draw_embeddings, make_champion, make_crowd, make_retraining
from tests.ml.backbones.test_onnx_file import make_network
from tests.server import ENGINE, environment

# A rate of 1 % takes more people to be judged by than a test should have.
TARGET_FPIR = 0.05
KEY = "a secret of sixteen and more"
ROOT = Path(__file__).parents[3]
PATIENCE_S = 120.0


@pytest.fixture
def backend() -> str:
    return "sqlite"  # training_queries are tried on both, with the data


@pytest.fixture(scope="module")
def crowds(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Databases with 120 people, by how much there is to be learned; filled once, copied by tests."""
    folder = tmp_path_factory.mktemp("crowds")
    return {nuisance: crowd_in(sqlite_template, folder / f"{nuisance}.sqlite3", nuisance) for nuisance in (0.0, 0.6)}


def crowd_in(template: Path, path: Path, nuisance: float) -> Path:
    shutil.copy(template, path)
    database = Database(make_engine(URL.create("sqlite", database=str(path))))
    with database.write() as session:
        make_crowd(session=session, n_people=120, nuisance=nuisance)
        make_champion(session=session)
        session.execute(update(ThresholdState).values(target_fpir=TARGET_FPIR))
    database.scrub()
    database.dispose()
    return path


@contextmanager
def opened(path: Path, folder: Path) -> Iterator[Equipment]:
    """What a worker would have, on a copy of a database."""
    copied = shutil.copy(path, folder / "crowd.sqlite3")
    settings = Settings(data_dir=folder / "data", database_url=f"sqlite:///{copied}", secret_key=KEY, engine=ENGINE)
    database = Database(make_engine(URL.create("sqlite", database=str(copied))))
    try:
        yield Equipment(settings, database)
    finally:
        database.dispose()


@pytest.fixture
def improvable(crowds: dict[float, Path], tmp_path: Path) -> Iterator[Equipment]:
    """There is much to be learned."""
    with opened(crowds[0.6], tmp_path) as equipment:
        yield equipment


@pytest.fixture
def perfect(crowds: dict[float, Path], tmp_path: Path) -> Iterator[Equipment]:
    """The network misses nobody, so that there is nothing to be gained."""
    with opened(crowds[0.0], tmp_path) as equipment:
        yield equipment


def run(equipment: Equipment, job_id: str, *, stopping: Event | None = None, handler: Any = retrain) -> Job:
    with equipment.database.read() as session:
        kind = session.get_one(Job, job_id).kind
    runner = make_runner(
        database=equipment.database, handler=handler, kind=kind, equipment=equipment, stopping=stopping
    )
    runner.run(job_id)
    return read_job(database=equipment.database, job_id=job_id)


def models_of(equipment: Equipment, job_id: str) -> list[Model]:
    with equipment.database.read() as session:
        return list(session.scalars(select(Model).where(Model.job_id == job_id)))


def left_behind(equipment: Equipment) -> list[Path]:
    return list((equipment.settings.data_dir / "training").glob("*"))


def said(equipment: Equipment, action: str) -> list[str | None]:
    with equipment.database.read() as session:
        return list(session.scalars(select(AuditEntry.target).where(AuditEntry.action == action)))


def test_a_better_model_is_kept_as_challenger_with_its_weights_and_the_verdict(improvable: Equipment) -> None:
    job_id = make_retraining(database=improvable.database)
    job = run(improvable, job_id)
    (model,) = models_of(improvable, job_id)
    assert (job.status, model.status, model.kind, model.backbone) == (
        "done",
        "challenger",
        "projection",
        "dlib-resnet",
    ), (job.error, model.reason)
    assert job.result == {"model_id": model.id, "model": model.word, "status": "challenger", "reason": model.reason}
    assert model.reason is not None
    assert "never saw" in model.reason
    report = model.report or {}
    assert report["challenger"]["fnir"]["value"] < report["champion"]["fnir"]["value"] - 0.2
    assert (report["target_fpir"], report["n_faces"], report["n_gathered_people"]) == (TARGET_FPIR, 480, 120)
    assert 20 <= report["n_people"] < 40  # those who judged
    assert 50 < report["n_train_people"] < 90
    assert report["seconds"] > 0
    assert left_behind(improvable) == []
    assert said(improvable, "model.trained") == [model.id]
    with improvable.database.read() as session:
        training = session.get_one(TrainingRun, job_id)
        content = registry.weights_of(session, model, Sealer([KEY]))
        sealed = session.scalars(select(ModelWeights.sealed_weights)).one()
    assert training.model_id == model.id
    assert training.curves == report["curves"]
    assert len(training.curves["loss"]) >= 1
    assert content is not None
    assert content[:32] not in sealed
    weights = from_bytes(content)
    assert (weights.base_word, weights.card.model) == (CARD.model, model.word)
    assert weights.card.scoring != CARD.scoring
    faces = draw_embeddings(n_people=30, n_faces=4, nuisance=0.6, seed=7)  # of people nobody has heard of
    assert margin(project(weights.tensors, faces.reshape(-1, CARD.dim))) > margin(faces.reshape(-1, CARD.dim))


def margin(embeddings: np.ndarray) -> float:
    """By how many deviations people's own faces (four of each) are more alike than others'."""
    cosines, own = embeddings @ embeddings.T, np.kron(np.eye(len(embeddings) // 4), np.ones((4, 4))) > 0
    mated, non_mated = cosines[own & ~np.eye(len(embeddings), dtype=bool)], cosines[~own]
    return float((mated.mean() - non_mated.mean()) / non_mated.std())


def test_what_is_not_better_is_refused_and_says_why(perfect: Equipment) -> None:
    job_id = make_retraining(database=perfect.database, policy="auto")
    job = run(perfect, job_id)
    (model,) = models_of(perfect, job_id)
    assert (job.status, model.status) == ("done", "refused"), job.error
    assert "may be chance" in (model.reason or "")
    assert said(perfect, "model.refused") == [model.id]
    with perfect.database.read() as session:
        assert registry.champion(session).word == CARD.model


def test_too_few_people_are_counted_in_the_reason_of_the_failure(sqlite_template: Path, tmp_path: Path) -> None:
    with opened(sqlite_template, tmp_path) as equipment:
        with equipment.database.write() as session:
            make_crowd(session=session, n_people=12, n_faces=3)
            make_champion(session=session)
        job = run(equipment, make_retraining(database=equipment.database))
        assert job.status == "failed"
        assert "There are 36 faces of 12 people" in (job.error or "")
        assert "ROLLCALL_TRAINING_DATA" in (job.error or "")
        assert left_behind(equipment) == []
        assert said(equipment, "model.refused") == []


def test_a_second_attempt_after_the_model_was_stored_adds_no_second_one(improvable: Equipment) -> None:
    job_id = make_retraining(database=improvable.database)
    run(improvable, job_id)
    with improvable.database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(status="queued", worker=None, result=None))
    folder = improvable.settings.data_dir / "training" / job_id
    folder.mkdir(parents=True)
    (folder / "checkpoint").write_bytes(b"left by a crash")
    job = run(improvable, job_id)
    (model,) = models_of(improvable, job_id)
    assert (job.status, job.result["model_id"] if job.result else None) == ("done", model.id)
    assert said(improvable, "model.trained") == [model.id]
    assert left_behind(improvable) == []


def test_the_same_training_again_is_the_same_model_and_one_in_use_keeps_its_verdict(improvable: Equipment) -> None:
    first = run(improvable, make_retraining(database=improvable.database))
    assert first.result is not None
    with improvable.database.write() as session:
        session.execute(update(Model).where(Model.status == "champion").values(status="retired"))
        session.execute(update(Model).where(Model.id == first.result["model_id"]).values(status="champion"))
    second = run(improvable, make_retraining(database=improvable.database, policy="auto"))
    assert second.result is not None, second.error
    assert second.result["model_id"] == first.result["model_id"]
    assert second.result["status"] == "champion"
    assert second.result["reason"] == first.result["reason"]


def test_with_the_policy_auto_a_better_model_is_used_at_once_and_is_the_one_to_beat(improvable: Equipment) -> None:
    with improvable.database.write() as session:
        claim_model(session, CARD.model)
    try:
        job = run(improvable, make_retraining(database=improvable.database, policy="auto"))
        assert job.result is not None, job.error
        assert job.result["status"] == "champion", job.result
        again = make_retraining(database=improvable.database, policy="auto", seed=1)
        second = run(improvable, again)
    finally:
        improvable.close()
    (model,) = models_of(improvable, again)
    assert (second.status, model.status) == ("done", "refused"), second.error
    assert (model.report or {})["champion"]["fnir"][
        "value"
    ] < 0.3  # that of the projection, not of the network below it


def when_there_is_a_checkpoint(equipment: Equipment, act: Any) -> Thread:
    def watch() -> None:
        wait_for_checkpoint(equipment.settings)
        act()

    thread = Thread(target=watch)
    thread.start()
    return thread


def wait_for_checkpoint(settings: Settings) -> None:
    until = monotonic() + PATIENCE_S
    while not list((settings.data_dir / "training").glob("*/checkpoint")):
        assert monotonic() < until, "no checkpoint was written"
        sleep(0.002)


def slow(context: Any) -> Any:
    from tests.app.models.slow_retraining import slowly

    return slowly(context)


def test_a_worker_that_ends_leaves_a_sealed_checkpoint_for_the_next(improvable: Equipment) -> None:
    job_id, stopping = make_retraining(database=improvable.database), Event()
    thread = when_there_is_a_checkpoint(improvable, stopping.set)
    interrupted = run(improvable, job_id, stopping=stopping, handler=slow)
    thread.join()
    assert (interrupted.status, models_of(improvable, job_id)) == ("queued", [])
    (folder,) = left_behind(improvable)
    assert folder.stat().st_mode & 0o777 == 0o700
    (checkpoint,) = folder.iterdir()
    assert Sealer([KEY]).open(checkpoint.read_bytes())
    assert sweep_leftovers(improvable.database, improvable.settings) == 0
    assert run(improvable, job_id).status == "done"
    assert len(models_of(improvable, job_id)) == 1
    assert left_behind(improvable) == []


def test_nothing_is_left_of_a_training_that_is_cancelled(improvable: Equipment) -> None:
    job_id = make_retraining(database=improvable.database)

    def cancel() -> None:
        with improvable.database.write() as session:
            jobs.cancel(session, job_id, "key:test")

    thread = when_there_is_a_checkpoint(improvable, cancel)
    cancelled = run(improvable, job_id, handler=slow)
    thread.join()
    assert cancelled.status == "cancelled"
    assert (models_of(improvable, job_id), left_behind(improvable)) == ([], [])


def test_leftovers_of_jobs_that_are_over_are_swept(improvable: Equipment) -> None:
    database, settings = improvable.database, improvable.settings
    running = make_running(database=database, kind="retrain")
    cancelled = make_job(database=database, kind="retrain")
    with database.write() as session:
        jobs.cancel(session, cancelled, "key:test")
    for job_id in (running, cancelled, "job_forgotten"):
        (settings.data_dir / "training" / job_id).mkdir(parents=True)
    assert sweep_leftovers(database, settings) == 2
    assert [path.name for path in left_behind(improvable)] == [running]


@contextmanager
def worker_process(equipment: Equipment, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    settings = equipment.settings
    assert settings.database_url is not None
    given = {
        "ROLLCALL_DATABASE_URL": settings.database_url.get_secret_value(),
        "ROLLCALL_SECRET_KEY": KEY,
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-P", "-m", "app.jobs", "--id", new_worker_id(), "--handlers", PLACE]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, "--queues", "training"],
            env=environment(settings.data_dir, **given),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_killed_worker_s_training_goes_on_and_makes_one_model(improvable: Equipment, tmp_path: Path) -> None:
    job_id, database = make_retraining(database=improvable.database), improvable.database
    with worker_process(improvable, tmp_path / "log") as process:
        wait_for_checkpoint(improvable.settings)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    killed = read_job(database=database, job_id=job_id)
    assert (killed.status, models_of(improvable, job_id)) == (JobStatus.RUNNING, [])
    assert killed.worker is not None
    kill_worker(database=database, worker=killed.worker)  # as after its time of silence
    with database.write() as session:
        jobs.settle_lost(session)
    done = run(improvable, job_id)
    assert (done.status, done.attempts) == ("done", 2), done.error
    assert len(models_of(improvable, job_id)) == 1
    assert left_behind(improvable) == []


def test_another_network_is_judged_on_the_kept_crops_and_says_how_many_are_missing(
    sqlite_template: Path, tmp_path: Path, inference: Inference
) -> None:
    with opened(sqlite_template, tmp_path) as equipment:
        with equipment.database.write() as session:
            make_champion(session=session)
            kept = [*enrolled(session, n=2), *enrolled(session, n=2)]
            for template, photo in zip(
                kept, (photos.grace(), photos.grace(variant=1), photos.eileen(), photos.eileen(variant=2)), strict=True
            ):
                keep_crop(session, template, inference, photo)
            enrolled(session)
        backbone = f"onnx:{make_network(tmp_path)}"
        job_id = make_job(database=equipment.database, kind="measure_backbone", payload={"backbone": backbone})
        job = run(equipment, job_id, handler=measure_backbone)
        (model,) = models_of(equipment, job_id)
        assert (job.status, model.status, model.kind, model.backbone) == ("done", "refused", "backbone", backbone)
        assert "too few to judge by" in (model.reason or "")
        assert "1 of 5 faces have no picture" in (model.reason or "")
        assert (model.report or {})["n_faces_without_picture"] == 1
        assert left_behind(equipment) == []


def test_the_network_in_use_is_not_measured_against_itself(perfect: Equipment) -> None:
    job_id = make_job(database=perfect.database, kind="measure_backbone", payload={"backbone": "dlib-resnet"})
    job = run(perfect, job_id, handler=measure_backbone)
    assert (job.status, job.error) == ("failed", "This network is in use already.")
    assert left_behind(perfect) == []


def test_a_network_that_is_not_there_fails_the_job_and_not_the_worker(perfect: Equipment, tmp_path: Path) -> None:
    backbone = f"onnx:{tmp_path / 'nowhere.onnx'}"
    job_id = make_job(database=perfect.database, kind="measure_backbone", payload={"backbone": backbone})
    job = run(perfect, job_id, handler=measure_backbone)
    assert job.status == "failed"
    assert "cannot be used on the machine that trains" in (job.error or "")


def test_what_cannot_be_said_in_json_is_null() -> None:
    value = {1: (float("nan"), np.float32(0.5), np.int64(3)), "a": [float("inf"), None, True, "x"]}
    assert as_json(value) == {"1": [None, 0.5, 3], "a": [None, None, True, "x"]}

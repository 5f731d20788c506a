"""`rollcall models` and `rollcall retrain` against a real service; its worker's part is played by the tests."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest
import uvicorn
from sqlalchemy import select
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from app.db.engine import Database
from app.db.tables import Job, TrainingRun
from app.inference.loading import load_inference
from app.jobs import service as jobs
from app.jobs.rules import JobStatus
from app.main import create_app, prepare
from app.models import registry
from app.settings import Settings
from tests.app.factories import make_person
from tests.app.models.factories import make_model, make_templates
from tests.cli.here import run_beside
from tests.cli.test_cli import NO_SERVER, assert_one_line
from tests.ports import free_port
from tests.server import ENGINE, Finished

PATIENCE_S = 60.0

Work = Callable[[Session, Job], None]


@dataclass(frozen=True)
class Server:
    """A service on a port of its own."""

    url: str
    data_dir: Path
    database: Database


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with nobody to do its jobs; in this process, because it is not the process that is tested."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("models") / "data", database_url=None, device="cpu", engine=ENGINE
    )
    inference, port = load_inference(settings), free_port()
    service = create_app(settings, inference)
    prepare(service)
    uvicorn_server = uvicorn.Server(uvicorn.Config(service, port=port, log_config=None, ws="none"))
    thread = Thread(target=uvicorn_server.run)
    thread.start()
    try:
        _wait_for(lambda: uvicorn_server.started)
        with capture_logs():  # or they would be among what the commands say
            yield Server(f"http://127.0.0.1:{port}", settings.data_dir, service.state.database)
    finally:
        uvicorn_server.should_exit = True
        thread.join(PATIENCE_S)
        inference.close()


@pytest.fixture(scope="module")
def database(server: Server) -> Database:
    """The service's own."""
    return server.database


def _wait_for(condition: Callable[[], bool]) -> None:
    until_s = monotonic() + PATIENCE_S
    while not condition():
        if monotonic() > until_s:
            raise TimeoutError(f"not so after {PATIENCE_S:.0f} s")
        sleep(0.02)


def done_by(database: Database, work: Work, call: Callable[[], Finished]) -> Finished:
    """What a command says, while the job that it asks for is done by somebody."""
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(_do_next, database, work)
        finished = call()
        worker.result(PATIENCE_S)
    return finished


def _do_next(database: Database, work: Work) -> None:
    _wait_for(lambda: _waiting(database) is not None)
    with database.write() as session:
        work(session, session.get_one(Job, _waiting(database)))


def _waiting(database: Database) -> str | None:
    with database.read() as session:
        return session.scalars(select(Job.id).where(Job.finished_at.is_(None))).first()


def made(database: Database, **fields: object) -> str:
    """The id of a new model."""
    with database.write() as session:
        return make_model(session=session, **fields).id  # type: ignore[arg-type]


def discarded(server: Server, *model_ids: str) -> None:
    for model_id in model_ids:
        assert run_beside(server, "models", "discard", model_id).status == 0


def test_models_are_shown_with_how_they_were_judged_and_whom_they_would_not_know(
    server: Server, database: Database
) -> None:
    model_id = made(database, word="finetuned/1", kind="finetune", reason="missed [4 %] instead of 7 %")
    with database.write() as session:
        make_templates(session=session, person=make_person(session=session, name="Bob", employee_code="B1"), n=2)
    shown = run_beside(server, "models", "show")
    assert shown.status == 0, shown
    assert "dlib-resnet/1  in use" in shown.out and "finetuned/1  measured to be better" in shown.out
    assert "missed [4 %] instead of 7 %" in shown.out
    one = run_beside(server, "models", "show", model_id)
    assert one.out.startswith(f"{model_id}  finetuned/1"), one
    assert "1 person would have to enrol again:\n  B1  Bob\n" in one.out
    assert f"rollcall models promote {model_id} --accept-missing\n" in one.out
    discarded(server, model_id)
    assert_one_line(run_beside(server, "models", "show", model_id), "model_not_found")


def test_a_training_is_asked_for_and_left_to_the_service(server: Server, database: Database) -> None:
    asked = run_beside(server, "retrain")
    assert (asked.status, asked.err) == (0, ""), asked
    assert asked.out.startswith("Training has been asked for: job_")
    assert_one_line(run_beside(server, "retrain", "--strategy", "finetune"), "training_running")

    def fail(session: Session, job: Job) -> None:
        jobs.end(job, JobStatus.FAILED, error="There are 3 people, and 20 are needed.")

    _do_next(database, fail)


def test_a_training_that_is_waited_for_tells_its_last_values_and_its_verdict(
    server: Server, database: Database
) -> None:
    def train(session: Session, job: Job) -> None:
        run = session.get_one(TrainingRun, job.id)
        assert (run.strategy, run.policy, run.seed) == ("projection", "never", 3)
        run.curves = {"loss": [3.0, 1.25], "validation_fnir": [0.5, 0.041], "learning_rate": [1e-3, 1e-3]}
        run.model_id = make_model(session=session, word="trained/1", status="refused", reason="no better").id
        jobs.end(job, JobStatus.DONE, result={"model_id": run.model_id})

    wanted = ("retrain", "--strategy", "projection", "--policy", "never", "--seed", "3", "--wait")
    waited = done_by(database, train, lambda: run_beside(server, *wanted))
    assert waited.status == 0, waited
    assert "At the end: epoch 2, loss 1.25, FNIR 4.1% on people it does not learn from.\n" in waited.out
    assert "trained/1  not measured to be better" in waited.out and "no better" in waited.out
    assert '--even-if-not-better --reason "…"' in waited.out


def test_a_training_that_fails_or_is_cancelled_is_told_in_one_line(server: Server, database: Database) -> None:
    def fail(session: Session, job: Job) -> None:
        jobs.end(job, JobStatus.FAILED, error="There are 3 people, and 20 are needed.")

    def cancel(session: Session, job: Job) -> None:
        jobs.cancel(session, job.id, "key:test")

    for work, told in ((fail, "20 are needed"), (cancel, "cancelled")):
        finished = done_by(database, work, lambda: run_beside(server, "retrain", "--wait"))
        assert (finished.status, finished.out) == (1, ""), finished
        assert finished.err.splitlines()[-1].startswith("rollcall: ") and told in finished.err


def test_a_model_is_promoted_when_nothing_speaks_against_it_or_somebody_says_so(
    server: Server, database: Database
) -> None:
    model_id = made(database, word="refused/1", status="refused", reason="no better than chance")
    assert_one_line(run_beside(server, "models", "promote", model_id), "model_not_better", "no better than chance")
    assert run_beside(server, "models", "promote", model_id, "--even-if-not-better").status == 2

    def promote(session: Session, job: Job) -> None:
        assert job.payload == {"model_id": model_id, "accept_missing": True, "reason": "the vendor says so"}
        jobs.end(job, JobStatus.DONE, result={"model_id": model_id})

    wanted = ("--accept-missing", "--even-if-not-better", "--reason", "the vendor says so")
    promoted = done_by(database, promote, lambda: run_beside(server, "models", "promote", model_id, *wanted))
    assert (promoted.status, promoted.out) == (0, "refused/1 is in use now.\n"), promoted


def test_another_network_is_measured_and_what_it_takes_is_told(server: Server, database: Database) -> None:
    def measure(session: Session, job: Job) -> None:
        assert (job.kind, job.payload) == ("measure_backbone", {"backbone": "sface"})
        model = make_model(session=session, word="sface/1", kind="backbone", backbone="sface", weights=None)
        jobs.end(job, JobStatus.DONE, result={"model_id": model.id})

    measured = done_by(database, measure, lambda: run_beside(server, "models", "switch", "sface"))
    assert measured.status == 0, measured
    assert "sface/1  measured to be better\n  as published" in measured.out
    assert "To use it: rollcall models promote mdl_" in measured.out
    assert_one_line(run_beside(server, "models", "switch", "nonsense"), "backbone: ", "'nonsense'")


def test_where_nothing_is_kept_ready_there_is_nothing_to_go_back_to(server: Server, database: Database) -> None:
    assert_one_line(run_beside(server, "models", "rollback"), "nothing_to_roll_back")


def test_the_model_in_use_is_not_discarded(server: Server, database: Database) -> None:
    with database.read() as session:
        champion_id = registry.champion(session).id
    assert_one_line(run_beside(server, "models", "discard", champion_id), "model_is_champion")


def test_without_a_service_one_line_says_how_to_start_it(server: Server) -> None:
    for command in (("retrain",), ("models", "show"), ("models", "rollback")):
        assert_one_line(run_beside(server, *command, ROLLCALL_URL=NO_SERVER), "rollcall serve")

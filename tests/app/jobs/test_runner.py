from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from time import sleep
from typing import Any

import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app.audit.service import record
from app.db.engine import Database
from app.db.tables import AuditEntry, Job
from app.errors import ProblemError
from app.jobs import queries, service
from app.jobs.context import JobContext, JobInterrupted, JobStop
from app.jobs.rules import INTERNAL, MAX_ATTEMPTS, TRIED_TOO_OFTEN
from ml.errors import ImageError
from tests.app.jobs.factories import BY, KINDS, WORKER, kill_worker, make_job, make_runner, make_running, read_job

Result = dict[str, Any]


def run(database: Database, handler: Callable[[JobContext], Result], **payload: Any) -> Job:
    """Run a new job to the end of its first attempt."""
    job_id = make_job(database=database, payload=payload)
    make_runner(database=database, handler=handler).run(job_id)
    return read_job(database=database, job_id=job_id)


def raiser(error: BaseException) -> Callable[[JobContext], Result]:
    def handler(_context: JobContext) -> Result:
        raise error

    return handler


def cancel(database: Database, job_id: str) -> None:
    with database.write() as session:
        service.cancel(session, job_id, BY)


def effects(database: Database) -> list[str | None]:
    with database.read() as session:
        return list(session.scalars(select(AuditEntry.target).where(AuditEntry.action == "test.effect")))


def leave_effect(context: JobContext) -> Result:
    with context.write() as session:
        record(session, "test", "test.effect", context.job_id)
    return {}


def test_a_job_is_given_its_task_and_leaves_its_result(database: Database) -> None:
    def double(context: JobContext) -> Result:
        context.report(0.5, "Doubling.")
        return {"n": 2 * context.payload["n"], "attempt": context.attempt}

    job = run(database, double, n=21)
    assert (job.status, job.result, job.error) == ("done", {"n": 42, "attempt": 1}, None)
    assert (job.progress, job.message, job.worker) == (1.0, "Doubling.", None)
    assert job.started_at is not None and job.finished_at is not None


def test_progress_is_seen_while_a_job_runs(database: Database) -> None:
    def handler(context: JobContext) -> Result:
        context.report(0.25, "A quarter.")
        seen = read_job(database=database, job_id=context.job_id)
        return {"status": seen.status, "progress": seen.progress, "message": seen.message}

    assert run(database, handler).result == {"status": "running", "progress": 0.25, "message": "A quarter."}


def test_frequent_reports_are_not_all_written_and_none_is_out_of_range(database: Database) -> None:
    def handler(context: JobContext) -> Result:
        context.report(-1.0)
        for n in range(1000):
            context.report(n, "x" * 1000)
        return {"progress": read_job(database=database, job_id=context.job_id).progress}

    job = run(database, handler)
    assert job.result == {"progress": 0.0}
    assert job.message == "x" * 300


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ProblemError(409, "duplicate_person", "This is somebody else."), "This is somebody else."),
        (ImageError("image_invalid", "This is no picture."), "This is no picture."),
        (RuntimeError("a secret of the server"), INTERNAL),
        (SystemExit("a secret of the server"), INTERNAL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_job_that_raises_has_failed_and_says_what_a_person_may_know(
    database: Database, error: BaseException, sentence: str
) -> None:
    with capture_logs() as logs:
        job = run(database, raiser(error))
    assert (job.status, job.error, job.result) == ("failed", sentence, None)
    assert ("jobs.failed" in [line["event"] for line in logs]) == (sentence is INTERNAL)


@pytest.mark.parametrize("result", [{"score": float("nan")}, {"path": object()}], ids=["NaN", "object"])
def test_a_result_that_cannot_be_stored_is_our_failure(database: Database, result: Result) -> None:
    job = run(database, lambda _context: result)
    assert (job.status, job.error) == ("failed", INTERNAL)


def test_a_kind_that_only_a_newer_worker_knows_waits_for_it(database: Database) -> None:
    job_id = make_job(database=database, kind="alchemy")
    make_runner(database=database, handler=lambda _context: {}).run(job_id)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.attempts, job.error) == ("queued", 0, None)
    make_runner(database=database, handler=lambda _context: {}, kind="alchemy", worker="wrk_newer").run(job_id)
    assert read_job(database=database, job_id=job_id).status == "done"


def test_a_job_runs_once_however_often_it_is_started(database: Database) -> None:
    job_id, runs = make_job(database=database), []
    runner = make_runner(database=database, handler=lambda context: {"n": runs.append(context.attempt)})
    runner.run(job_id)
    runner.run(job_id)
    assert runs == [1]


def test_a_cancelled_job_ends_at_its_next_report(database: Database) -> None:
    def handler(context: JobContext) -> Result:
        context.report(0.1, "Begun.")
        cancel(database, context.job_id)
        try:
            while True:
                context.report(0.5)
                sleep(0.02)
        except Exception:  # a handler's own net does not catch it
            return {}

    job = run(database, handler)
    assert (job.status, job.result, job.error, job.progress) == ("cancelled", None, None, 0.5)


def test_a_cancelled_job_writes_nothing_any_more(database: Database) -> None:
    def handler(context: JobContext) -> Result:
        cancel(database, context.job_id)
        return leave_effect(context)

    assert run(database, handler).status == "cancelled"
    assert effects(database) == []


def test_a_worker_that_ends_gives_its_job_back_and_that_does_not_count(database: Database) -> None:
    stopping = Event()

    def handler(context: JobContext) -> Result:
        stopping.set()
        context.report(0.5)
        return {}

    job_id = make_job(database=database)
    runner = make_runner(database=database, handler=handler, stopping=stopping)
    runner.run(job_id)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.attempts, job.worker) == ("queued", 0, None)
    runner.run(job_id)  # and it begins nothing new
    assert read_job(database=database, job_id=job_id).status == "queued"


def test_a_cancelled_job_whose_worker_ends_is_not_begun_again(database: Database) -> None:
    stopping = Event()

    def handler(context: JobContext) -> Result:
        cancel(database, context.job_id)
        stopping.set()
        context.report(0.5)
        return {}

    job_id = make_job(database=database)
    make_runner(database=database, handler=handler, stopping=stopping).run(job_id)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.worker) == ("cancelled", None) and job.finished_at is not None


def test_what_is_ready_is_still_written_while_the_worker_ends(database: Database) -> None:
    stopping = Event()

    def handler(context: JobContext) -> Result:
        stopping.set()
        return leave_effect(context)

    job_id = make_job(database=database)
    make_runner(database=database, handler=handler, stopping=stopping).run(job_id)
    assert read_job(database=database, job_id=job_id).status == "done"
    assert effects(database) == [job_id]


def test_a_worker_that_was_taken_for_dead_writes_nothing(database: Database) -> None:
    """It was only slow: another worker has the job meanwhile, and is the one that counts."""
    stops: list[JobStop] = []

    def slow(context: JobContext) -> Result:
        kill_worker(database=database)
        with database.write() as session:
            service.settle_lost(session)
        make_runner(database=database, handler=leave_effect, worker="wrk_2").run(context.job_id)
        try:
            return leave_effect(context)
        except JobStop as stop:
            stops.append(stop)
            raise

    job = run(database, slow)
    assert [type(stop).__name__ for stop in stops] == ["JobLost"]
    assert (job.status, job.attempts) == ("done", 2)
    assert effects(database) == [job.id]


def test_a_slow_worker_that_lost_its_job_does_not_end_it(database: Database) -> None:
    def slow(_context: JobContext) -> Result:
        kill_worker(database=database)
        with database.write() as session:
            service.settle_lost(session)
            service.claim(session, _context.job_id, "wrk_2", KINDS)
        return {"from": "the slow one"}

    job = run(database, slow)
    assert (job.status, job.worker, job.result) == ("running", "wrk_2", None)


def test_a_database_that_is_away_costs_an_attempt_not_the_job(database: Database) -> None:
    job_id = make_job(database=database)
    runner = make_runner(database=database, handler=raiser(OperationalError("SELECT", {}, Exception("down"))))
    for attempt in range(1, MAX_ATTEMPTS):
        runner.run(job_id)
        job = read_job(database=database, job_id=job_id)
        assert (job.status, job.attempts, job.error) == ("queued", attempt, None)
    runner.run(job_id)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.error) == ("failed", TRIED_TOO_OFTEN)


def test_a_handler_that_swallows_the_stop_is_stopped_all_the_same(database: Database) -> None:
    def stubborn(context: JobContext) -> Result:
        cancel(database, context.job_id)
        with suppress(BaseException):
            context.report(0.5)
        return {"done": True}

    assert run(database, stubborn).status == "cancelled"


def test_stops_are_no_exceptions() -> None:
    assert not issubclass(JobStop, Exception) and issubclass(JobInterrupted, JobStop)


def test_the_runner_says_when_it_is_idle(database: Database) -> None:
    seen: list[bool] = []
    runner = make_runner(database=database, handler=lambda _context: {"idle": seen.append(runner.wait_until_idle(0))})
    runner.run(make_job(database=database))
    assert seen == [False] and runner.wait_until_idle(0)


def test_a_running_job_of_another_worker_is_left_alone(database: Database) -> None:
    job_id = make_running(database=database, worker="wrk_other")
    make_runner(database=database, handler=lambda _context: {}).run(job_id)
    assert read_job(database=database, job_id=job_id).worker == "wrk_other"
    with database.read() as session:
        assert WORKER in queries.live_workers(session)


def test_what_a_worker_holds_but_does_not_do_is_put_back(database: Database) -> None:
    """The answer to its claim was lost, say."""
    job_id = make_running(database=database)
    runner = make_runner(database=database, handler=lambda _context: {})
    runner.let_go()
    assert read_job(database=database, job_id=job_id).status == "queued"
    runner.run(job_id)
    assert read_job(database=database, job_id=job_id).attempts == 2


def test_what_a_worker_does_is_not_taken_from_it(database: Database) -> None:
    def handler(_context: JobContext) -> Result:
        runner.let_go()
        return {}

    job_id = make_job(database=database)
    runner = make_runner(database=database, handler=handler)
    runner.run(job_id)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.attempts) == ("done", 1)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)  # SQLite takes any text
def test_an_outcome_that_can_never_be_written_ends_the_job_after_a_few_attempts(database: Database) -> None:
    def handler(context: JobContext) -> Result:
        with suppress(Exception):
            context.report(0.5, "\x00")
        return {}

    job_id = make_job(database=database)
    runner = make_runner(database=database, handler=handler)
    for _ in range(MAX_ATTEMPTS):
        with capture_logs() as logs:
            runner.run(job_id)
        assert [line["job_id"] for line in logs if line["event"] == "jobs.not_written"] == [job_id]
        assert read_job(database=database, job_id=job_id).status == "running"
        runner.let_go()
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.error) == ("failed", INTERNAL)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_the_outcome_waits_for_a_database_that_has_become_a_read_only_standby(
    database: Database, postgres_server: psycopg.Connection
) -> None:
    name = str(database.engine.url.database)

    def fail_over(_context: JobContext) -> Result:
        make_read_only(postgres_server, name, True)
        return {"n": 1}

    job_id = make_job(database=database)
    runner = make_runner(database=database, handler=fail_over)
    doing = Thread(target=runner.run, args=(job_id,), daemon=True)
    with capture_logs() as logs:
        doing.start()
        while "jobs.outcome_waits_for_database" not in [line["event"] for line in logs]:
            assert doing.is_alive(), "the outcome was given up"
            sleep(0.02)
        make_read_only(postgres_server, name, False)
        doing.join()
    assert read_job(database=database, job_id=job_id).result == {"n": 1}


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_report_may_fail_while_the_database_is_read_only(
    database: Database, postgres_server: psycopg.Connection
) -> None:
    name = str(database.engine.url.database)

    def handler(context: JobContext) -> Result:
        make_read_only(postgres_server, name, True)
        context.report(0.5)
        make_read_only(postgres_server, name, False)
        return {}

    assert run(database, handler).status == "done"


def make_read_only(server: psycopg.Connection, name: str, is_read_only: bool) -> None:
    """As clients see a failover to a standby, and its promotion: connections end, and new ones differ."""
    value = "on" if is_read_only else "off"
    server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

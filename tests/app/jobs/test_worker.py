"""Real worker processes, on both databases: what they do when they are killed, stopped, or two."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, create_engine, select, text
from sqlalchemy.exc import OperationalError

from app.db.engine import Database
from app.db.tables import Base, Job, JobWorker
from app.jobs import queries, service
from app.jobs.rules import NO_NETWORKS, JobStatus
from app.settings import Settings
from tests.app.jobs.factories import BY, make_job, make_running, read_job
from tests.app.jobs.worker_process import PATIENCE_S, WorkerProcess, n_effects, wait_for, worker_process

DONE, RUNNING = JobStatus.DONE, JobStatus.RUNNING


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"worker_timeout_s": 2.0})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "workers.log"


@pytest.fixture
def worker(settings: Settings, log: Path) -> Iterator[WorkerProcess]:
    with worker_process(settings, log) as worker:
        yield worker


def counting(database: Database, tmp_path: Path, *, n: int = 4, step_s: float = 0.3, kind: str = "count") -> str:
    payload = {"diary": str(tmp_path / "diary"), "n": n, "step_s": step_s}
    return make_job(database=database, kind=kind, payload=payload)


def diary(tmp_path: Path) -> list[tuple[float, str, int, str]]:
    """When, which job, in which process, start or end."""
    lines = [line.split() for line in (tmp_path / "diary").read_text().splitlines()]
    return sorted((float(at), job_id, int(pid), event) for at, job_id, pid, event in lines)


def test_a_job_whose_worker_is_killed_is_done_by_another_and_counts_once(
    settings: Settings, database: Database, tmp_path: Path, log: Path, worker: WorkerProcess
) -> None:
    """Nobody tells the second worker: it finds out by the first one's silence."""
    job_id = counting(database, tmp_path)
    wait_for(database, job_id, RUNNING, pid=worker.pid)
    worker.kill()
    with worker_process(settings, log):
        job = wait_for(database, job_id, DONE)
    assert (job.attempts, job.result) == (2, {"n": 4, "attempt": 2})
    assert n_effects(database, job_id) == 1
    assert [event for *_, event in diary(tmp_path)] == ["start", "start", "end"]
    assert "Traceback" not in log.read_text()
    with database.engine.connect() as connection:  # what DBOS keeps in PostgreSQL is no business of Alembic's
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_two_workers_share_the_jobs_and_never_do_one_twice(
    settings: Settings, database: Database, tmp_path: Path, log: Path, worker: WorkerProcess
) -> None:
    job_ids = [counting(database, tmp_path, n=1, step_s=0.15) for _ in range(12)]
    with worker_process(settings, log):
        jobs = [wait_for(database, job_id, DONE) for job_id in job_ids]
    assert [job.attempts for job in jobs] == [1] * len(jobs)
    events = diary(tmp_path)
    assert sorted(job_id for _, job_id, _, event in events if event == "start") == sorted(job_ids)
    for pid in {pid for _, _, pid, _ in events}:  # and each does one at a time
        own = [event for _, _, of, event in events if of == pid]
        assert own == ["start", "end"] * (len(own) // 2)
    assert len({pid for _, _, pid, _ in events}) == 2


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_of_three_workers_one_is_killed_and_one_freezes_and_every_job_counts_once(
    settings: Settings, database: Database, tmp_path: Path, log: Path, worker: WorkerProcess
) -> None:
    with worker_process(settings, log) as frozen, worker_process(settings, log) as third:
        # A job writes nothing between its start and its end: what the frozen one tries first, later, is the effect.
        job_ids = [counting(database, tmp_path, n=1, step_s=1.0) for _ in range(7)]
        killed_at = job_of(database, worker)
        worker.kill()
        late = freeze(database, frozen)
        jobs = [wait_for(database, job_id, DONE) for job_id in job_ids]
        frozen.resume()
        wait_for_line(log, "jobs.ended", late, "status=lost")
        assert {job.id for job in jobs if job.attempts > 1} >= {killed_at, late}
        assert [n_effects(database, job_id) for job_id in job_ids] == [1] * len(job_ids)
        events = diary(tmp_path)
        assert sorted(job_id for _, job_id, _, event in events if event == "end") == sorted(job_ids)
        assert {pid for _, _, pid, _ in events} == {worker.pid, frozen.pid, third.pid}
        third.kill()  # the frozen one is as good as new
        wait_for(database, counting(database, tmp_path, n=1), DONE, pid=frozen.pid)


def test_a_short_job_does_not_wait_for_another_queues_long_one_while_a_worker_is_idle(
    settings: Settings, database: Database, tmp_path: Path, log: Path, worker: WorkerProcess
) -> None:
    long = counting(database, tmp_path, n=1000)
    wait_for(database, long, RUNNING, pid=worker.pid)
    behind = counting(database, tmp_path, n=1)
    short = counting(database, tmp_path, n=1, kind="count_apart")
    wait_until_kept(database, short, worker)
    with worker_process(settings, log, queues="apart") as other:
        wait_for(database, short, DONE, pid=other.pid)
    # It is of one queue only, and the first worker is still there for both.
    assert [read_job(database=database, job_id=job_id).status for job_id in (long, behind)] == ["running", "queued"]
    with database.write() as session:
        service.cancel(session, long, BY)
    short_too = counting(database, tmp_path, n=1, kind="count_apart")
    for job_id in (behind, short_too):
        wait_for(database, job_id, DONE, pid=worker.pid)
    assert [n_effects(database, job_id) for job_id in (short, behind, short_too)] == [1, 1, 1]


def test_a_worker_that_is_stopped_gives_its_job_back_at_once(
    settings: Settings, database: Database, tmp_path: Path, log: Path, worker: WorkerProcess
) -> None:
    job_id = counting(database, tmp_path)
    wait_for(database, job_id, RUNNING, pid=worker.pid)
    assert worker.terminate() == 0
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.attempts) == ("queued", 0)
    with database.read() as session:
        assert queries.live_workers(session) == {}
    with worker_process(settings, log):
        assert wait_for(database, job_id, DONE).attempts == 1


def test_records_of_dbos_that_are_lost_are_made_again(
    settings: Settings, database: Database, tmp_path: Path, log: Path, worker: WorkerProcess
) -> None:
    """As after restoring a backup of our tables alone."""
    running, waiting = counting(database, tmp_path), counting(database, tmp_path, n=1, step_s=0.0)
    wait_for(database, running, RUNNING, pid=worker.pid)
    worker.kill()
    forget_dbos(database)
    with worker_process(settings, log):
        assert wait_for(database, running, DONE).attempts == 2
        assert wait_for(database, waiting, DONE).attempts == 1


def test_a_worker_that_cannot_load_its_networks_ends_and_another_does_its_job(
    settings: Settings, database: Database, log: Path
) -> None:
    job_id = make_job(database=database, kind="equip")
    without = settings.model_copy(update={"backbone": "facenet-vggface2"})  # whose weights are not there
    for starts in (1, 2):  # it comes back, for nobody else is there
        with worker_process(without, log) as unfit:
            assert unfit.wait() == 1
        job = read_job(database=database, job_id=job_id)
        assert (job.status, job.attempts, job.message) == ("queued", 0, NO_NETWORKS)
        assert log.read_text().count("jobs.worker_unfit") == starts
    with database.read() as session:
        assert queries.live_workers(session) == {}
    with worker_process(settings, log):
        assert wait_for(database, job_id, DONE).attempts == 1


def test_a_kind_that_an_older_worker_does_not_know_is_left_to_a_newer_one(
    settings: Settings, database: Database, tmp_path: Path, log: Path
) -> None:
    """Either may be handed the job first, and the older one again and again: it never costs the job anything."""
    job_id = counting(database, tmp_path, n=1, step_s=0.0)
    known = make_job(database=database, kind="enroll_video", payload={"enrolment_id": "enr_none"})
    with worker_process(settings, log, is_older=True):
        wait_for(database, known, DONE)
        assert read_job(database=database, job_id=job_id).status == "queued"
        with worker_process(settings, log) as newer:
            job = wait_for(database, job_id, DONE, patience_s=90.0)
    assert (job.attempts, job.message) == (1, f"pid {newer.pid}")


def test_a_job_that_a_worker_holds_but_does_not_do_is_done_after_all(
    settings: Settings, database: Database, tmp_path: Path, log: Path, worker: WorkerProcess
) -> None:
    """It lives, so nobody else would ever take the job from it."""
    job_id = make_running(
        database=database,
        worker=worker.id,
        kind="count",
        payload={"diary": str(tmp_path / "diary"), "n": 1, "step_s": 0},
    )
    assert wait_for(database, job_id, DONE).attempts == 2
    assert "jobs.let_go" in log.read_text()


def job_of(database: Database, worker: WorkerProcess) -> str:
    """A job that the worker has begun."""
    begun = Job.worker == worker.id, Job.status == RUNNING, Job.message == f"pid {worker.pid}"
    until = monotonic() + PATIENCE_S
    while monotonic() < until:
        with database.read() as session:
            if job_id := session.scalars(select(Job.id).where(*begun)).first():
                return job_id
        sleep(0.02)
    raise AssertionError("the worker does nothing")


def freeze(database: Database, worker: WorkerProcess) -> str:
    """Stop it amid a job, but not amid a transaction, whose locks would stop the others too; returns the job."""
    while True:
        job_id = job_of(database, worker)
        worker.suspend()
        sleep(0.1)
        if is_nothing_locked(database) and read_job(database=database, job_id=job_id).worker == worker.id:
            return job_id
        worker.resume()
        sleep(0.1)


def is_nothing_locked(database: Database) -> bool:
    try:
        with database.write() as session:
            for table in (JobWorker, Job):
                session.scalars(select(table).with_for_update(nowait=True)).all()
    except OperationalError:
        return False
    return True


def wait_for_line(log: Path, *words: str) -> None:
    until = monotonic() + PATIENCE_S
    while not any(all(word in line for word in words) for line in log.read_text().splitlines()):
        assert monotonic() < until, f"no line with {words} in:\n{log.read_text()}"
        sleep(0.05)


def wait_until_kept(database: Database, job_id: str, worker: WorkerProcess) -> None:
    """Until DBOS has given the job to this worker."""
    is_sqlite = database.engine.dialect.name == "sqlite"
    file = Path(str(database.engine.url.database)).with_name("jobs.sqlite3")
    engine = create_engine(URL.create("sqlite", database=str(file))) if is_sqlite else database.engine
    table = "workflow_status" if is_sqlite else "dbos.workflow_status"
    kept = text(f"SELECT count(*) FROM {table} WHERE workflow_uuid = :job AND executor_id = :worker")
    until, n = monotonic() + PATIENCE_S, 0
    while n == 0:
        assert monotonic() < until, "DBOS has not given it to the worker"
        sleep(0.05)
        with engine.connect() as connection:
            n = connection.execute(kept, {"job": job_id, "worker": worker.id}).scalar_one()


def forget_dbos(database: Database) -> None:
    if database.engine.dialect.name == "postgresql":
        with database.engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA dbos CASCADE")
        return
    kept = str(database.engine.url.database)
    for path in Path(kept).parent.glob("jobs.sqlite3*"):
        path.unlink()

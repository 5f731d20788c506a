from datetime import timedelta

from sqlalchemy import update
from structlog.testing import capture_logs

from app.db.clock import shared_now
from app.db.engine import Database
from app.db.tables import Job, JobWorker
from app.jobs import janitor, queries
from tests.app.jobs.factories import make_finished, make_job, make_running, read_job

TIMEOUT_S = 15.0


def silence(database: Database, worker: str, seconds: float) -> None:
    with database.write() as session:
        heard = shared_now(session) - timedelta(seconds=seconds)
        session.execute(update(JobWorker).where(JobWorker.id == worker).values(beat_at=heard))


def test_who_was_not_heard_of_for_long_is_dead_and_their_job_is_free(database: Database) -> None:
    job_id = make_running(database=database, worker="wrk_silent")
    other = make_running(database=database, worker="wrk_late")
    silence(database, "wrk_silent", TIMEOUT_S + 1)
    silence(database, "wrk_late", TIMEOUT_S - 5)
    with capture_logs() as logs:
        janitor.bury_silent(database, TIMEOUT_S)
    assert read_job(database=database, job_id=job_id).status == "queued"
    assert read_job(database=database, job_id=other).status == "running"
    assert [line["event"] for line in logs] == ["jobs.worker_silent", "jobs.lost_its_worker"]
    with database.read() as session:
        assert set(queries.live_workers(session)) == {"wrk_late"}


def test_a_heartbeat_keeps_a_worker_alive_and_brings_back_a_buried_one(database: Database) -> None:
    for _ in range(2):
        with database.write() as session:
            queries.beat(session, "wrk_1", [])
        silence(database, "wrk_1", TIMEOUT_S + 1)
        with database.write() as session:
            queries.beat(session, "wrk_1", [])
        janitor.bury_silent(database, TIMEOUT_S)
        with database.read() as session:
            assert set(queries.live_workers(session)) == {"wrk_1"}
        janitor.bury(database, "wrk_1")


def test_a_worker_that_is_known_to_be_gone_need_not_be_waited_for(database: Database) -> None:
    job_id = make_running(database=database)
    janitor.bury(database, "wrk_test")
    assert read_job(database=database, job_id=job_id).status == "queued"


def test_after_a_sleep_everybody_has_a_moment_to_speak_up(database: Database) -> None:
    """A laptop was closed for an hour: its workers are as silent as the dead, and yet alive."""
    now_s = [0.0]
    watch = janitor.Watch(database, TIMEOUT_S, lambda: now_s[0])
    job_id = make_running(database=database)
    silence(database, "wrk_test", 3600)
    for at_s, status in ((3600.0, "running"), (3603.0, "running"), (3606.0, "running"), (3609.0, "queued")):
        now_s[0] = at_s
        watch.look()
        assert read_job(database=database, job_id=job_id).status == status


def test_a_worker_that_has_just_started_takes_over_from_the_dead_at_once(database: Database) -> None:
    job_id = make_running(database=database)
    silence(database, "wrk_test", TIMEOUT_S + 1)
    janitor.Watch(database, TIMEOUT_S).look()
    assert read_job(database=database, job_id=job_id).status == "queued"


def test_jobs_that_ended_long_ago_are_forgotten(database: Database) -> None:
    old, new, queued = make_finished(database=database), make_finished(database=database), make_job(database=database)
    with database.write() as session:
        long_ago = shared_now(session) - timedelta(days=31)
        session.execute(update(Job).where(Job.id.in_([old, queued])).values(created_at=long_ago))
        session.execute(update(Job).where(Job.id == old).values(finished_at=long_ago))
    janitor.purge(database, 30)
    with database.read() as session:
        assert {job.id for job in queries.list_jobs(session, status=None, kind=None, before=None, limit=9)} == {
            new,
            queued,
        }

import pytest
from sqlalchemy import select

from app.db.engine import Database
from app.db.tables import AuditEntry, Job
from app.errors import ProblemError
from app.jobs import queries, schemas, service
from app.jobs.rules import (
    DIED_TOO_OFTEN,
    INTERNAL,
    MAX_ATTEMPTS,
    NO_NETWORKS,
    NO_WORKER,
    SILENT_AFTER_S,
    Claim,
    JobStatus,
    no_worker_for,
)
from tests.app.jobs.factories import (
    BY,
    KINDS,
    WORKER,
    kill_worker,
    make_cancelling,
    make_finished,
    make_job,
    make_kinds,
    make_running,
    make_worker,
    read_job,
)


def test_a_job_exists_only_if_its_callers_transaction_commits(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:
        service.enqueue(session, "test", {"n": 1}, BY)
        raise RuntimeError
    with database.read() as session:
        assert session.scalars(select(Job)).all() == []
        assert session.scalars(select(AuditEntry).where(AuditEntry.action == "job.queued")).all() == []


def test_a_queued_job_knows_its_task_and_who_asked(database: Database) -> None:
    job = read_job(database=database, job_id=make_job(database=database, kind="count", payload={"n": [1, 2]}))
    assert (job.id[:4], job.kind, job.payload, job.created_by) == ("job_", "count", {"n": [1, 2]}, BY)
    assert (job.status, job.progress, job.attempts, job.requested_cancel) == ("queued", 0.0, 0, False)
    assert (job.result, job.error, job.started_at, job.finished_at, job.worker) == (None,) * 5


def test_only_one_worker_gets_a_job(database: Database) -> None:
    job_id = make_job(database=database)
    with database.write() as session:
        first = service.claim(session, job_id, "wrk_1", KINDS)
    with database.write() as session:
        second = service.claim(session, job_id, "wrk_2", KINDS)
    assert first is not None and (first.status, first.worker, first.attempts) == ("running", "wrk_1", 1)
    assert second is None


def test_claiming_says_that_the_worker_is_alive(database: Database) -> None:
    with database.write() as session:
        assert service.claim(session, "job_none", "wrk_1", KINDS) is None
        assert set(queries.live_workers(session)) == {"wrk_1"}


def test_a_claim_ends_with_the_attempt(database: Database) -> None:
    job_id = make_running(database=database)
    claim = Claim.of(read_job(database=database, job_id=job_id))
    kill_worker(database=database)
    with database.write() as session:
        assert queries.lock_claimed(session, claim) is not None
        service.settle_lost(session)
    with database.write() as session:
        assert queries.lock_claimed(session, claim) is None
        again = service.claim(session, job_id, WORKER, KINDS)  # even by the same worker it is another attempt
        assert again is not None and again.attempts == 2
        assert queries.lock_claimed(session, claim) is None


def test_a_queued_job_is_cancelled_at_once(database: Database) -> None:
    job_id = make_job(database=database)
    with database.write() as session:
        service.cancel(session, job_id, BY)
    job = read_job(database=database, job_id=job_id)
    assert job.status == "cancelled" and job.finished_at is not None
    with database.write() as session:
        assert service.claim(session, job_id, WORKER, KINDS) is None


def test_a_running_job_is_asked_to_end_and_that_is_noted_once(database: Database) -> None:
    job_id = make_running(database=database)
    for _ in range(2):
        with database.write() as session:
            assert service.cancel(session, job_id, BY).status == "running"
    assert read_job(database=database, job_id=job_id).requested_cancel
    with database.read() as session:
        (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "job.cancelled"))
    assert (entry.actor, entry.target, entry.detail) == (BY, job_id, {"kind": "test", "status": "running"})


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)  # on SQLite nobody reads before another's commit
def test_what_was_read_before_the_lock_does_not_count(database: Database) -> None:
    job_id = make_running(database=database)
    with pytest.raises(ProblemError, match="409"), database.write() as session:
        assert service.get(session, job_id).status == "running"
        with database.write() as other:
            service.end(service.get(other, job_id), JobStatus.DONE)
        service.cancel(session, job_id, BY)


@pytest.mark.parametrize("status", [JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED])
def test_what_is_over_cannot_be_cancelled(database: Database, status: JobStatus) -> None:
    job_id = make_finished(database=database, status=status)
    with pytest.raises(ProblemError) as refused, database.write() as session:
        service.cancel(session, job_id, BY)
    assert (refused.value.status_code, refused.value.code) == (409, "job_finished")
    assert read_job(database=database, job_id=job_id).status == status


def test_the_job_of_a_dead_worker_is_tried_again_and_that_of_a_live_one_left_alone(database: Database) -> None:
    lost = make_running(database=database, worker="wrk_dead")
    kept = make_running(database=database, worker="wrk_alive")
    kill_worker(database=database, worker="wrk_dead")
    with database.write() as session:
        assert [job.id for job in service.settle_lost(session)] == [lost]
    job = read_job(database=database, job_id=lost)
    assert (job.status, job.worker, job.attempts) == ("queued", None, 1)
    assert read_job(database=database, job_id=kept).worker == "wrk_alive"


def test_a_job_whose_worker_died_too_often_has_failed(database: Database) -> None:
    job_id = make_running(database=database, attempts=MAX_ATTEMPTS)
    kill_worker(database=database)
    with database.write() as session:
        service.settle_lost(session)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.error, job.worker) == ("failed", DIED_TOO_OFTEN, None)


def test_a_job_that_was_to_be_cancelled_when_its_worker_died_is_cancelled(database: Database) -> None:
    job_id = make_cancelling(database=database)
    kill_worker(database=database)
    with database.write() as session:
        service.settle_lost(session)
    assert read_job(database=database, job_id=job_id).status == "cancelled"


def test_a_job_that_was_to_be_cancelled_when_its_worker_was_stopped_is_cancelled(database: Database) -> None:
    job_id = make_cancelling(database=database)
    with database.write() as session:
        service.give_up_all(session, WORKER)
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.worker) == ("cancelled", None) and job.finished_at is not None


def test_a_worker_that_says_goodbye_gives_its_job_back_uncounted(database: Database) -> None:
    job_id = make_running(database=database, attempts=2)
    with database.write() as session:
        service.give_up_all(session, WORKER)
        assert set(queries.live_workers(session)) == set()
    job = read_job(database=database, job_id=job_id)
    assert (job.status, job.worker, job.attempts) == ("queued", None, 1)


def test_what_an_idle_worker_holds_is_tried_again_a_few_times(database: Database) -> None:
    first, last = make_running(database=database), make_running(database=database, attempts=MAX_ATTEMPTS)
    other = make_running(database=database, worker="wrk_other")
    with database.write() as session:
        assert {job.id for job in service.let_go(session, WORKER)} == {first, last}
    jobs = [read_job(database=database, job_id=job_id) for job_id in (first, last, other)]
    assert [(job.status, job.attempts, job.error) for job in jobs] == [
        ("queued", 1, None),
        ("failed", MAX_ATTEMPTS, INTERNAL),
        ("running", 1, None),
    ]


def test_a_kind_that_a_worker_does_not_know_is_left_to_others(database: Database) -> None:
    job_id = make_job(database=database, kind="alchemy")
    with database.write() as session:
        assert service.claim(session, job_id, WORKER, KINDS) is None
    with database.write() as session:
        assert service.claim(session, job_id, "wrk_newer", make_kinds("test", "alchemy")) is not None


def test_cancelling_what_may_be_over_says_whether_there_was_anything_to_cancel(database: Database) -> None:
    queued, running = make_job(database=database), make_running(database=database)
    finished = make_finished(database=database)
    with database.write() as session:
        done = [service.cancel_if_running(session, job_id, BY) for job_id in (queued, running, finished, "job_none")]
    assert done == [True, True, False, False]
    jobs = [read_job(database=database, job_id=job_id) for job_id in (queued, running, finished)]
    assert [(job.status, job.requested_cancel) for job in jobs] == [
        ("cancelled", True),
        ("running", True),
        ("done", False),
    ]


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)  # on SQLite nobody reads before another's commit
def test_a_job_that_ends_just_before_it_is_cancelled_is_no_error(database: Database) -> None:
    job_id = make_running(database=database)
    with database.write() as session:
        assert service.get(session, job_id).status == "running"
        with database.write() as other:
            service.end(service.get(other, job_id), JobStatus.DONE)
        assert not service.cancel_if_running(session, job_id, BY)
    assert read_job(database=database, job_id=job_id).status == "done"


def told(database: Database, job_id: str) -> str | None:
    with database.read() as session:
        return service.told_message(session, service.get(session, job_id))


def test_a_queued_job_says_so_when_nobody_is_there_to_do_it(database: Database) -> None:
    job_id = make_job(database=database)
    assert told(database, job_id) == NO_WORKER
    make_worker(database=database)
    assert told(database, job_id) is None
    # Killed, and no other worker is left that would bury it.
    make_worker(database=database, silent_for_s=SILENT_AFTER_S + 5)
    assert told(database, job_id) == NO_WORKER


def test_a_queued_job_says_so_when_all_workers_serve_other_queues(database: Database) -> None:
    job_id, unheard_of = make_job(database=database, kind="enroll_video"), make_job(database=database, kind="alchemy")
    make_worker(database=database, queues=["training"])
    assert told(database, job_id) == no_worker_for("video")
    assert told(database, unheard_of) is None  # who serves its queue, only another release can tell
    make_worker(database=database, worker="wrk_video", queues=["training", "video"])
    assert told(database, job_id) is None


def test_jobs_that_wait_for_nobody_say_what_they_did(database: Database) -> None:
    for job_id in (make_running(database=database), make_finished(database=database)):
        kill_worker(database=database)
        assert told(database, job_id) is None


def test_why_the_last_worker_left_is_not_hidden_by_its_being_gone(database: Database) -> None:
    job_id = make_job(database=database)
    with database.write() as session:
        service.get(session, job_id).message = NO_NETWORKS
    assert told(database, job_id) == NO_NETWORKS


def test_what_is_not_over_is_counted_by_queue(database: Database) -> None:
    def workload() -> schemas.Workload:
        with database.read() as session:
            return service.workload(session)

    video = schemas.Queue(name="video", n_queued=0, n_running=0, n_workers=0)
    training = schemas.Queue(name="training", n_queued=0, n_running=0, n_workers=0)
    assert workload() == schemas.Workload(n_queued=0, n_running=0, n_workers=0, queues=[training, video])
    for make in (make_job, make_job, make_running, make_finished):
        make(database=database)
    for _ in range(3):
        make_job(database=database, kind="enroll_video")
    make_running(database=database, kind="enroll_video")
    make_worker(database=database, worker="wrk_idle", queues=["training", "video"])
    make_worker(database=database, worker="wrk_killed", queues=["video"], silent_for_s=SILENT_AFTER_S + 5)
    training, video = (
        schemas.Queue(name="training", n_queued=0, n_running=0, n_workers=1),
        schemas.Queue(name="video", n_queued=3, n_running=1, n_workers=1),
    )
    assert workload() == schemas.Workload(n_queued=5, n_running=2, n_workers=2, queues=[training, video])

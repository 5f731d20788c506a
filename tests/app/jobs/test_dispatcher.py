from collections.abc import Mapping, Sequence

from app.db.engine import Database
from app.jobs import service
from app.jobs.dispatcher import Dispatcher
from tests.app.jobs.factories import (
    BY,
    KINDS,
    QUEUE,
    WORKER,
    kill_worker,
    make_job,
    make_kinds,
    make_running,
    make_worker,
)


class Recorder:
    """Stands for DBOS, which is somebody else's."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str], dict[str, bool]]] = []

    def __call__(self, queue: str, job_ids: Sequence[str], is_busy: Mapping[str, bool]) -> None:
        self.calls.append((queue, list(job_ids), dict(is_busy)))

    @property
    def job_ids(self) -> list[list[str]]:
        return [job_ids for _, job_ids, _ in self.calls]


def test_every_queued_job_is_handed_over_once_oldest_first(database: Database) -> None:
    recorder = Recorder()
    looking = Dispatcher(database, recorder, KINDS)
    looking.look()
    make_running(database=database)
    first, second = make_job(database=database), make_job(database=database)
    looking.look()
    looking.look()
    third = make_job(database=database)
    looking.look()
    assert recorder.job_ids == [[first, second], [third]]


def test_a_job_that_was_put_back_is_handed_over_again(database: Database) -> None:
    recorder = Recorder()
    looking = Dispatcher(database, recorder, KINDS)
    job_id = make_job(database=database)
    looking.look()
    with database.write() as session:
        service.claim(session, job_id, WORKER, KINDS)
    looking.look()
    with database.write() as session:
        service.give_up_all(session, WORKER)
    looking.look()
    assert recorder.job_ids == [[job_id], [job_id]]


def test_a_new_worker_hands_over_what_others_should_have(database: Database) -> None:
    job_id = make_job(database=database)
    for _ in range(2):
        recorder = Recorder()
        Dispatcher(database, recorder, KINDS).look()
        assert recorder.job_ids == [[job_id]]


def test_who_is_alive_and_who_has_a_job_is_told_with_it(database: Database) -> None:
    for worker in ("wrk_busy", "wrk_dead"):
        make_running(database=database, worker=worker)
    kill_worker(database=database, worker="wrk_dead")
    make_worker(database=database, worker="wrk_idle")
    recorder = Recorder()
    job_id = make_job(database=database)
    Dispatcher(database, recorder, KINDS).look()
    assert recorder.calls == [(QUEUE, [job_id], {"wrk_busy": True, "wrk_idle": False})]


def test_all_are_compared_now_and_then(database: Database) -> None:
    recorder = Recorder()
    looking = Dispatcher(database, recorder, KINDS, compare_every_s=0.0)
    job_id = make_job(database=database)
    for _ in range(3):
        looking.look()
    assert recorder.job_ids == [[job_id]] * 3


def test_cancelled_jobs_are_not_handed_over(database: Database) -> None:
    recorder = Recorder()
    job_id = make_job(database=database)
    with database.write() as session:
        service.cancel(session, job_id, BY)
    Dispatcher(database, recorder, KINDS).look()
    assert recorder.calls == []


def test_jobs_of_kinds_that_only_others_know_do_not_keep_back_the_known_ones(database: Database) -> None:
    recorder = Recorder()
    with database.write() as session:
        for _ in range(150):  # more than are handed over at a time
            service.enqueue(session, "alchemy", {}, BY)
    job_id = make_job(database=database)
    Dispatcher(database, recorder, KINDS).look()
    assert recorder.job_ids == [[job_id]]


def test_a_queue_with_many_jobs_does_not_keep_back_another(database: Database) -> None:
    recorder = Recorder()
    with database.write() as session:
        for _ in range(150):
            service.enqueue(session, "test", {}, BY)
    job_id = make_job(database=database, kind="short")
    Dispatcher(database, recorder, {**KINDS, **make_kinds("short", queue="other")}).look()
    assert [(queue, len(job_ids)) for queue, job_ids, _ in recorder.calls] == [("other", 1), (QUEUE, 100)]
    assert recorder.job_ids[0] == [job_id]

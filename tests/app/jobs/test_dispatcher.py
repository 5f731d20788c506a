from collections.abc import Collection, Sequence

from app.db.engine import Database
from app.jobs import service
from app.jobs.dispatcher import Dispatcher
from tests.app.jobs.factories import BY, KINDS, WORKER, make_job, make_running


class Recorder:
    """Stands for DBOS, which is somebody else's."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], set[str]]] = []

    def __call__(self, job_ids: Sequence[str], live_workers: Collection[str]) -> None:
        self.calls.append((list(job_ids), set(live_workers)))


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
    assert recorder.calls == [([first, second], {WORKER}), ([third], {WORKER})]


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
    assert [job_ids for job_ids, _ in recorder.calls] == [[job_id], [job_id]]


def test_a_new_worker_hands_over_what_others_should_have(database: Database) -> None:
    job_id = make_job(database=database)
    for _ in range(2):
        recorder = Recorder()
        Dispatcher(database, recorder, KINDS).look()
        assert [job_ids for job_ids, _ in recorder.calls] == [[job_id]]


def test_all_are_compared_now_and_then(database: Database) -> None:
    recorder = Recorder()
    looking = Dispatcher(database, recorder, KINDS, compare_every_s=0.0)
    job_id = make_job(database=database)
    for _ in range(3):
        looking.look()
    assert [job_ids for job_ids, _ in recorder.calls] == [[job_id]] * 3


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
    assert [job_ids for job_ids, _ in recorder.calls] == [[job_id]]

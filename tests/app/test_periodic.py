from threading import Event

from structlog.testing import capture_logs

from app.periodic import Periodic


def test_work_is_done_at_once_and_again_whatever_happened_the_last_time() -> None:
    calls: list[int] = []
    third = Event()

    def work() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            third.set()
        if len(calls) == 1:
            raise RuntimeError("the database is away")

    with capture_logs() as logs:
        periodic = Periodic("test-work", work, every_s=0.01)
        periodic.start()
        assert third.wait(10)
        periodic.stop()
    assert [(entry["event"], entry["name"]) for entry in logs] == [("periodic.failed", "test-work")]
    n_at_the_stop = len(calls)
    assert not Event().wait(0.05)
    assert (len(calls), periodic.is_stopping) == (n_at_the_stop, True)


def test_stopping_what_was_never_started_does_nothing() -> None:
    Periodic("test-work", lambda: None, every_s=60).stop()

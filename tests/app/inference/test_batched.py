"""Asks of many threads, run by few: order, batches, refusals, cancelling, failures and the end."""

import gc
import random
import weakref
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from contextlib import ExitStack
from threading import Thread
from time import sleep

import pytest

from app.inference.admission import MOST_PIXELS
from app.inference.away import InferenceAwayError
from app.inference.batched import BatchedInference
from app.inference.port import Analysis, Ask, BatchLimits, InferenceBusyError, InferenceClosedError, Lane
from ml.errors import ModelError
from tests.app.inference.fakes import WAIT_S, FakeRunner, make_ask, make_image

SINGLY = BatchLimits(max_images=1, max_pixels=1_000_000)


def answer_of(future: Future[Analysis]) -> int:
    """The number of the image that was answered about."""
    return int(future.result(WAIT_S).embed_s)


def test_an_idle_engine_starts_at_once_and_what_comes_meanwhile_shares_the_next_batch() -> None:
    inference = BatchedInference(runner := FakeRunner())
    first = inference.submit(make_ask(number=1))
    batch = runner.begun()
    others = [inference.submit(make_ask(number=n)) for n in (2, 3, 4)]
    batch.may_end.set()
    assert answer_of(first) == 1
    assert runner.end_next() == [2, 3, 4]
    assert [answer_of(each) for each in others] == [2, 3, 4]
    inference.close()


def test_bulk_and_interactive_asks_never_share_a_batch_and_the_camera_is_first() -> None:
    inference = BatchedInference(runner := FakeRunner())
    inference.submit(make_ask(number=1))
    running = runner.begun()
    asked = [inference.submit(make_ask(number=n), Lane.BULK) for n in (2, 3)]
    asked.append(inference.submit(make_ask(number=4)))
    running.may_end.set()
    assert runner.end_next() == [4]
    assert runner.end_next() == [2, 3]
    wait_for_all(asked, WAIT_S)
    assert [lane for lane, _ in runner.seen] == [Lane.INTERACTIVE, Lane.INTERACTIVE, Lane.BULK]
    inference.close()


def test_a_job_goes_on_though_somebody_always_waits_at_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.inference.lanes.BULK_PATIENCE_S", 0.05)
    inference = BatchedInference(runner := FakeRunner(limits=SINGLY))
    inference.submit(make_ask(number=1))
    job = inference.submit(make_ask(number=100), Lane.BULK)
    n_served = 0
    while not job.done():
        inference.submit(make_ask(number=2))  # one is always there when the next batch is chosen
        runner.end_next()
        sleep(0.005)
        n_served += 1
        assert n_served < 1000
    runner.end_next()
    assert answer_of(job) == 100
    assert runner.seen[1] == (Lane.INTERACTIVE, [2])
    inference.close()


def test_a_batch_waits_for_company_where_the_runner_asks_for_that() -> None:
    limits = BatchLimits(max_images=3, max_pixels=1_000_000, linger_s=WAIT_S)
    inference = BatchedInference(FakeRunner(holds=False, limits=limits))
    asked = [inference.submit(make_ask(number=n)) for n in range(3)]
    assert [answer_of(each) for each in asked] == [0, 1, 2]
    inference.close()
    lonely = BatchedInference(FakeRunner(holds=False, limits=BatchLimits(3, 1_000_000, linger_s=0.01)))
    assert lonely.submit(make_ask()).result(WAIT_S).queue_s >= 0.01
    lonely.close()


def test_as_many_batches_run_at_once_as_the_runner_takes() -> None:
    inference = BatchedInference(runner := FakeRunner(n_at_once=3, limits=SINGLY))
    asked = [inference.submit(make_ask(number=n)) for n in range(9)]
    batches = [runner.begun() for _ in range(3)]
    assert runner.held.empty()
    for batch in batches:
        batch.may_end.set()
    for _ in range(6):
        runner.end_next()
    assert [answer_of(each) for each in asked] == list(range(9))
    assert runner.most_at_once == 3
    inference.close()


def test_waiting_is_told_apart_from_work() -> None:
    inference = BatchedInference(runner := FakeRunner(limits=SINGLY))
    first, second = (inference.submit(make_ask()) for _ in range(2))
    batch = runner.begun()
    sleep(0.05)
    batch.may_end.set()
    runner.end_next()
    waited_s = [each.result(WAIT_S).queue_s for each in (first, second)]
    assert waited_s[0] < waited_s[1]
    assert waited_s[1] >= 0.05
    inference.close()


def test_one_thread_is_always_left_to_whoever_stands_at_a_door() -> None:
    """Other machines that are away or busy may keep a job's batch waiting for a minute."""
    inference = BatchedInference(runner := FakeRunner(limits=SINGLY, n_at_once=3))
    jobs = [inference.submit(make_ask(number=n), Lane.BULK) for n in range(5)]
    stuck = [runner.begun(), runner.begun()]
    camera = inference.submit(make_ask(number=100))
    served = runner.begun()
    served.may_end.set()
    assert answer_of(camera) == 100
    assert sum(job.done() for job in jobs) == 0
    for each in stuck:
        each.may_end.set()
    for _ in range(3):
        runner.end_next()
    wait_for_all(jobs, WAIT_S)
    inference.close()


def test_whoever_cancels_leaves_the_queue_and_frees_the_place() -> None:
    inference = BatchedInference(runner := FakeRunner(), most_waiting=2)
    inference.submit(make_ask(number=1))
    running = runner.begun()
    gone, there = (inference.submit(make_ask(number=n)) for n in (2, 3))
    with pytest.raises(InferenceBusyError):
        inference.submit(make_ask(number=4))
    assert gone.cancel()
    assert inference._lanes.size(Lane.INTERACTIVE).n_images == 1
    running.may_end.set()
    assert runner.end_next() == [3]
    assert answer_of(there) == 3
    inference.close()


def test_what_runs_already_cannot_be_cancelled() -> None:
    inference = BatchedInference(runner := FakeRunner())
    asked = inference.submit(make_ask(number=1))
    batch = runner.begun()
    assert not asked.cancel()
    batch.may_end.set()
    assert answer_of(asked) == 1
    inference.close()


def test_places_count_until_they_are_used_or_left() -> None:
    inference = BatchedInference(runner := FakeRunner(), most_waiting=2)
    inference.submit(make_ask(number=1))
    running = runner.begun()
    with ExitStack() as stack:
        first, _second = (stack.enter_context(inference.place()) for _ in range(2))
        with pytest.raises(InferenceBusyError) as busy:
            inference.check_room()
        assert busy.value.retry_after_s >= 1
        asked = first.submit(make_ask(number=2))  # it waits in the lane now, and is counted once
        with pytest.raises(InferenceBusyError), inference.place():
            pass
    inference._admission._is_overrun = False
    inference.check_room()
    running.may_end.set()
    assert runner.end_next() == [2] and answer_of(asked) == 2
    inference.close()


def test_a_place_stays_for_the_next_picture_of_the_same_call() -> None:
    inference = BatchedInference(FakeRunner(holds=False), most_waiting=1)
    with inference.place() as place:
        assert [answer_of(place.submit(make_ask(number=n))) for n in range(5)] == list(range(5))
    inference.close()


def test_pictures_too_large_to_be_kept_side_by_side_are_refused_even_with_a_place() -> None:
    inference = BatchedInference(runner := FakeRunner())
    inference.submit(make_ask())
    running = runner.begun()
    huge = make_ask(n_images=20, height=2000, width=2000)  # the same array again and again
    assert huge.n_pixels > MOST_PIXELS / 2
    with inference.place() as place:
        first = inference.submit(huge)
        with pytest.raises(InferenceBusyError):
            place.submit(huge)
    running.may_end.set()
    runner.end_next()
    first.result(WAIT_S)
    inference.close()


def test_jobs_wait_for_room_instead_of_being_refused() -> None:
    inference = BatchedInference(runner := FakeRunner(limits=SINGLY), most_waiting=2)
    inference.submit(make_ask(number=1))
    running = runner.begun()
    asked: list[Future[Analysis]] = []
    job = Thread(target=lambda: asked.extend(inference.submit(make_ask(number=n), Lane.BULK) for n in range(2, 7)))
    job.start()
    sleep(0.05)
    assert inference._lanes.size(Lane.BULK).n_images == 2 and job.is_alive()
    running.may_end.set()
    assert [runner.end_next() for _ in range(5)] == [[2], [3], [4], [5], [6]]
    job.join(WAIT_S)
    assert [answer_of(each) for each in asked] == [2, 3, 4, 5, 6]
    inference.close()


def test_one_bad_ask_fails_alone() -> None:
    def fail(numbers: list[int]) -> None:
        if 3 in numbers:
            raise ValueError("no such picture")

    inference = BatchedInference(runner := FakeRunner(fail=fail))
    inference.submit(make_ask(number=1))
    running = runner.begun()
    asked = [inference.submit(make_ask(number=n)) for n in (2, 3, 4)]
    running.may_end.set()
    assert [runner.end_next() for _ in range(4)] == [[2, 3, 4], [2], [3], [4]]
    assert (answer_of(asked[0]), answer_of(asked[2])) == (2, 4)
    with pytest.raises(ValueError, match="no such picture"):
        asked[1].result(WAIT_S)
    later = inference.submit(make_ask(number=5))
    assert runner.end_next() == [5] and answer_of(later) == 5
    inference.close()


@pytest.mark.parametrize(
    "error", [ModelError("the device is gone"), InferenceBusyError(3), InferenceAwayError("all of them")]
)
def test_networks_that_are_away_are_not_asked_again_for_each(error: Exception) -> None:
    def fail(numbers: list[int]) -> None:
        if 1 not in numbers:
            raise error

    inference = BatchedInference(runner := FakeRunner(fail=fail))
    first = inference.submit(make_ask(number=1))
    running = runner.begun()
    asked = [inference.submit(make_ask(number=n)) for n in (2, 3)]
    running.may_end.set()
    assert runner.end_next() == [2, 3]
    assert [each.exception(WAIT_S) for each in asked] == [error, error]
    assert answer_of(first) == 1 and len(runner.seen) == 2
    inference.close()


def test_a_runner_that_answers_too_little_is_not_believed() -> None:
    runner = FakeRunner(holds=False)
    runner.run = lambda asks, lane: []  # type: ignore[method-assign]
    inference = BatchedInference(runner)
    with pytest.raises(RuntimeError, match="1 asks had 0 answers"):
        inference.analyze([make_image()])
    inference.close()


def test_the_end_fails_what_waits_and_refuses_what_comes() -> None:
    inference = BatchedInference(runner := FakeRunner(limits=SINGLY), most_waiting=1)
    running = inference.submit(make_ask(number=1))
    batch = runner.begun()
    waiting, job = inference.submit(make_ask(number=2)), inference.submit(make_ask(number=3), Lane.BULK)
    stuck: list[BaseException] = []

    def submit_bulk() -> None:
        try:
            inference.submit(make_ask(number=4), Lane.BULK)
        except InferenceClosedError as error:
            stuck.append(error)

    blocked = Thread(target=submit_bulk)
    blocked.start()
    closing = Thread(target=inference.close)
    closing.start()
    for future in (waiting, job):
        assert isinstance(future.exception(WAIT_S), InferenceClosedError)
    blocked.join(WAIT_S)
    assert len(stuck) == 1 and closing.is_alive() and not runner.is_closed
    batch.may_end.set()
    closing.join(WAIT_S)
    assert answer_of(running) == 1 and runner.is_closed
    for refused in (inference.check_room, lambda: inference.submit(make_ask())):
        with pytest.raises(InferenceClosedError):
            refused()
    inference.close()  # a second time is no harm


def test_no_ask_is_lost_however_threads_come_and_go() -> None:
    """Eight threads ask in both lanes, cancel at random, and always learn what became of it."""

    def fail(numbers: list[int]) -> None:
        if any(number % 50 == 49 for number in numbers):
            raise ValueError

    inference = BatchedInference(FakeRunner(holds=False, n_at_once=2, fail=fail), most_waiting=6)
    counts = {"answered": 0, "cancelled": 0, "failed": 0, "refused": 0}

    def one(number: int, dice: random.Random) -> str:
        try:
            asked = inference.submit(make_ask(number=number), dice.choice(list(Lane)))
        except InferenceBusyError:
            return "refused"
        if dice.random() < 0.4:
            asked.cancel()
        try:
            assert answer_of(asked) == number
        except CancelledError:
            return "cancelled"
        except ValueError:
            return "failed"
        return "answered"

    def caller(seed: int) -> list[str]:
        dice = random.Random(seed)
        return [one(dice.randrange(10_000), dice) for _ in range(300)]

    with ThreadPoolExecutor(8) as pool:
        for outcomes in pool.map(caller, range(8)):
            for outcome in outcomes:
                counts[outcome] += 1
    assert sum(counts.values()) == 2400
    assert counts["answered"] > 1000 and counts["failed"] > 0
    with inference._changed:
        assert all(inference._lanes.size(lane).n_images == 0 for lane in Lane)
        assert inference._admission._running == {}
    inference.close()


def test_a_picture_is_let_go_of_with_its_answer() -> None:
    """A cycle would keep it until the next full collection, minutes later: hundreds of pictures."""
    inference = BatchedInference(FakeRunner(holds=False))
    first, image = make_image(number=7), make_image(number=8)
    is_there = weakref.ref(first)
    gc.disable()
    try:
        answer = inference.submit(Ask([first]))
        del first
        assert answer_of(answer) == 7
        assert answer_of(inference.submit(Ask([image]))) == 8  # the thread that runs holds its latest batch
        assert is_there() is None
    finally:
        gc.enable()
        inference.close()


def test_what_is_counted_can_be_scraped() -> None:
    inference = BatchedInference(runner := FakeRunner(), most_waiting=2)
    first = inference.submit(make_ask(number=1))
    running = runner.begun()
    asked = [inference.submit(make_ask(number=n)) for n in (2, 3)]
    with pytest.raises(InferenceBusyError):
        inference.check_room()
    shown = scrape(inference)
    assert shown["rollcall_inference_waiting", "interactive"] == 2
    assert shown["rollcall_inference_waiting", "bulk"] == 0
    assert shown["rollcall_inference_refused_total",] == 1
    assert shown["rollcall_inference_info", "fake/1", "fake", "cpu", "fake", "set"] == 1
    running.may_end.set()
    runner.end_next()
    wait_for_all([first, *asked], WAIT_S)
    inference.close()
    shown = scrape(inference)
    assert shown["rollcall_inference_batch_images_count", "interactive"] == 2
    assert shown["rollcall_inference_batch_images_sum", "interactive"] == 3
    assert shown["rollcall_inference_seconds_count", "interactive", "queue"] == 3
    assert shown["rollcall_inference_seconds_sum", "interactive", "queue"] > 0
    assert shown["rollcall_inference_seconds_count", "interactive", "detect"] == 2


def scrape(inference: BatchedInference) -> dict[tuple[str, ...], float]:
    samples = [sample for metric in inference.collect() for sample in metric.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples if "le" not in sample.labels}

"""Circuit breakers on a clock of the test's own, and which worker gets the next batch."""

import pytest

from app.inference.workers import (
    FAILURES_TO_OPEN,
    FIRST_REST_S,
    LONGEST_BUSY_S,
    LONGEST_REST_S,
    Breaker,
    Circuit,
    Worker,
    Workers,
)

CLOSED, OPEN, HALF_OPEN = Circuit.CLOSED, Circuit.OPEN, Circuit.HALF_OPEN
FAILED_ONCE = Breaker(n_failures=1)
NEARLY = Breaker(n_failures=FAILURES_TO_OPEN - 1)
RESTING = Breaker(OPEN, 3, rest_s=2.0, probe_at_s=102.0)
PROBED = Breaker(HALF_OPEN, 3, rest_s=2.0, probe_at_s=99.0)
TIRED = Breaker(HALF_OPEN, 9, rest_s=LONGEST_REST_S, probe_at_s=99.0)


@pytest.mark.parametrize(
    ("before", "is_certain", "circuit", "rest_s"),
    [
        (Breaker(), False, CLOSED, 0.0),
        (FAILED_ONCE, False, CLOSED, 0.0),
        (NEARLY, False, OPEN, FIRST_REST_S),
        (Breaker(), True, OPEN, FIRST_REST_S),
        (PROBED, False, OPEN, 4.0),
        (TIRED, True, OPEN, LONGEST_REST_S),
    ],
)
def test_what_a_failure_does(before: Breaker, is_certain: bool, circuit: Circuit, rest_s: float) -> None:
    after = before.after_failure(100.0, is_certain=is_certain)
    assert (after.circuit, after.n_failures, after.rest_s) == (circuit, before.n_failures + 1, rest_s)
    assert circuit is CLOSED or after.probe_at_s == 100.0 + rest_s


@pytest.mark.parametrize("before", [Breaker(), NEARLY, RESTING, PROBED, TIRED])
def test_a_success_forgives_everything(before: Breaker) -> None:
    assert before.after_success() == Breaker()


def test_a_batch_that_was_on_its_way_does_not_make_a_rest_longer() -> None:
    assert RESTING.after_failure(101.0, is_certain=True) == RESTING


@pytest.mark.parametrize(
    ("breaker", "now_s", "is_due"),
    [(Breaker(), 200.0, False), (RESTING, 101.9, False), (RESTING, 102.0, True), (PROBED, 200.0, False)],
)
def test_one_probe_is_sent_when_the_rest_is_over(breaker: Breaker, now_s: float, is_due: bool) -> None:
    assert breaker.wants_probe(now_s) is is_due
    assert not breaker.probed().wants_probe(now_s)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def two(clock: Clock) -> Workers:
    return Workers(["http://a", "http://b"], clock)


def taken(workers: Workers, *avoided: str) -> Worker:
    worker = workers.take(avoided)
    assert worker is not None
    return worker


def test_idle_workers_take_turns_and_the_one_with_the_least_to_do_comes_first(two: Workers) -> None:
    first, second = taken(two), taken(two)
    assert {first.url, second.url} == {"http://a", "http://b"}
    two.answered(second)
    assert [taken(two).url, taken(two).url] == [second.url, first.url]


def test_a_worker_that_was_tried_is_avoided(two: Workers) -> None:
    assert [taken(two, "http://a").url for _ in range(3)] == ["http://b"] * 3
    assert two.take(["http://a", "http://b"]) is None


def test_a_worker_that_keeps_failing_gets_nothing_until_a_probe_was_answered(two: Workers, clock: Clock) -> None:
    for _ in range(FAILURES_TO_OPEN):
        two.failed(taken(two, "http://b"))
    assert two.take(["http://b"]) is None and taken(two).url == "http://b"
    assert two.take_for_probe() is None
    clock.now_s += FIRST_REST_S
    probed = two.take_for_probe()
    assert probed is not None and probed.url == "http://a"
    assert two.take_for_probe() is None and two.take(["http://b"]) is None
    two.answered(probed)
    assert taken(two, "http://b").url == "http://a"


def test_a_probe_that_fails_lets_the_worker_rest_for_twice_as_long(two: Workers, clock: Clock) -> None:
    two.failed(taken(two, "http://b"), is_certain=True)
    clock.now_s += FIRST_REST_S
    probed = two.take_for_probe()
    assert probed is not None
    two.failed(probed)
    clock.now_s += FIRST_REST_S
    assert two.take_for_probe() is None
    clock.now_s += FIRST_REST_S
    assert two.take_for_probe() is probed


def test_a_busy_worker_is_left_alone_for_as_long_as_it_says_but_not_for_ever(two: Workers, clock: Clock) -> None:
    two.was_busy(taken(two, "http://b"), for_s=1.0)
    assert taken(two).url == "http://b" and not two.are_busy()
    two.was_busy(taken(two, "http://a"), for_s=60.0)
    assert two.take() is None and two.are_busy()
    clock.now_s += 1.0
    assert taken(two).url == "http://a" and not two.are_busy()
    clock.now_s += LONGEST_BUSY_S
    assert taken(two, "http://a").url == "http://b"


def test_workers_that_are_away_do_not_count_as_busy(two: Workers) -> None:
    two.rest("http://a")
    two.was_busy(taken(two), for_s=1.0)
    assert two.are_busy()
    two.rest("http://b")
    assert not two.are_busy()


def test_an_outage_is_timed_from_when_the_last_worker_failed_until_one_is_back(two: Workers, clock: Clock) -> None:
    two.failed(taken(two, "http://b"), is_certain=True)
    assert two.away_s() is None
    clock.now_s += 0.1
    two.failed(taken(two), is_certain=True)
    assert two.away_s() == 0.0
    clock.now_s += FIRST_REST_S
    probed = two.take_for_probe()
    assert probed is not None and two.away_s() == FIRST_REST_S
    two.answered(probed)
    assert two.away_s() is None


def test_the_snapshot_tells_what_became_of_every_batch(two: Workers) -> None:
    two.answered(taken(two, "http://b"))
    two.failed(taken(two, "http://b"))
    two.was_busy(taken(two, "http://a"), for_s=1.0)
    taken(two, "http://b")
    a, b = two.snapshot()
    assert (a.url, a.n_under_way, a.n_answered, a.n_failed) == ("http://a", 1, 1, 1)
    assert (b.url, b.n_under_way, b.n_answered, b.n_failed) == ("http://b", 0, 0, 0)

"""Who may wait, as a table; and what is learned of how long things take."""

import pytest

from app.inference.admission import (
    LONGEST_WAIT_S,
    MOST_PIXELS,
    NOTHING,
    Admission,
    BusyShare,
    Load,
    Pace,
    Size,
    is_full,
    is_too_late,
    retry_after_s,
)

ONE = Size(1, 62_500)
MOST = 64


@pytest.mark.parametrize(
    ("waiting", "wait_s", "asked", "full"),
    [
        (NOTHING, 0.0, ONE, False),
        (NOTHING, 60.0, Size(1, 10 * MOST_PIXELS), False),  # whoever waits alone always may
        (Size(63, 0), 0.0, ONE, False),
        (Size(64, 0), 0.0, ONE, True),
        (Size(63, 0), 0.0, Size(2, 0), True),
        (Size(1, MOST_PIXELS - 62_500), 0.0, ONE, False),
        (Size(1, MOST_PIXELS - 62_499), 0.0, ONE, True),
        (Size(1, 1), LONGEST_WAIT_S, ONE, False),
        (Size(1, 1), LONGEST_WAIT_S + 0.001, ONE, True),
    ],
)
def test_no_more_waits_than_memory_and_patience_bear(waiting: Size, wait_s: float, asked: Size, full: bool) -> None:
    assert is_full(Load(waiting, wait_s, is_overrun=False), asked, MOST) is full


@pytest.mark.parametrize(
    ("is_overrun", "waiting", "wait_s", "too_late"),
    [
        (False, Size(20, 0), 3.0, False),  # a burst is served
        (True, NOTHING, 3.0, False),  # nobody waits: the next one must be there when the networks are free
        (True, Size(1, 0), 0.05, False),
        (True, Size(1, 0), 0.051, True),
    ],
)
def test_when_overrun_nobody_waits_long_beside_their_own_work(
    is_overrun: bool, waiting: Size, wait_s: float, too_late: bool
) -> None:
    assert is_too_late(Load(waiting, wait_s, is_overrun), alone_s=0.1) is too_late


@pytest.mark.parametrize(("wait_s", "seconds"), [(0.0, 1), (0.9, 1), (1.0, 1), (1.2, 2), (4.5, 5)])
def test_callers_are_told_whole_seconds_and_never_none(wait_s: float, seconds: int) -> None:
    assert retry_after_s(wait_s) == seconds


def test_the_pace_of_a_cpu_and_of_a_gpu_are_learned() -> None:
    cpu, gpu = Pace(), Pace()
    for n in (1, 4, 2, 3, 1, 2):
        cpu.learn(n, 0.05 * n)
        gpu.learn(n, 0.02 + 0.001 * n)
    assert (cpu.fixed_s, cpu.per_work_s) == pytest.approx((0.0, 0.05), abs=1e-9)
    assert (gpu.fixed_s, gpu.per_work_s) == pytest.approx((0.02, 0.001))
    assert gpu.seconds(8.0, n_batches=2) == pytest.approx(0.048)


def test_batches_of_one_size_tell_a_pace_too() -> None:
    pace = Pace()
    for _ in range(3):
        pace.learn(0.5, 0.1)
    assert pace.seconds(1.0) == pytest.approx(0.2)


@pytest.mark.parametrize("noisy", [[(1.0, 0.5), (2.0, 0.4)], [(1.0, 0.1), (2.0, 0.5)], [(1.0, 0.0), (1.0, 0.0)]])
def test_no_noise_makes_a_pace_negative(noisy: list[tuple[float, float]]) -> None:
    pace = Pace()
    for work, seconds in noisy:
        pace.learn(work, seconds)
    assert pace.fixed_s >= 0.0 and pace.per_work_s >= 0.0


def test_a_machine_that_gets_faster_is_believed_soon() -> None:
    pace = Pace()
    pace.learn(1.0, 5.0)  # the first batch of all
    for _ in range(40):
        pace.learn(1.0, 0.05)
    assert pace.seconds(1.0) < 0.2


def test_the_busy_share_is_that_of_the_last_seconds() -> None:
    share = BusyShare()
    share.note(0.0, 0.0)
    share.note(1.0, 100.0)
    assert share.read(100.0) == pytest.approx(0.0)
    assert 0.6 < share.read(102.0) < 0.7
    assert share.read(120.0) > 0.99
    share.note(0.5, 120.0)
    assert share.read(140.0) == pytest.approx(0.5, abs=0.01)


def make_admission() -> Admission:
    admission = Admission(most_images=4, batch_images=4)
    for _ in range(10):
        admission.pace.learn(ONE.work, 0.1)
        admission.saw(ONE)
    for _ in range(200):
        admission.saw(ONE)
    return admission


def test_a_burst_is_served_up_to_its_bound_and_then_the_rule_is_strict_until_less_is_asked() -> None:
    admission = make_admission()
    admission.began(1, ONE, is_interactive=True, now_s=100.0)
    for n in range(4):
        assert admission.refusal(ONE.times(n), ONE, 100.0) is None
    assert admission.refusal(ONE.times(4), ONE, 100.0) is not None  # full: more is asked than can be done
    for n in range(1, 100):  # nothing but work for ten seconds
        admission.ended(n, ONE, 0.1, 100.0 + 0.1 * n)
        admission.began(n + 1, ONE, is_interactive=True, now_s=100.0 + 0.1 * n)
    assert admission.refusal(ONE.times(2), ONE, 100.5) is not None
    assert admission.refusal(ONE.times(2), ONE, 109.9) is not None
    assert admission.refusal(NOTHING, ONE, 109.9) is None
    admission.ended(100, ONE, 0.1, 110.0)
    assert admission.refusal(ONE.times(2), ONE, 111.0) is None  # there was a rest, and nobody was sent away meanwhile


def test_the_rule_stays_strict_while_many_are_sent_away() -> None:
    admission = make_admission()
    assert admission.refusal(ONE.times(4), ONE, 0.0) is not None
    for n in range(100):  # the networks rest most of the time, but twice as much was asked as they can do
        assert admission.refusal(ONE.times(4 if n < 50 else 2), ONE, 0.05 * n) is not None
    assert admission.refusal(ONE.times(2), ONE, 10.0) is None


def test_callers_who_wait_for_each_answer_are_never_refused_however_busy_it_is() -> None:
    admission = make_admission()
    for n in range(200):
        admission.began(n, ONE, is_interactive=True, now_s=0.1 * n)
        assert admission.refusal(ONE.times(3), ONE, 0.1 * n + 0.05) is None
        admission.ended(n, ONE, 0.1, 0.1 * n + 0.1)


def test_jobs_do_not_count_as_too_much_to_do() -> None:
    admission = make_admission()
    assert admission.refusal(ONE.times(4), ONE, 0.0) is not None
    for n in range(50):
        admission.began(n, ONE, is_interactive=False, now_s=0.1 * n)
        admission.ended(n, ONE, 0.1, 0.1 * n + 0.1)
    assert admission.refusal(ONE.times(3), ONE, 5.0) is None


def test_what_runs_counts_as_waiting_until_it_should_have_ended() -> None:
    admission = Admission(most_images=100, batch_images=4)
    admission.pace.learn(1.0, 1.0)
    size = Size(1, 900_000)  # one unit of work
    admission.began(1, size.times(17), is_interactive=True, now_s=0.0)
    busy = admission.refusal(size, size, 1.0)
    assert busy is not None and busy.retry_after_s == 17  # 16 of 17 s are left, and one waits
    late = admission.refusal(size, size, 4.2)
    assert late is not None and late.retry_after_s == 14


def test_several_machines_share_what_waits() -> None:
    admission = Admission(most_images=100, batch_images=1, n_at_once=2)
    for n in (1, 2, 1, 2, 1, 2):
        admission.pace.learn(n, n)
    size = Size(1, 900_000)
    admission.began(1, size.times(12), is_interactive=True, now_s=0.0)
    assert admission.refusal(size.times(12), size, 0.0) is None  # the second machine is free: 6 s
    admission.began(2, size.times(12), is_interactive=True, now_s=0.0)
    assert admission.refusal(size.times(12), size, 0.0) is not None  # 12 s until one is, and then 6 s


def test_a_failed_batch_teaches_nothing() -> None:
    admission = make_admission()
    before = admission.pace.seconds(1.0)
    admission.began(1, ONE, is_interactive=True, now_s=0.0)
    admission.ended(1, ONE, None, 30.0)
    assert admission.pace.seconds(1.0) == before


def test_the_usual_size_follows_what_is_sent() -> None:
    admission = Admission(most_images=4, batch_images=4)
    for _ in range(200):
        admission.saw(Size(2, 4_000_000))
    assert admission.usual.n_images == 1
    assert admission.usual.n_pixels == pytest.approx(2_000_000, rel=0.01)

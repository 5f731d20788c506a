"""The rule by which wrong PINs, badges and passwords lock."""

from datetime import timedelta

from app.db.tables import LoginTries
from app.db.types import utc_now
from app.tries import FORGOTTEN_AFTER, LOCKED_FOR, Limit, count, locked_s

FIVE_A_DAY = Limit(5, FORGOTTEN_AFTER)
TWENTY_IN_TEN_MINUTES = Limit(20, timedelta(minutes=10))


def make_tries() -> LoginTries:
    return LoginTries(subject="s", n_failures=0, since=utc_now(), n_locks=0, locked_until=None)


def test_each_lock_is_twice_as_long_as_the_one_before_until_it_is_forgotten() -> None:
    tries, now = make_tries(), utc_now()
    minutes = []
    for _ in range(6):
        assert [count(tries, FIVE_A_DAY, now) for _ in range(5)] == [False] * 4 + [True]
        assert not count(tries, FIVE_A_DAY, now)
        minutes.append(locked_s(tries, now) / 60)
        assert tries.locked_until is not None
        now = tries.locked_until
        assert locked_s(tries, now) == 0
    assert minutes == [5, 10, 20, 40, 60, 60]
    now += timedelta(days=1)
    assert [count(tries, FIVE_A_DAY, now) for _ in range(5)][-1]
    assert tries.locked_until == now + LOCKED_FOR


def test_failures_that_lie_far_apart_do_not_lock() -> None:
    tries, now = make_tries(), utc_now()
    assert not any(count(tries, TWENTY_IN_TEN_MINUTES, now + n * timedelta(minutes=1)) for n in range(100))


def test_the_last_moment_of_a_lock_is_still_a_second() -> None:
    tries, now = make_tries(), utc_now()
    tries.locked_until = now + timedelta(milliseconds=10)
    assert locked_s(tries, now) == 1
    assert locked_s(None, now) == 0

"""A line before the slow hash: who is one too many is told at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from app.errors import problem_for
from app.hashing import HashingBusyError, SlowHasher


def test_the_right_secret_is_told_from_others() -> None:
    hasher = SlowHasher()
    stored = hasher.hash("1234")
    assert hasher.is_right(stored, "1234")
    assert not hasher.is_right(stored, "1235")
    assert not hasher.is_right(None, "1234")


def test_strangers_cannot_make_everybody_wait() -> None:
    hasher, gate = SlowHasher(), Barrier(40)

    def check(_number: int) -> str:
        gate.wait(60)  # all at once, however busy the machine is
        try:
            return hasher.hash("a guess")[:9]
        except HashingBusyError:
            return "too many"

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(check, range(40)))
    assert set(answers) == {"$argon2id", "too many"}
    assert hasher.hash("and then")  # there is room again


def test_too_many_are_an_answer_of_their_own() -> None:
    problem = problem_for(HashingBusyError())
    assert (problem.status_code, problem.code) == (429, "overloaded")
    assert (problem.headers or {})["Retry-After"] == "1"

"""How fast and how often messages are sent, and when an address is left alone."""

from collections.abc import Callable
from dataclasses import dataclass
from random import uniform
from time import monotonic

from app.webhooks.delivery import Outcome


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds.

    `back_off_s`: the waits between attempts, after the last of which a message is dead: 28 attempts in 23 hours. An
    address in trouble is left alone as long, but no longer than `longest_rest_s`, and then tried with one message.
    A claim's `lease_s` is longer than an attempt takes; a message whose sender was killed waits as long. `n_at_once`:
    messages on their way to one address.
    """

    timeout_s: float = 10.0
    back_off_s: tuple[float, ...] = (5.0, 30.0, 120.0, 600.0, 1800.0, *(3600.0,) * 22)
    longest_rest_s: float = 60.0
    jitter: float = 0.2
    poll_s: float = 1.5
    lease_s: float = 20.0
    n_at_once: int = 8
    batch: int = 64

    def wait_s(self, n_attempts: int) -> float | None:
        """Until the next attempt; None after the last. By chance a little more or less, so that messages which failed
        together do not all come back together."""
        if n_attempts > len(self.back_off_s):
            return None
        return self.back_off_s[n_attempts - 1] * uniform(1 - self.jitter, 1 + self.jitter)


class Address:
    """How one address has fared lately, as one sender sees it."""

    def __init__(self, pace: Pace, clock: Callable[[], float] = monotonic) -> None:
        self.has_news = False
        self._pace = pace
        self._clock = clock
        self._n_failures = 0
        self._rests_until_s = 0.0

    @property
    def n_wanted(self) -> int:
        """How many messages to try now: none while it rests, and after that one."""
        if self._clock() < self._rests_until_s:
            return 0
        return 1 if self._n_failures else self._pace.batch

    def note(self, outcome: Outcome) -> None:
        """A refusal of this one message alone is no reason to keep the others waiting."""
        if not outcome.is_address_in_trouble:
            self._n_failures, self._rests_until_s = 0, 0.0
            return
        self._n_failures += 1
        wait_s = self._pace.wait_s(self._n_failures) or self._pace.longest_rest_s
        self._rests_until_s = self._clock() + min(wait_s, self._pace.longest_rest_s)

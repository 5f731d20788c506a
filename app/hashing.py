"""Hashes of what people remember, PINs and passwords: made to be slow."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# What OWASP's Password Storage Cheat Sheet recommends for argon2id.
_MEMORY_KIB: Final = 19 * 1024
_PASSES: Final = 2
# All threads of requests at once would take the processors and 760 MiB from those in front of cameras.
_AT_ONCE: Final = 2
# Who waits holds one of the forty threads that all requests share: strangers who sign in must not take them all.
_MOST: Final = _AT_ONCE + 8


class HashingBusyError(Exception):
    """So many secrets are being checked that this one would wait too long."""


class SlowHasher:
    """Makes and checks hashes of secrets, a few at a time; one per process, shared between threads."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1)
        self._turns = BoundedSemaphore(_AT_ONCE)
        self._places = BoundedSemaphore(_MOST)

    def hash(self, secret: str) -> str:
        """What is stored of a secret.

        Raises:
            HashingBusyError: too many wait already.
        """
        with self._turn():
            return self._hasher.hash(secret)

    def is_right(self, stored: str | None, secret: str) -> bool:
        """Whether this is the secret; where none is stored it takes as long to say no."""
        if stored is None:
            self.hash(secret)
            return False
        try:
            with self._turn():
                return self._hasher.verify(stored, secret)
        except (VerificationError, InvalidHashError):
            return False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise HashingBusyError
        try:
            with self._turns:
                yield
        finally:
            self._places.release()

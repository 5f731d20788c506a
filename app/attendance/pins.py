"""Hashes of PINs, made to be slow."""

from threading import BoundedSemaphore
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# What OWASP's Password Storage Cheat Sheet recommends for argon2id.
_MEMORY_KIB: Final = 19 * 1024
_PASSES: Final = 2
# All threads of requests at once would take the processors and 760 MiB from those in front of cameras.
_AT_ONCE: Final = 2


class PinHasher:
    """Makes and checks hashes of PINs, a few at a time; one per process, shared between threads."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1)
        self._turns = BoundedSemaphore(_AT_ONCE)

    def hash(self, pin: str) -> str:
        with self._turns:
            return self._hasher.hash(pin)

    def is_right(self, pin_hash: str | None, pin: str) -> bool:
        """Whether this is the PIN; of somebody who has none it takes as long to say no."""
        if pin_hash is None:
            self.hash(pin)
            return False
        try:
            with self._turns:
                return self._hasher.verify(pin_hash, pin)
        except (VerificationError, InvalidHashError):
            return False

"""Keeps what a process holds in memory near to what it needs."""

import ctypes
import sys
from typing import Final

_M_ARENA_MAX: Final = -8  # glibc's malloc.h
_HEAPS: Final = 2


def share_heaps() -> None:
    """Let all threads allocate from two heaps; to be called before there are threads.

    glibc gives each thread a heap of its own, which keeps what the thread once needed; some forty threads look at
    pictures of all sizes here. Other C libraries have no such call, and need none.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, _HEAPS)

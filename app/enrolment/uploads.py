"""Uploaded clips on their way from a request to the job that reads them: files that must not stay behind.

A clip is named after its enrolment. While it is being written it is locked; a process that dies lets go of the lock, so
the sweep can tell a clip that is on its way from one that nobody will ever read.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 1 << 20


class Uploads:
    """The folder of clips that wait for their job; only the service's own user may look into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, enrolment_id: str) -> Path:
        return self._folder / enrolment_id

    @contextmanager
    def saved(self, enrolment_id: str, source: BinaryIO) -> Iterator[Path]:
        """The clip on disk, which no sweep touches as long as the block runs; nothing when it cannot be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path(enrolment_id)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                shutil.copyfileobj(source, file, _CHUNK_BYTES)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            yield path

    def remove(self, enrolment_id: str) -> None:
        self.path(enrolment_id).unlink(missing_ok=True)

    def sweep(self, still_needed: Callable[[Collection[str]], Collection[str]]) -> int:
        """Delete clips that nobody is writing and no job needs; returns how many.

        `still_needed` says which of these enrolments wait for their job. It is asked after the locks were tried: a clip
        whose request was committed in between counts as needed.
        """
        free = [path for path in self._files() if _is_free(path)]
        needed = set(still_needed([path.name for path in free])) if free else set()
        left_over = [path for path in free if path.name not in needed]
        for path in left_over:
            path.unlink(missing_ok=True)
        return len(left_over)

    def _files(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []


def _is_free(path: Path) -> bool:
    # Opened for writing, because network file systems lock nothing else.
    with suppress(BlockingIOError, FileNotFoundError), path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False

"""What was sent to another system, in a file beside it: one line each, only ever added to."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class InUseError(ValueError):
    """Somebody else is writing the same file."""


class SentLog:
    """Ids, with what was sent under each; read `contents`, and `add` to it."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.contents = _read(file)

    def add(self, sent_id: str, content: str) -> None:
        """On the disk before this returns."""
        self.contents[sent_id] = content
        self._file.write(f"{sent_id}\t{content}\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def sent_log(path: Path) -> Iterator[SentLog]:
    """The file, which nobody else writes until the block ends.

    Raises:
        InUseError: somebody else has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, mode=0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUseError(f"{path} is in use: another export is running") from None
        yield SentLog(file)


def _read(file: IO[str]) -> dict[str, str]:
    """Whole lines; the file is cut where a crash has left half of one, and is written from there on."""
    whole = file.read()
    whole = whole[: whole.rfind("\n") + 1]
    file.seek(len(whole.encode()))
    file.truncate()
    return dict(line.split("\t", 1) for line in whole.splitlines() if "\t" in line)

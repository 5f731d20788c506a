"""Captures on disk until they are delivered: encrypted, in order, bounded, and whole or not there at all.

A capture is written aside, synced and renamed, so that `kill -9` or a power cut leaves it complete or not at all. Files
are sealed with the camera's key: a stolen device shows no face without it. When the spool is full the oldest stay and
new ones are refused: a morning's punches are worth more than those of an hour in which somebody could have noticed.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event
from time import monotonic
from typing import BinaryIO, Final

from app.camera.captures import Capture, CaptureBrokenError
from app.sealing import SealBrokenError, Sealer

_NAME: Final = re.compile(r"(\d{12})-[0-9a-f-]{36}\.capture")
_LOCK: Final = "lock"
_REFUSED: Final = "refused"
# Enough to find out what is wrong; they are pictures of people, and nobody's to keep.
_MOST_REFUSED: Final = 100
# A signal sets an event and can wake nobody: whoever waits looks up so often.
_LOOK_UP_S: Final = 0.25


class SpoolError(ValueError):
    """The folder cannot be used; the message says why, to the person who named it."""


class SpoolFullError(Exception):
    """There is no room for another capture: those that wait already are kept."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A capture in the spool, and the file it lies in."""

    path: Path
    capture: Capture


class Spool:
    """A folder of captures that belongs to one client at a time. Safe to share between threads."""

    def __init__(self, folder: Path, keys: Sequence[str], max_bytes: int) -> None:
        """Take over a folder, which is made where there is none.

        Args:
            folder: of this camera alone.
            keys: of the camera, the present one first; earlier ones only open what waits from their time.
            max_bytes: of all files that wait.

        Raises:
            SpoolError: another client uses the folder, or it cannot be written.
        """
        self.folder = folder
        self._sealer = Sealer(keys)
        self._max_bytes = max_bytes
        self._lock_file = _locked(folder)
        self._changed = Condition()
        self._n_bytes_of = {path: path.stat().st_size for path in _captures(folder)}
        self._next = 1 + max((_number(path) for path in self._n_bytes_of), default=0)
        self._unreadable: set[Path] = set()

    def close(self) -> None:
        """Give the folder back."""
        self._lock_file.close()

    @property
    def n_waiting(self) -> int:
        """Captures that can be delivered."""
        with self._changed:
            return len(self._n_bytes_of) - len(self._unreadable)

    @property
    def n_unreadable(self) -> int:
        """Captures found so far that were sealed with another key, or are damaged; they stay where they are."""
        with self._changed:
            return len(self._unreadable)

    def put(self, capture: Capture) -> Path:
        """Keep a capture, behind all others; it is on the disk on return.

        Raises:
            SpoolFullError: there is no room, in the spool or on the disk.
        """
        sealed = self._sealer.seal(capture.to_bytes())
        with self._changed:
            if sum(self._n_bytes_of.values()) + len(sealed) > self._max_bytes:
                raise SpoolFullError
            path = self.folder / f"{self._next:012d}-{capture.key}.capture"
            self._next += 1
            try:
                _write_whole(path, sealed)
            except OSError as error:  # above all: the disk is full
                raise SpoolFullError from error
            self._n_bytes_of[path] = len(sealed)
            self._changed.notify_all()
        return path

    def first(self, timeout_s: float = 0.0) -> Waiting | None:
        """The oldest capture that can be opened; waits for one, so long at most."""
        with self._changed:
            if not self._readable():
                self._changed.wait(timeout_s)
            for path in self._readable():
                try:
                    return Waiting(path, Capture.from_bytes(self._sealer.open(path.read_bytes())))
                except (SealBrokenError, CaptureBrokenError, OSError):
                    self._unreadable.add(path)
            return None

    def done(self, waiting: Waiting) -> None:
        """Delivered: forget it."""
        with self._changed:
            waiting.path.unlink(missing_ok=True)
            self._forget(waiting)

    def refuse(self, waiting: Waiting) -> None:
        """It will never be accepted: move it aside, still sealed, where the oldest of too many are deleted."""
        aside = self.folder / _REFUSED
        aside.mkdir(exist_ok=True)
        with self._changed:
            with suppress(FileNotFoundError):
                waiting.path.rename(aside / waiting.path.name)
            self._forget(waiting)
        for path in _captures(aside)[:-_MOST_REFUSED]:
            path.unlink(missing_ok=True)

    def wait_until_empty(self, stop: Event, timeout_s: float) -> bool:
        """Whether everything that can be delivered was, before the time was up or `stop` set."""
        until_s = monotonic() + timeout_s
        with self._changed:
            while self._readable() and not stop.is_set() and (left_s := until_s - monotonic()) > 0:
                self._changed.wait(min(left_s, _LOOK_UP_S))
            return not self._readable()

    def wake(self) -> None:
        """End a wait for the first capture."""
        with self._changed:
            self._changed.notify_all()

    def _forget(self, waiting: Waiting) -> None:
        self._n_bytes_of.pop(waiting.path, None)
        self._changed.notify_all()

    def _readable(self) -> list[Path]:
        """Oldest first: they were put in by their number."""
        return [path for path in self._n_bytes_of if path not in self._unreadable]


def _captures(folder: Path) -> list[Path]:
    """Whole captures, oldest first; what else lies there is none of ours, or was not finished."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _locked(folder: Path) -> BinaryIO:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("ab")
    except OSError as error:
        raise SpoolError(f"cannot write to the spool {folder} ({error.strerror}): choose another --spool") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise SpoolError(
            f"another client uses the spool {folder}: give each camera its own --spool, or end that client"
        ) from None
    for left in _unfinished(folder):
        left.unlink(missing_ok=True)
    return lock


def _unfinished(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix == ".part")


def _write_whole(path: Path, content: bytes) -> None:
    aside = path.with_suffix(".part")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The name too must survive a power cut, not only the content."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

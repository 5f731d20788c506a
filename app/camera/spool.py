"""Captures on disk until they are delivered: encrypted, in order, bounded, and whole or not there at all.

A capture is written aside, synced and renamed, so that `kill -9` or a power cut leaves it complete or not at all. Files
are sealed with the camera's key: a stolen device shows no face without it. When the spool is full the oldest stay and
new ones are refused: a morning's punches are worth more than those of an hour in which somebody could have noticed.
While the disk cannot be written, captures are held in memory, still sealed, and delivered from there.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event
from typing import BinaryIO, Final

from app.camera.captures import Capture, CaptureBrokenError
from app.sealing import SealBrokenError, Sealer

_NAME: Final = re.compile(r"(\d{12})-[0-9a-f-]{36}\.capture")
_LOCK: Final = "lock"
_REFUSED: Final = "refused"
# Enough to find out what is wrong; they are pictures of people, and nobody's to keep.
_MOST_REFUSED: Final = 100
_REFUSED_FOR_S: Final = 31 * 86_400.0
# Of captures that the disk does not take: a few dozen visitors, which the smallest computer can hold.
_MOST_BYTES_IN_MEMORY: Final = 20_000_000
# A signal sets an event and can wake nobody: whoever waits looks up so often.
_LOOK_UP_S: Final = 0.25


class SpoolError(ValueError):
    """The folder cannot be used; the message says why, to the person who named it."""


class SpoolFullError(Exception):
    """There is no room for another capture: those that wait already are kept."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A capture in the spool, and the file it lies in; `was_behind`: it was set behind the others before."""

    path: Path
    capture: Capture
    was_behind: bool = False


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
        self._next = 1 + max(map(_number, [*self._n_bytes_of, *_captures(folder / _REFUSED)]), default=0)
        self._unreadable: set[Path] = set()
        self._in_memory: dict[Path, bytes] = {}
        self._not_before_s: dict[Path, float] = {}
        self._settled: dict[Path, bool] = {}
        self._trouble: OSError | None = None
        self._tidy()

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

    @property
    def n_in_memory(self) -> int:
        """Captures among those that wait which the disk did not take: they end with the process."""
        with self._changed:
            return len(self._in_memory)

    @property
    def trouble(self) -> str | None:
        """What the disk said when it was last used, if it failed."""
        error = self._trouble
        return None if error is None else error.strerror or type(error).__name__

    def put(self, capture: Capture) -> Path:
        """Keep a capture, behind all others; on return it is on the disk, or in memory while the disk fails.

        Raises:
            SpoolFullError: there is no room, in the spool or for what the disk does not take; the message says which.
        """
        sealed = self._sealer.seal(capture.to_bytes())
        with self._changed:
            if sum(self._n_bytes_of[path] for path in self._readable()) + len(sealed) > self._max_bytes:
                raise SpoolFullError("spool full")
            path = self.folder / f"{self._next:012d}-{capture.key}.capture"
            self._next += 1
            self._in_memory[path] = sealed
            self._write_down()
            if sum(map(len, self._in_memory.values())) > _MOST_BYTES_IN_MEMORY:
                del self._in_memory[path]
                raise SpoolFullError(f"spool cannot be written ({self.trouble}) and memory full")
            self._n_bytes_of[path] = len(sealed)
            self._changed.notify_all()
        return path

    def first(self, timeout_s: float = 0.0) -> Waiting | None:
        """The oldest capture that can be opened, or that was set behind; waits for one, so long at most."""
        with self._changed:
            if (found := self._oldest()) is None:
                self._changed.wait(timeout_s)
                found = self._oldest()
            return found

    def done(self, waiting: Waiting) -> None:
        """Delivered: forget it."""
        self._settle(waiting, is_refused=False)

    def refuse(self, waiting: Waiting) -> None:
        """It will never be accepted: move it aside, still sealed, for a month, and only the last of too many."""
        self._settle(waiting, is_refused=True)

    def set_behind(self, waiting: Waiting, for_s: float) -> None:
        """Deliver all others first, and this one no sooner than in `for_s` seconds."""
        with self._changed:
            self._not_before_s[waiting.path] = time.monotonic() + for_s
            self._changed.notify_all()

    def wait_until_empty(self, stop: Event, timeout_s: float) -> bool:
        """Whether everything that can be delivered was, before the time was up or `stop` set."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while self._readable() and not stop.is_set() and (left_s := until_s - time.monotonic()) > 0:
                self._changed.wait(min(left_s, _LOOK_UP_S))
            return not self._readable()

    def wake(self) -> None:
        """End a wait for the first capture."""
        with self._changed:
            self._changed.notify_all()

    def _write_down(self) -> None:
        """Put on the disk what is in memory, oldest first."""
        try:
            for path, sealed in list(self._in_memory.items()):
                _write_whole(path, sealed)
                del self._in_memory[path]
            self._trouble = None
        except OSError as error:
            self._trouble = error

    def _oldest(self) -> Waiting | None:
        now_s, behind = time.monotonic(), self._not_before_s
        fresh = [path for path in self._readable() if path not in behind]
        again = [path for path in self._readable() if behind.get(path, now_s + 1.0) <= now_s]
        return next((found for path in [*fresh, *again] if (found := self._opened(path)) is not None), None)

    def _opened(self, path: Path) -> Waiting | None:
        """None for what cannot be opened; a disk that fails to read it may do so later."""
        try:
            sealed = self._in_memory.get(path) or path.read_bytes()
            return Waiting(path, Capture.from_bytes(self._sealer.open(sealed)), path in self._not_before_s)
        except (SealBrokenError, CaptureBrokenError):
            self._unreadable.add(path)
        except FileNotFoundError:
            self._forget(path)
        except OSError as error:
            self._trouble = error
        return None

    def _settle(self, waiting: Waiting, *, is_refused: bool) -> None:
        with self._changed:
            self._settled[waiting.path] = is_refused
            self._forget(waiting.path)
            self._tidy()
            self._changed.notify_all()

    def _forget(self, path: Path) -> None:
        for known in (self._n_bytes_of, self._in_memory, self._not_before_s):
            known.pop(path, None)

    def _tidy(self) -> None:
        """Clear away what is settled; what the disk does not let go of is tried again with the next one."""
        try:
            for path, is_refused in list(self._settled.items()):
                if is_refused:
                    _move_aside(path)
                else:
                    path.unlink(missing_ok=True)
                del self._settled[path]
            _delete_old(_captures(self.folder / _REFUSED))
            self._trouble = self._trouble if self._in_memory else None
        except OSError as error:
            self._trouble = error

    def _readable(self) -> list[Path]:
        """Oldest first: they were put in by their number."""
        return [path for path in self._n_bytes_of if path not in self._unreadable]


def _captures(folder: Path) -> list[Path]:
    """Whole captures, oldest first; what else lies there is none of ours, or was not finished."""
    return sorted(path for path in folder.glob("*.capture") if _NAME.fullmatch(path.name))


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _move_aside(path: Path) -> None:
    aside = path.parent / _REFUSED
    aside.mkdir(exist_ok=True)
    with suppress(FileNotFoundError):  # it never was on the disk
        os.utime(path)  # its month there begins now
        path.rename(aside / path.name)


def _delete_old(refused: Sequence[Path]) -> None:
    oldest_s = time.time() - _REFUSED_FOR_S
    for number, path in enumerate(reversed(refused)):
        if number >= _MOST_REFUSED or path.stat().st_mtime < oldest_s:
            path.unlink(missing_ok=True)


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
    """The whole file, or OSError and, where the disk allows it, nothing of it."""
    aside = path.with_suffix(".part")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        _sync_folder(path.parent)
    except OSError:
        for left in (aside, path):
            with suppress(OSError):
                left.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    """The name too must survive a power cut, not only the content."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

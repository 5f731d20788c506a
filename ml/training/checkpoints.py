"""A training's state in one file, sealed: weights that learned from faces are personal data as faces are."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


class FileCheckpoints:
    """Keeps the last state in one file; the one before stays until the new one is whole and on the disk."""

    def __init__(self, path: Path, seal: Callable[[bytes], bytes], unseal: Callable[[bytes], bytes]) -> None:
        """Choose the file; its folder is made when something is saved.

        Args:
            path: of the file.
            seal: makes what may lie on a disk of a state.
            unseal: the way back; raises where the file is not what `seal` made.
        """
        self._path, self._seal, self._unseal = path, seal, unseal

    def load(self) -> bytes | None:
        """What was saved last; None where there is nothing.

        Raises:
            OSError: the file is there and cannot be read.
            Exception: what `unseal` raises, as it is.
        """
        try:
            sealed = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return self._unseal(sealed)

    def save(self, state: bytes) -> None:
        """Keep a state in place of the one before.

        Raises:
            OSError: the disk is full or the folder cannot be written; the state before is still there.
        """
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = self._path.with_name(f"{self._path.name}-{uuid4().hex}.part")
        try:
            _write_through(aside, self._seal(state))
            aside.replace(self._path)
            _sync_folder(folder)
        finally:
            aside.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the state, and the halves that a kill while saving left behind."""
        for path in (self._path, *self._path.parent.glob(f"{self._path.name}-*.part")):
            with suppress(FileNotFoundError):
                path.unlink()


def _write_through(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read, and wait until it is on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk only when the folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

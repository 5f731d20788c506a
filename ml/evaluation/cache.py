"""Arrays on disk by key, so that a photo is looked at once. What lies here is biometric data: keep it as such."""

from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

_PRIVATE = 0o700


class ArrayCache:
    """One `.npy` file per key; written aside and moved into place, so that a reader never sees half of one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> NDArray[Any] | None:
        """The array of that key; None where there is none, or its file is damaged."""
        try:
            array = np.load(self._path(key), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return array if isinstance(array, np.ndarray) else None

    def put(self, key: str, array: NDArray[Any]) -> None:
        """Keep an array.

        Raises:
            OSError: the folder cannot be written.
        """
        path = self._path(key)
        self._folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        path.parent.mkdir(mode=_PRIVATE, exist_ok=True)
        aside = path.with_name(f"{path.stem}-{uuid4().hex}.part")
        try:
            with aside.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        name = sha256(key.encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.npy"

"""Files of weights: find them, fetch them, and never trust one whose sha256 is wrong."""

import hashlib
import http.client
import importlib.util
import os
import urllib.request
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ml.backbones.card import ModelCard, WeightsFile
from ml.errors import ModelError

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes done and the bytes expected (None: unknown)."""

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0  # for one silent read, not for the whole file


@dataclass(frozen=True, slots=True)
class PulledWeights:
    """What arrived. `is_checked` is False where upstream publishes no sha256 to compare with."""

    path: Path
    n_bytes: int
    sha256: str
    is_checked: bool


def weights_path(card: ModelCard, models_dir: Path | None) -> Path:
    """Say where a card's weights are, or would be.

    Args:
        card: a network with a weights file.
        models_dir: the deployment's folder of fetched files; None if it has none.

    Returns:
        The file inside its installed package if it is there, else the place in `models_dir`; it need not exist.

    Raises:
        ModelError: the card has no file of its own, or there is no folder to look in.
    """
    weights = _weights_of(card)
    packaged = _path_in_package(weights)
    if packaged is not None:
        return packaged
    if models_dir is None:
        raise ModelError(f"the weights of {card.name} are not installed: {_how_to_get(weights)}")
    return models_dir / weights.filename


def require_weights(card: ModelCard, models_dir: Path | None) -> Path:
    """Find a card's weights and check them.

    A file without a published sha256 is compared with the one recorded when it was pulled, so that it cannot change
    unnoticed later.

    Args:
        card: a network with a weights file.
        models_dir: the deployment's folder of fetched files; None if it has none.

    Returns:
        Path of an existing file, its sha256 checked where one is known.

    Raises:
        ModelError: the file is absent (the message says which command brings it) or not the expected one.
    """
    weights = _weights_of(card)
    path = weights_path(card, models_dir)
    if not path.is_file():
        raise ModelError(f"the weights of {card.name} are not at {path}: {_how_to_get(weights)}")
    expected = weights.sha256 or _recorded_sha256(path)
    if expected is not None:
        verify_sha256(path, expected)
    return path


def verify_sha256(path: Path, expected: str) -> None:
    """Check a file's sha256.

    Args:
        path: an existing file.
        expected: 64 hexadecimal digits.

    Raises:
        ModelError: the file is another one; it must not be loaded.
    """
    found = sha256_of(path)
    if found != expected.lower():
        raise ModelError(f"{path} is damaged or another file (sha256 {found}, expected {expected}): replace it")


def sha256_of(path: Path) -> str:
    """Compute a file's sha256 as 64 lower-case hexadecimal digits.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


def pull_weights(
    card: ModelCard, models_dir: Path, *, from_file: Path | None = None, on_progress: OnProgress | None = None
) -> PulledWeights:
    """Bring a card's weights into `models_dir`, by download or from a file the operator carried here.

    The file appears under its name only once it is complete and checked; a failure of any kind leaves nothing behind
    and an earlier copy untouched.

    Args:
        card: a network with a weights file.
        models_dir: where to put it; made if absent.
        from_file: copy this file instead of downloading.
        on_progress: told about every chunk.

    Returns:
        Where the file is now, its size and its sha256.

    Raises:
        ModelError: the file cannot be had, or is not the expected one.
    """
    weights = _weights_of(card)
    if from_file is None and weights.url is None:
        raise ModelError(f"the weights of {card.name} are not for download: {_how_to_get(weights)}")
    target = models_dir / weights.filename
    with _scratch_file(target) as part:
        with closing(_chunks(weights, from_file)) as chunks:
            n_bytes, sha256 = _write(chunks, part, on_progress)
        _check(weights, n_bytes, sha256)
        part.replace(target)
    if weights.sha256 is None:
        _record_path(target).write_text(f"{sha256}  {target.name}\n")
    return PulledWeights(target, n_bytes, sha256, is_checked=weights.sha256 is not None)


def _weights_of(card: ModelCard) -> WeightsFile:
    if card.weights is None:
        raise ModelError(f"{card.name} has no weights file of its own: it comes with an installed package")
    return card.weights


def _path_in_package(weights: WeightsFile) -> Path | None:
    """Look without importing: `face_recognition_models` fails to import beside a setuptools without pkg_resources."""
    if weights.package_file is None:
        return None
    package, _, inside = weights.package_file.partition("/")
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    paths = (Path(folder) / inside for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def _how_to_get(weights: WeightsFile) -> str:
    if weights.package_file is not None:
        package = weights.package_file.partition("/")[0].replace("_", "-")
        return f"run `pip install {package}`, or `rollcall models pull {weights.name} --from-file PATH`"
    pull = f"rollcall models pull {weights.name}"
    return f"run `{pull}`, or on a machine without internet `{pull} --from-file PATH`"


@contextmanager
def _scratch_file(target: Path) -> Iterator[Path]:
    """Give a name beside the target, so that the last step is an atomic rename; afterwards it is always gone."""
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"cannot write {target}: {error.strerror or error}") from error


_Chunk = tuple[bytes, int | None]
"""Some bytes, and how many are expected in all (None: unknown)."""


def _chunks(weights: WeightsFile, from_file: Path | None) -> Generator[_Chunk, None, None]:
    """Read the file or the download bit by bit; what goes wrong here is the source's fault, not the disk's."""
    where = str(from_file or weights.url)
    try:
        with _open_source(where, from_file) as (source, n_announced):
            while chunk := source.read(_CHUNK_BYTES):
                yield chunk, weights.n_bytes or n_announced
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"cannot get {where} ({error}): {_how_to_get(weights)}") from error


@contextmanager
def _open_source(where: str, from_file: Path | None) -> Iterator[tuple[BinaryIO, int | None]]:
    if from_file is not None:
        with from_file.open("rb") as file:
            yield file, from_file.stat().st_size
    else:
        with urllib.request.urlopen(where, timeout=_TIMEOUT_S) as response:
            length = response.headers.get("Content-Length")
            yield response, int(length) if length else None


def _write(chunks: Iterable[_Chunk], part: Path, on_progress: OnProgress | None) -> tuple[int, str]:
    """Stream to disk; stops at the first chunk too many, so that a wrong server cannot fill the disk."""
    digest, n_done, n_expected = hashlib.sha256(), 0, None
    with part.open("xb") as file:
        for chunk, n_expected in chunks:
            file.write(chunk)
            digest.update(chunk)
            n_done += len(chunk)
            if on_progress is not None:
                on_progress(n_done, n_expected)
            if n_expected is not None and n_done > n_expected:
                break
        file.flush()
        os.fsync(file.fileno())
    if not n_done or (n_expected is not None and n_done != n_expected):
        wanted = "some" if n_expected is None else n_expected
        raise ModelError(f"{n_done} bytes came instead of {wanted}: another file, or the connection broke; try again")
    return n_done, digest.hexdigest()


def _check(weights: WeightsFile, n_bytes: int, sha256: str) -> None:
    if weights.sha256 is not None and sha256 != weights.sha256:
        raise ModelError(
            f"these {n_bytes} bytes are not {weights.filename} (sha256 {sha256}, expected {weights.sha256}): "
            "nothing was kept; get the file again from its origin"
        )


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _recorded_sha256(path: Path) -> str | None:
    record = _record_path(path)
    words = record.read_text().split() if record.is_file() else []
    return words[0] if words else None

"""Copies the SQLite database of a running service, and says how it is done where the database is PostgreSQL."""

import os
import shlex
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Engine

# Four megabytes: short enough for a bar that moves, long enough to cost nothing.
_PAGES_PER_STEP = 1024
# What PostgreSQL's URLs may carry in their query, besides the password that has a place of its own.
_SECRETS = {"password", "sslpassword"}

OnProgress = Callable[[int, int], None]
"""Told how many pages of how many are copied."""


class BackupError(Exception):
    """Why there is no backup; the message is for the person at the command line."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished copy: one file that needs no others, as the database was when the copying began."""

    path: Path
    n_bytes: int
    revision: str


def back_up(engine: Engine, to: Path, on_progress: OnProgress) -> Backup:
    """Copy the SQLite database while others read and write it; the copy is checked before it gets its name.

    Raises:
        BackupError: `to` exists, its folder does not, or the database or the copy is unsound.
    """
    if to.exists():
        raise BackupError(f"{to} exists already, and a backup overwrites nothing: choose another name")
    if not to.parent.is_dir():
        raise BackupError(f"there is no folder {to.parent}")
    try:
        with _part_of(to) as part:
            revision = _copy(engine, part, on_progress)
            _check(part, revision)
            _publish(part, to)
    except sqlite3.Error as error:
        raise BackupError(f"no backup was made: {error}") from error
    return Backup(to, to.stat().st_size, revision)


def pg_dump_command(url: URL, to: Path) -> str:
    """What does the same for PostgreSQL, without the password: others could read it in the list of processes."""
    query = {name: value for name, value in url.query.items() if name not in _SECRETS}
    plain = URL.create(
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database, query=query
    )
    return shlex.join(["pg_dump", "--format=custom", f"--file={to}", plain.render_as_string()])


@contextmanager
def _part_of(to: Path) -> Iterator[Path]:
    """A file beside `to`, its owner's only, that is gone after the block unless it was given its name."""
    descriptor, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.", suffix=".part")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _copy(engine: Engine, part: Path, on_progress: OnProgress) -> str:
    """Returns the revision of what was copied."""
    with closing(engine.raw_connection()) as pooled, closing(sqlite3.connect(part)) as target:
        source = pooled.driver_connection
        assert isinstance(source, sqlite3.Connection)  # for mypy: the engine's type does not say which driver it has
        target.execute("PRAGMA journal_mode=OFF")  # a copy that breaks off is thrown away
        # One read transaction around all steps: without it every commit of the service would start the copy anew.
        source.execute("BEGIN")
        revision = _revision(source)
        source.backup(target, pages=_PAGES_PER_STEP, progress=lambda _, left, total: on_progress(total - left, total))
        source.rollback()
    return revision


def _check(part: Path, revision: str) -> None:
    with closing(sqlite3.connect(part)) as copy:
        # The service's mode, which was copied with the rest, would want two more files beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        if copy.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise BackupError("no backup was made: the copy is damaged, and so may be the database or the disk")
        if _revision(copy) != revision:
            raise BackupError("no backup was made: the copy is of another schema than the database")


def _revision(connection: sqlite3.Connection) -> str:
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        found = None
    if found is None:
        raise BackupError("no backup was made: this is no database of Rollcall's")
    return str(found[0])


def _publish(part: Path, to: Path) -> None:
    """From here on the copy is there, whole, whatever happens to the machine."""
    _sync(part)
    part.rename(to)
    _sync(to.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Opens the database so that it behaves the same on SQLite and PostgreSQL."""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, sessionmaker

from app.settings import Settings

# Execution option of connections that are going to write; see `_begin`.
WRITES = "rollcall_writes"
# How long a SQLite writer waits for its turn before the request fails. Writes take milliseconds.
BUSY_TIMEOUT_S = 30.0
# How long a request waits for a free connection before it fails.
POOL_TIMEOUT_S = 10.0
# How long one waits for the other writers of this process; each takes some ten milliseconds, unless all of them wait
# for another replica.
TURN_TIMEOUT_S = 30.0
# What every PostgreSQL session is given. A replica that was stopped in the middle of a transaction, or whose machine
# lost its power, must not hold a lock for ever, and nobody waits for a lock longer than SQLite's writers do.
_SESSION = {
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "15s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# The same seen from our side: a server that is gone without a word is noticed within a minute.
_CLIENT = {
    "application_name": "rollcall",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_SCRUB_TIMEOUT_MS = 100
# How many may wait for their turn to change the gallery: each keeps one of the forty threads that requests have.
_MOST_WAITING = 16

_WRONG_URL = "ROLLCALL_DATABASE_URL must be postgresql://… or sqlite:///<file>"


class TooManyWritersError(Exception):
    """More want to change the gallery than can wait for their turn."""


class Database:
    """Hands out sessions. `read` never commits; `write` commits when its block ends well, else rolls back."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._readers = sessionmaker(engine, expire_on_commit=False)
        self._snapshots = sessionmaker(_unchanging(engine), expire_on_commit=False)
        self._writers = sessionmaker(writing(engine), expire_on_commit=False)
        self._is_scrubbed, self._scrubbing = True, Lock()
        self._turn = Lock()
        self._line = BoundedSemaphore(_MOST_WAITING)

    @contextmanager
    def read(self) -> Iterator[Session]:
        with self._readers() as session:
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """As `read`, where all statements see the database as the first one does."""
        with self._snapshots() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._writers.begin() as session:
            yield session

    def tell_after_commit(self, hook: Callable[[Session], None]) -> None:
        """`hook` is called after every commit of this process, on the thread that wrote: it must be quick."""
        event.listen(self._writers, "after_commit", hook)

    @contextmanager
    def write_in_turn(self) -> Iterator[Session]:
        """As `write`, for what takes the gallery's lock: one at a time in this process.

        Only one at a time could go on anyway. Waiting here, and not at the lock, keeps the others' connections free:
        hundreds of enrolments at once leave them to whoever wants to be identified.

        Raises:
            TooManyWritersError: the line is too long, or does not move.
        """
        if not self._line.acquire(blocking=False):
            raise TooManyWritersError
        try:
            if not self._turn.acquire(timeout=TURN_TIMEOUT_S):
                raise TooManyWritersError
            try:
                with self.write() as session:
                    yield session
            finally:
                self._turn.release()
        finally:
            self._line.release()

    @contextmanager
    def alone(self, purpose: str) -> Iterator[bool]:
        """Whether no other replica does this now; nobody else will until the block ends, or this process does.

        On SQLite there is no other replica.
        """
        if self.engine.dialect.name == "sqlite":
            yield True
            return
        # Outside any transaction: the block may take long, and must keep nothing from being vacuumed meanwhile.
        with self.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            number = zlib.crc32(purpose.encode())
            is_ours = bool(connection.scalar(select(func.pg_try_advisory_lock(number))))
            try:
                yield is_ours
            finally:
                if is_ours:
                    connection.execute(select(func.pg_advisory_unlock(number)))

    def scrub(self) -> None:
        """Overwrites what an erasure left in SQLite's write-ahead log; PostgreSQL does it by (auto)vacuum.

        While somebody reads, such as a backup, that cannot be: then it is left to `scrub_leftovers`.
        """
        if self.engine.dialect.name == "sqlite":
            with self._scrubbing:
                self._is_scrubbed = self._truncate_log()

    def scrub_leftovers(self) -> None:
        """To be called now and then."""
        with self._scrubbing:
            self._is_scrubbed = self._is_scrubbed or self._truncate_log()

    def _truncate_log(self) -> bool:
        """Whether nobody was reading it."""
        with raw_cursor(self.engine) as cursor:
            cursor.execute(f"PRAGMA busy_timeout={_SCRUB_TIMEOUT_MS}")  # whoever wants to write waits as long
            try:
                is_busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute(f"PRAGMA busy_timeout={1000 * BUSY_TIMEOUT_S:.0f}")
        return not is_busy

    def dispose(self) -> None:
        self.engine.dispose()


def database_url(settings: Settings) -> URL:
    """Where the data is; a plain `postgresql://` gets the driver that is installed."""
    if settings.database_url is None:
        return URL.create("sqlite", database=str(settings.data_dir / "rollcall.sqlite3"))
    try:
        url = make_url(settings.database_url.get_secret_value())
    except ArgumentError:
        raise ValueError(_WRONG_URL) from None
    if url.get_backend_name() in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}:
        return url
    raise ValueError(_WRONG_URL)


def open_database(settings: Settings) -> Database:
    """Prepares the connection pool; the first connection is made when it is needed."""
    if settings.database_url is None:
        # Owner only: the file holds biometric data.
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Database(make_engine(database_url(settings), pool_size=settings.db_pool_size))


def make_engine(url: URL, *, pool_size: int = 10) -> Engine:
    """An engine whose errors never show bound values, because those are names and embeddings."""
    sqlite = url.get_backend_name() == "sqlite"
    connect_args = {"timeout": BUSY_TIMEOUT_S} if sqlite else postgres_args(url)
    engine = create_engine(
        url,
        connect_args=connect_args,
        hide_parameters=True,
        max_overflow=pool_size,
        pool_pre_ping=not sqlite,
        pool_size=pool_size,
        pool_timeout=POOL_TIMEOUT_S,
    )
    if sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin)
    return engine


def writing(engine: Engine) -> Engine:
    """The same pool, for transactions that will write."""
    return engine.execution_options(**{WRITES: True})


def _unchanging(engine: Engine) -> Engine:
    """The same pool, for transactions that see one state of the database; SQLite's always do."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def postgres_args(url: URL) -> dict[str, Any]:
    """What is said to the driver beside the URL, which wins: its options come last, and what else it names is left out.

    With options of our own the driver would pass over those of the environment, so these are taken along.
    """
    ours = (f"-c {name}={value}" for name, value in _SESSION.items())
    said = os.environ.get("PGOPTIONS", ""), str(url.query.get("options", ""))
    args = {name: value for name, value in _CLIENT.items() if name not in url.query}
    return {**args, "options": " ".join([*ours, *said]).strip()}


@contextmanager
def raw_cursor(engine: Engine) -> Iterator[Any]:
    """A driver cursor outside any transaction, for the few commands that need that."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        yield cursor
        cursor.close()
    finally:
        connection.close()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, in `_begin`
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # what was acknowledged survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # erased embeddings are overwritten, not only unlinked
    cursor.close()


def _begin(connection: Connection) -> None:
    # A writer takes its turn at the start. Left to begin as a reader it would fail at its first write with
    # "database is locked" whenever another writer came between, and no timeout would help.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

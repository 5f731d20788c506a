"""Opens the database so that it behaves the same on SQLite and PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, sessionmaker

from app.settings import Settings

# Execution option of connections that are going to write; see `_begin`.
WRITES = "rollcall_writes"
# How long a SQLite writer waits for its turn before the request fails. Writes take milliseconds.
BUSY_TIMEOUT_S = 30.0
# How long a request waits for a free connection before it fails.
POOL_TIMEOUT_S = 10.0

_WRONG_URL = "ROLLCALL_DATABASE_URL must be postgresql://… or sqlite:///<file>"


class Database:
    """Hands out sessions. `read` never commits; `write` commits when its block ends well, else rolls back."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._readers = sessionmaker(engine, expire_on_commit=False)
        self._writers = sessionmaker(writing(engine), expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        with self._readers() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._writers.begin() as session:
            yield session

    def scrub(self) -> None:
        """Overwrites what an erasure left in SQLite's write-ahead log; PostgreSQL does it by (auto)vacuum."""
        if self.engine.dialect.name != "sqlite":
            return
        with raw_cursor(self.engine) as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")

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
    connect_args = {"timeout": BUSY_TIMEOUT_S} if sqlite else {"connect_timeout": 5, "application_name": "rollcall"}
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

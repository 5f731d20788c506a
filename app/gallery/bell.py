"""Says when it is time to look for changes: at once where PostgreSQL tells, and after a while in any case."""

from contextlib import suppress
from selectors import EVENT_READ, DefaultSelector
from socket import socketpair
from threading import Event
from typing import Protocol

import psycopg
import structlog

from app.db.engine import Database, postgres_args
from app.gallery.changes import CHANNEL

log = structlog.get_logger(__name__)


class Bell(Protocol):
    """What a follower waits for."""

    def wait(self, timeout_s: float) -> None:
        """Return when something may have changed, and after `timeout_s` at the latest."""

    def stop(self) -> None:
        """End the waiting, for good; from any thread."""

    def close(self) -> None:
        """Put everything away, when nobody waits any more."""


def bell_of(database: Database) -> Bell:
    """The best that a database has."""
    return PostgresBell(database) if database.engine.dialect.name == "postgresql" else Timer()


class Timer:
    """For SQLite, which tells nobody anything."""

    def __init__(self) -> None:
        self._stopped = Event()

    def wait(self, timeout_s: float) -> None:
        self._stopped.wait(timeout_s)

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        pass


class PostgresBell:
    """Listens on a connection of its own, outside of the pool; one that is lost is made again by the next wait."""

    def __init__(self, database: Database) -> None:
        _, from_url = database.engine.dialect.create_connect_args(database.engine.url)
        self._connect_args = {**postgres_args(database.engine.url), **from_url}
        self._connection: psycopg.Connection | None = None
        self._woken, self._wake = socketpair()

    def wait(self, timeout_s: float) -> None:
        try:
            if self._connection is None:
                self._connection = self._listen()
                return  # whatever was told before that has been missed
            self._wait(self._connection, timeout_s)
        except (psycopg.Error, OSError) as error:
            log.warning("gallery.not_told", error=type(error).__name__)
            self._hang_up()
            self._any_of([self._woken.fileno()], timeout_s)

    def stop(self) -> None:
        with suppress(OSError):
            self._wake.send(b".")

    def close(self) -> None:
        self._hang_up()
        self._woken.close()
        self._wake.close()

    def _listen(self) -> psycopg.Connection:
        connection = psycopg.connect(**{**self._connect_args, "autocommit": True})
        try:
            connection.execute(f"LISTEN {CHANNEL}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _wait(self, connection: psycopg.Connection, timeout_s: float) -> None:
        if connection.fileno() in self._any_of([connection.fileno(), self._woken.fileno()], timeout_s):
            for _ in connection.notifies(timeout=0):  # many commits are one reason to look
                pass

    def _any_of(self, files: list[int], timeout_s: float) -> set[int]:
        """Which of these have something to read, as soon as one has."""
        with DefaultSelector() as selector:  # select() itself takes no file numbers from 1024 on
            for file in files:
                selector.register(file, EVENT_READ)
            return {key.fd for key, _ in selector.select(timeout_s)}

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

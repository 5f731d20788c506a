"""Brings the database to the schema of this release, without an alembic.ini.

To write a migration: change the tables, then `rollcall`'s developers call `new_revision(engine, "what changed")` on a
database at head and read what it wrote.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

import migrations
from app.db.engine import writing

# Any number that no other user of the database takes; "rollcall" read as bytes.
LOCK_ID = int.from_bytes(b"rollcall", "big") >> 1


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Migrates up, as one transaction; replicas that start together take turns and the later ones find it done."""
    with _exclusive(engine) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrates down to `revision` (`base`: removes every table and all data)."""
    with _exclusive(engine) as connection:
        command.downgrade(_config(connection), revision)


def new_revision(engine: Engine, message: str) -> None:
    """Writes the next file in `migrations/versions` from the difference between tables and database."""
    with _exclusive(engine) as connection:
        command.revision(_config(connection), message, autogenerate=True)


def current_revision(connection: Connection) -> str | None:
    """The revision the database is at; None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str | None:
    """The newest revision this release knows."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def all_revisions() -> list[str]:
    """Every revision this release knows, the oldest first."""
    return [script.revision for script in reversed(list(ScriptDirectory.from_config(_config(None)).walk_revisions()))]


def _config(connection: Connection | None) -> Config:
    config = Config()
    folder = Path(migrations.__path__[0])
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _exclusive(engine: Engine) -> Iterator[Connection]:
    if engine.dialect.name == "sqlite":
        with _sqlite_without_foreign_keys(engine) as connection:
            yield connection
        return
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = 0"))  # another replica's migration may take its time
        connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": LOCK_ID})
        yield connection


@contextmanager
def _sqlite_without_foreign_keys(engine: Engine) -> Iterator[Connection]:
    # SQLite alters a table by copying and dropping it, and a drop deletes the rows that refer to it. The setting
    # cannot change inside a transaction, so it is given to the driver before one begins.
    with writing(engine).connect() as connection:
        execute: Callable[[str], Any] = connection.connection.driver_connection.execute  # type: ignore[union-attr]
        execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                yield connection
                if connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise RuntimeError("the migration would leave rows that refer to nothing; nothing was changed")
        finally:
            execute("PRAGMA foreign_keys=ON")

"""`rollcall migrate`."""

import typer
from sqlalchemy import URL

from app.cli.failures import told_plainly
from app.cli.serve import print_first_key
from app.db.engine import Database, database_url, open_database
from app.db.migrate import current_revision, upgrade
from app.settings import Settings


@told_plainly
def migrate() -> None:
    """Bring the database that the settings name to the schema of this release, and say from which one.

    `rollcall serve` and `rollcall worker` do the same when they start, so this is for whoever wants it done before,
    at one known place: a new database's admin key is printed here, once. Several may start at once; they take turns.
    """
    settings = Settings()
    database = open_database(settings)
    try:
        before = _revision(database)
        upgrade(database.engine)
        typer.echo(_told(database_url(settings), before, _revision(database)))
        print_first_key(database)
    finally:
        database.dispose()


def _revision(database: Database) -> str | None:
    with database.engine.connect() as connection:
        return current_revision(connection)


def _told(url: URL, before: str | None, now: str | None) -> str:
    """What was done to which database: a wrong setting shows here first."""
    kind = "SQLite" if url.get_backend_name() == "sqlite" else "PostgreSQL"
    place = f"The {kind} database {url.database}"
    if before == now:
        return f"{place} is already at {now}."
    return f"{place} was {'empty' if before is None else f'at {before}'} and is at {now} now."

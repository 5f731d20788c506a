"""The database that the settings name, for commands that act on it without the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.cli.client import ServiceError, has_database
from app.db.engine import Database, open_database
from app.db.migrate import upgrade
from app.settings import Settings

# Who acts on the database without a key: whoever may read and write it.
ACTOR: Final = "command line"


def existing() -> Settings:
    """The settings, if they name a database: asking must not make an empty one somewhere else."""
    settings = Settings()
    if not has_database(settings):
        raise ServiceError(
            f"there is no database in {settings.data_dir}: set ROLLCALL_DATA_DIR or ROLLCALL_DATABASE_URL to the "
            "service's, or start `rollcall serve` here first"
        )
    return settings


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The database, migrated; made where there is none."""
    database = open_database(settings)
    try:
        upgrade(database.engine)
        yield database
    finally:
        database.dispose()

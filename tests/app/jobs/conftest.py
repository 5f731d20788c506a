from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from app.db.engine import Database, make_engine


@pytest.fixture
def database(url: URL) -> Iterator[Database]:
    """The migrated database alone: most of what jobs do needs no started application."""
    database = Database(make_engine(url))
    yield database
    database.dispose()

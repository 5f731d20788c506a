"""A migrated database by itself, for what needs no service."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from app.db.engine import Database, make_engine


@pytest.fixture
def ledger(url: URL) -> Iterator[Database]:
    database = Database(make_engine(url))
    yield database
    database.dispose()

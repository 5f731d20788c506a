"""A service whose first site keeps unknown faces."""

from datetime import datetime, timedelta

import pytest
from fastapi import FastAPI

from app.db.engine import Database
from app.db.types import utc_now
from app.sealing import Sealer
from tests.app.review.factories import make_site


@pytest.fixture
def sealer(app: FastAPI) -> Sealer:
    sealer: Sealer = app.state.sealer
    return sealer


@pytest.fixture
def start(database: Database) -> datetime:
    """An hour ago, at a site that keeps unknown faces for 30 days."""
    with database.write() as session:
        make_site(session=session)
    return utc_now() - timedelta(hours=1)

"""The one time by which all processes that share a database agree on who is alive."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.types import utc_now


def shared_now(session: Session) -> datetime:
    """PostgreSQL's own clock; SQLite is used on one machine only, which has one clock."""
    if session.get_bind().dialect.name == "sqlite":
        return utc_now()
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now

"""How much room the database takes."""

from sqlalchemy import text
from sqlalchemy.orm import Session

_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


def database_bytes(session: Session) -> int:
    """Bytes on disk, what is free inside included; asks for no table."""
    return int(session.scalar(text(_SIZE[session.get_bind().dialect.name])) or 0)

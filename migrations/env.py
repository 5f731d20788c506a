"""Called by Alembic. `app.db.migrate` hands over a connection that is already in a transaction."""

from typing import Any, Literal

from alembic import context

from app.db.tables import Base
from app.db.types import UtcDateTime


def render_item(kind: str, item: Any, _autogenerate_context: Any) -> str | Literal[False]:
    """Writes our own column type by its short name in generated migrations."""
    return "UtcDateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_item=render_item,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,  # `app.db.engine` gives SQLite real transactions, so a failed migration leaves nothing
)
with context.begin_transaction():
    context.run_migrations()

"""Deletes unknown faces when their time is over, when their site keeps none any more, and when they are known."""

from typing import Final

import structlog

from app.db.engine import Database
from app.db.types import utc_now
from app.review import queries

# Deleted in one transaction: milliseconds, so that nobody who writes waits for it.
_AT_ONCE: Final = 500

log = structlog.get_logger(__name__)


class FacePurger:
    """To be called now and then, in any number of replicas."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def purge(self) -> int:
        """Delete what may not be kept; returns how many faces that was."""
        n_deleted = 0
        while n := self._purge_some():
            n_deleted += n
        if n_deleted:
            self._database.scrub()
            log.info("unknown_faces.purged", n_deleted=n_deleted)
        return n_deleted

    def _purge_some(self) -> int:
        if not self._is_due():
            return 0
        with self._database.write() as session:
            queries.lock_clusters(session)
            overdue = queries.overdue_faces(session, utc_now(), queries.retention_days(session), _AT_ONCE)
            n_deleted = queries.delete_faces(session, overdue)
            queries.delete_empty_clusters(session)
            return n_deleted

    def _is_due(self) -> bool:
        """Looked up first, because SQLite's writers wait for one another."""
        with self._database.read() as session:
            return bool(queries.overdue_faces(session, utc_now(), queries.retention_days(session), 1))

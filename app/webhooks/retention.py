"""Deletes messages that were delivered, or given up, long ago."""

from datetime import timedelta

import structlog

from app.db.engine import Database
from app.db.types import utc_now
from app.periodic import Periodic
from app.webhooks import queries

_EVERY_S = 600.0
# Deleted in one transaction: milliseconds, so that no capture waits for it.
_AT_ONCE = 500

log = structlog.get_logger(__name__)


class DeliveryPurger:
    """Purges when it starts, and every ten minutes. What is pending stays, however old it is."""

    def __init__(self, database: Database, retention_days: int) -> None:
        self._database = database
        self._retention = timedelta(days=retention_days)
        self._periodic = Periodic("webhook-purger", self.purge, _EVERY_S)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def purge(self) -> int:
        """Delete what is too old, or as much of it as there is time for before a stop; returns how many messages."""
        before, n_deleted = utc_now() - self._retention, 0
        while not self._periodic.is_stopping:
            with self._database.write() as session:
                n = queries.delete_finished(session, before, _AT_ONCE)
            if not n:
                break
            n_deleted += n
        if n_deleted:
            log.info("webhooks.purged", n_deleted=n_deleted)
        return n_deleted

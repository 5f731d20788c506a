"""Deletes decisions that are older than they may be kept, also where nobody is identified any more.

Those that an event in the ledger stands on are its evidence, and stay as long as it does.
"""

from datetime import datetime, timedelta

import structlog

from app.db.engine import Database
from app.db.types import utc_now
from app.decisions import queries
from app.gallery.queries import lock_gallery
from app.periodic import Periodic

_EVERY_S = 60.0
# Deleted in one transaction: milliseconds, so that nobody who writes waits for it.
_AT_ONCE = 2000
_CLOCKS_APART = timedelta(days=1)

log = structlog.get_logger(__name__)


class DecisionPurger:
    """Purges when it starts, and every minute; 0 days deletes everything that an earlier setting has kept."""

    def __init__(self, database: Database, retention_days: int) -> None:
        self._database = database
        self._retention = timedelta(days=retention_days)
        # Nothing that may be deleted is older than this, also by clocks that are hours slow: a year's evidence need not
        # be looked through every minute.
        self._purged_until: datetime | None = None
        self._periodic = Periodic("decision-purger", self.purge, _EVERY_S)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def purge(self) -> int:
        """Delete what is too old, or as much of it as there is time for before a stop; returns how many decisions."""
        before, n_deleted = utc_now() - self._retention, 0
        while not self._periodic.is_stopping and self._is_due(before):
            with self._database.write_in_turn() as session:
                lock_gallery(session)  # erasing and judging change the same rows, in an order of their own
                n_deleted += queries.delete_older(session, self._purged_until, before, _AT_ONCE)
        if not self._periodic.is_stopping:
            self._purged_until = before - _CLOCKS_APART
        if n_deleted:
            log.info("decisions.purged", n_deleted=n_deleted)
        return n_deleted

    def _is_due(self, before: datetime) -> bool:
        with self._database.read() as session:
            return queries.has_older(session, self._purged_until, before)

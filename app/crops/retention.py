"""Deletes crops when their time is over, and when the settings keep none any more."""

from datetime import timedelta
from typing import Final

import structlog

from app.crops import queries
from app.db.engine import Database
from app.db.types import utc_now

# Written in one transaction: milliseconds, so that nobody who writes waits for it.
_AT_ONCE: Final = 500

log = structlog.get_logger(__name__)


class CropPurger:
    """To be called now and then, in any number of replicas."""

    def __init__(self, database: Database, event_days: int, *, keeps_templates: bool) -> None:
        self._database = database
        self._keep = timedelta(days=event_days)
        self._keeps_templates = keeps_templates
        self._has_shortened = False

    def purge(self) -> int:
        """Delete what may not be kept; returns how many crops that was."""
        if not self._has_shortened:  # settings change with a restart only
            self._shorten()
            self._has_shortened = True
        n_deleted = 0
        while n := self._purge_some():
            n_deleted += n
        while not self._keeps_templates and (n := self._purge_templates()):
            n_deleted += n
        if n_deleted:
            self._database.scrub()
            log.info("crops.purged", n_deleted=n_deleted)
        return n_deleted

    def _shorten(self) -> None:
        """Crops that were to be kept for longer than the setting says today expire earlier."""
        after = ""
        while True:
            with self._database.read() as session:
                rows = queries.kept_since(session, after, _AT_ONCE)
            late = {row[0]: row[1] + self._keep for row in rows if row[2] > row[1] + self._keep}
            if late:
                with self._database.write() as session:
                    for event_id, expires_at in late.items():
                        queries.set_expiry(session, event_id, expires_at)
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1][0]

    def _purge_some(self) -> int:
        with self._database.read() as session:  # looked up first, because SQLite's writers wait for one another
            expired = queries.expired(session, utc_now(), _AT_ONCE)
        if not expired:
            return 0
        with self._database.write() as session:
            return queries.delete_event_crops(session, expired)

    def _purge_templates(self) -> int:
        with self._database.read() as session:
            template_ids = queries.some_template_crops(session, _AT_ONCE)
        if template_ids:
            with self._database.write() as session:
                queries.delete_template_crops(session, template_ids)
        return len(template_ids)

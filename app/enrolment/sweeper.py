"""Sees to it that no uploaded clip stays behind: not after a crash, not after a cancelled job, not after an erasure."""

from collections.abc import Collection
from threading import Event, Thread

import structlog

from app.db.engine import Database
from app.enrolment import queries
from app.enrolment.uploads import Uploads

_EVERY_S = 30.0

log = structlog.get_logger(__name__)


class UploadSweeper:
    """Sweeps when it starts, and every half minute; `keep_uploads` keeps clips as long as their enrolment exists."""

    def __init__(self, database: Database, uploads: Uploads, *, keep_uploads: bool) -> None:
        self._database = database
        self._uploads = uploads
        self._find = queries.existing if keep_uploads else queries.waiting
        self._stop = Event()
        self._thread = Thread(target=self._run, name="upload-sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def sweep(self) -> int:
        """Delete what nobody needs any more; returns how many clips."""
        n_deleted = self._uploads.sweep(self._still_needed)
        if n_deleted:
            log.info("uploads.swept", n_deleted=n_deleted)
        return n_deleted

    def _run(self) -> None:
        while True:
            try:
                self.sweep()
            except Exception:  # the database is away: a sweeper that died would go unnoticed
                log.exception("uploads.sweep_failed")
            if self._stop.wait(_EVERY_S):
                return

    def _still_needed(self, enrolment_ids: Collection[str]) -> Collection[str]:
        with self._database.read() as session:
            return self._find(session, enrolment_ids)

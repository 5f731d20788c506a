"""Sees to it that no uploaded clip stays behind: not after a crash, not after a cancelled job, not after an erasure."""

from collections.abc import Collection

import structlog

from app.db.engine import Database
from app.enrolment import queries
from app.enrolment.uploads import Uploads
from app.periodic import Periodic

_EVERY_S = 30.0

log = structlog.get_logger(__name__)


class UploadSweeper:
    """Sweeps when it starts, and every half minute; `keep_uploads` keeps clips as long as their enrolment exists."""

    def __init__(self, database: Database, uploads: Uploads, *, keep_uploads: bool) -> None:
        self._database = database
        self._uploads = uploads
        self._find = queries.existing if keep_uploads else queries.waiting
        self._periodic = Periodic("upload-sweeper", self.sweep, _EVERY_S)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def sweep(self) -> int:
        """Delete what nobody needs any more; returns how many clips."""
        n_deleted = self._uploads.sweep(self._still_needed)
        if n_deleted:
            log.info("uploads.swept", n_deleted=n_deleted)
        return n_deleted

    def _still_needed(self, enrolment_ids: Collection[str]) -> Collection[str]:
        with self._database.read() as session:
            return self._find(session, enrolment_ids)

"""Looks after one replica: says that it is there, audits it, rebuilds it if need be, keeps it quick to search, and
shortens the log."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Literal

import structlog

from app.db.clock import shared_now
from app.db.engine import Database
from app.db.types import new_id
from app.gallery import queries, registry
from app.gallery.audit import AuditReport
from app.gallery.loading import LogTooShortError
from app.gallery.replica import GalleryReplica
from app.periodic import Periodic

Kind = Literal["api", "worker"]

_LOOK_EVERY_S = 1.0
_BEAT_EVERY_S = 5.0
# A replica that is silent for so long is no longer waited for, and forgotten after a while.
SILENT_AFTER_S = 20.0
_FORGOTTEN_AFTER_S = 120.0
_AUDIT_EVERY_S = 3600.0
# After a start, and after one was found wrong and rebuilt, it is to show soon that all is well.
_AUDIT_AGAIN_AFTER_S = 60.0
_COMPACT_EVERY_S = 600.0
# A replica that was cut off for less than this catches up by the log, any other loads everything anew.
KEEP_LOG = timedelta(days=1)
# Deleted in one transaction: milliseconds, so that nobody who writes waits for it.
_REVISIONS_AT_ONCE = 500

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Due:
    """Something that is done now and then."""

    every_s: float
    next_s: float = 0.0

    def is_now(self, now_s: float) -> bool:
        """Whether it is time; then the next time is set."""
        if now_s < self.next_s:
            return False
        self.next_s = now_s + self.every_s
        return True


class Caretaker:
    """A thread that looks every second what there is to do for its replica."""

    def __init__(
        self, database: Database, replica: GalleryReplica, kind: Kind, clock: Callable[[], float] = monotonic
    ) -> None:
        self.id = new_id("rep")
        self.latest_audit: AuditReport | None = None
        self.standby_trouble: str | None = None
        self._database = database
        self._replica = replica
        self._kind = kind
        self._clock = clock
        now_s = clock()
        self._audit_due = Due(_AUDIT_EVERY_S, now_s + _AUDIT_AGAIN_AFTER_S)
        self._compaction_due = Due(_COMPACT_EVERY_S, now_s + _COMPACT_EVERY_S)
        self._audited_s = now_s
        self._periodic = Periodic("gallery-caretaker", self.look, _LOOK_EVERY_S)
        # On its own, because an audit or a load of a large gallery takes longer than a replica may be silent.
        self._heart = Periodic("gallery-heartbeat", self.beat, _BEAT_EVERY_S)

    @property
    def audit_age_s(self) -> float:
        """Since the latest audit; without one, since the start."""
        return self._clock() - self._audited_s

    def start(self) -> None:
        self._heart.start()
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()
        self._heart.stop()
        try:
            with self._database.write() as session:
                registry.forget(session, self.id)
        except Exception:  # the database is away; the others will forget us by our silence
            log.warning("gallery.goodbye_failed")

    def look(self) -> None:
        """Do whatever is due or asked for."""
        now_s = self._clock()
        with self._database.read() as session:
            asked = registry.requests(session, self.id)
        if asked.rebuild is not None:
            self._rebuild(asked)
        if asked.audit is not None or self._audit_due.is_now(now_s):
            self._audit(asked)
        if self._compaction_due.is_now(now_s):
            self.compact()
        self._replica.build_codes()

    def compact(self) -> int:
        """Delete what no replica needs any more of the log; returns how many rows."""
        with self._database.read() as session:
            until = queries.newest_revision_before(session, shared_now(session) - KEEP_LOG)
        n_deleted = 0
        while not self._periodic.is_stopping:
            with self._database.write() as session:
                n = queries.delete_changes(session, until, _REVISIONS_AT_ONCE)
            if not n:
                break
            n_deleted += n
        if n_deleted:
            log.info("gallery.log_compacted", until_revision=until, n_deleted=n_deleted)
        return n_deleted

    def _audit(self, asked: registry.Requests) -> None:
        try:
            report = self._replica.audit()
        except LogTooShortError:
            self._replica.rebuild()
            report = self._replica.audit()
        self.latest_audit, self._audited_s = report, self._clock()
        with self._database.write() as session:
            registry.note_audit(session, self.id, report.as_json(), asked.audit)
        if not report.is_clean:
            log.error("gallery.audit_failed", **report.as_json())
            self._audit_due.next_s = self._clock() + _AUDIT_AGAIN_AFTER_S
            self._rebuild(asked)

    def _rebuild(self, asked: registry.Requests) -> None:
        self._replica.rebuild()
        with self._database.write() as session:
            registry.note_rebuilt(session, self.id, asked.rebuild)

    def beat(self) -> None:
        """Say that this replica is alive, and how far it is."""
        version = self._replica.version()
        facts = {
            "kind": self._kind,
            "host": socket.gethostname()[:255],
            "revision": version.revision,
            "n_people": version.n_people,
            "n_templates": version.n_templates,
            "model": version.model,
            "standby_model": self._replica.standby_model,
            "standby_trouble": self.standby_trouble,
        }
        with self._database.write() as session:
            registry.beat(session, self.id, facts)
            registry.forget_silent(session, _FORGOTTEN_AFTER_S)

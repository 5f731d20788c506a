"""Recalibrates in the background after the gallery has changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic

import structlog

from app.db.engine import Database
from app.gallery.queries import stored_model
from app.gallery.replica import GalleryReplica
from app.logs import log_failure
from app.operating_points import queries
from app.operating_points.calibrator import Calibrator
from app.operating_points.schemas import ASKED_FOR
from app.operating_points.service import SYSTEM, recalibrate

_LOOK_EVERY_S = 0.25
# People are enrolled one after another: wait until nothing has changed for a second, but not for ever.
_QUIET_S, _AT_LATEST_S = 1.0, 10.0
# A large gallery that changes all day is recalibrated during a tenth of the time at most.
_REST_PER_WORK = 10.0
# What fails at once would else be tried four times a second, and a large gallery be searched each time.
_REST_AFTER_FAILURE_S = 5.0
# How often requests are looked for that were made to other replicas, or that nobody carried out.
_ASK_EVERY_S = 5.0
# While another replica calibrates.
_ASK_AGAIN_S = 1.0
_PATIENCE_S = 300.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Since when changes have been waiting, when the latest came, and how the last calibration went."""

    first_change_s: float
    last_change_s: float
    last_end_s: float
    last_took_s: float


def is_due(now_s: float, waiting: Waiting) -> bool:
    """Whether to calibrate now; all times on one monotonic clock."""
    has_rested = now_s - waiting.last_end_s >= _REST_PER_WORK * waiting.last_took_s
    is_quiet = now_s - waiting.last_change_s >= _QUIET_S
    return has_rested and (is_quiet or now_s - waiting.first_change_s >= _AT_LATEST_S)


class Recalibrator:
    """Watches the gallery's revision, and for requests; of several replicas one calibrates, and the others see that."""

    def __init__(self, database: Database, gallery: GalleryReplica, calibrator: Calibrator) -> None:
        self._database = database
        self._gallery = gallery
        self._calibrator = calibrator
        self._seen_revision = -1
        self._first_change_s: float | None = None
        self._last_change_s = self._last_end_s = self._last_took_s = 0.0
        self._woken = Event()
        self._asked_s = 0.0
        self._refused_since_s: float | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name="recalibrator", daemon=True)

    def start(self) -> None:
        """Watch from the revision on that the last calibration saw."""
        with self._database.read() as session:
            self._seen_revision = queries.state(session).calibrated_revision
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """There is a new request; without this it would be found a little later."""
        self._woken.set()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            try:
                self._look(monotonic())
            except Exception as error:  # a thread that died would go unnoticed
                log_failure(log, "threshold.recalibration_failed", error)
                self._stop.wait(_REST_AFTER_FAILURE_S)

    def _look(self, now_s: float) -> None:
        revision = self._gallery.version().revision
        if revision != self._seen_revision:
            self._seen_revision, self._last_change_s = revision, now_s
            self._first_change_s = self._first_change_s or now_s
        requests = self._pending(now_s)
        if requests or self._calibrator.is_wanted or self._is_due(now_s):
            self._calibrate_alone(requests, now_s)

    def _pending(self, now_s: float) -> list[str]:
        """Requests, of whichever replica; who asks while we calibrate may know of something that it does not see."""
        if not self._woken.is_set() and now_s - self._asked_s < _ASK_EVERY_S:
            return []
        self._woken.clear()
        self._asked_s = now_s
        with self._database.read() as session:
            return queries.pending_requests(session)

    def _calibrate_alone(self, requests: Sequence[str], now_s: float) -> None:
        with self._database.alone("recalibration") as is_alone:
            if not (is_alone or self._is_tired(now_s)):
                self._stop.wait(_ASK_AGAIN_S)
                return
            self._refused_since_s = None
            if requests or self._calibrator.is_wanted or not self._is_done():
                self._calibrate(requests)
        self._first_change_s = None
        self._last_end_s = monotonic()
        self._last_took_s = self._last_end_s - now_s

    def _is_tired(self, now_s: float) -> bool:
        """Whether the other one takes so long that it is stuck, or as slow as if it were; two results do no harm."""
        self._refused_since_s = self._refused_since_s or now_s
        return now_s - self._refused_since_s > _PATIENCE_S

    def _is_done(self) -> bool:
        """Whether another replica has calibrated for what we see, or for more."""
        with self._database.read() as session:
            return queries.state(session).calibrated_revision >= self._seen_revision

    def _calibrate(self, requests: Sequence[str]) -> None:
        calibrated = self._calibrator.fresh()
        with self._database.write_in_turn() as session:
            if stored_model(session) not in (None, calibrated.model):
                return  # another model was put in force meanwhile; what it needs is found with the next look
            requested_by = queries.take_requests(session, requests)
            for by in requested_by or [SYSTEM]:
                recalibrate(session, calibrated, by, "templates changed" if by == SYSTEM else ASKED_FOR)

    def _is_due(self, now_s: float) -> bool:
        if self._first_change_s is None:
            return False
        return is_due(now_s, Waiting(self._first_change_s, self._last_change_s, self._last_end_s, self._last_took_s))

"""What a handler is given: its task, a way to say how far it is, and what the worker holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
from sqlalchemy.orm import Session

from app.db.engine import Database
from app.db.tables import Job
from app.errors import DATABASE_AWAY
from app.inference.away import InferenceAwayError
from app.jobs import queries
from app.jobs.rules import Claim
from app.sealing import Sealer
from app.settings import Settings

if TYPE_CHECKING:
    from app.gallery.replica import GalleryReplica
    from app.gallery.upkeep import Upkeep
    from app.inference.port import Inference
    from app.models.holding import ModelHolder
    from app.models.understudy import Understudy

# Handlers may report for every frame: what changes faster than a person reads is not written.
_REPORT_EVERY_S = 0.5
_LONGEST_MESSAGE = 300

log = structlog.get_logger(__name__)


class JobStop(BaseException):  # noqa: N818 - not an error, and not an Exception: see below
    """Ends a handler from outside.

    JobStop
    ├── JobCancelled      somebody asked for it
    ├── JobInterrupted    the worker is ending; another one will start the job again
    ├── JobLost           the job was given to another worker, because this one was taken for dead
    └── JobUnequipped     this worker cannot load what the job needs; another one may

    Not an `Exception`, so that a handler's own `except Exception` lets it pass.
    """


class JobCancelled(JobStop):
    pass


class JobInterrupted(JobStop):
    pass


class JobLost(JobStop):
    pass


class JobUnequipped(JobStop):
    pass


@dataclass
class Equipment:
    """What a worker holds. Networks and gallery are loaded by the first job that asks for them, and kept.

    Their modules are imported no earlier: torch alone costs seconds and hundreds of megabytes, and a worker may never
    need it.
    """

    settings: Settings
    database: Database
    _understudy: "Understudy" = field(init=False)

    @cached_property
    def inference(self) -> "Inference":
        with _loading():
            from app.inference.loading import load_inference

            inference = load_inference(self.settings)
            self._holder(inference).begin()
        return inference

    @property
    def gallery(self) -> "GalleryReplica":
        return self._upkeep.replica

    def close(self) -> None:
        """Put away what was loaded; the networks end with the process."""
        if "_upkeep" in vars(self):
            self._understudy.stop()
            self._upkeep.stop()

    def _holder(self, inference: "Inference") -> "ModelHolder":
        from app.models.holding import ModelHolder

        return ModelHolder(self.database, inference, Sealer.of(self.settings), self.settings.backbone)

    @cached_property
    def _upkeep(self) -> "Upkeep":
        with _loading():
            from app.gallery.replica import GalleryReplica
            from app.gallery.upkeep import Upkeep
            from app.models.understudy import Understudy

            self._holder(self.inference).begin()  # a job may have switched since the networks were loaded
            gallery = GalleryReplica(self.database, model=self.inference.info.model, dim=self.inference.card.dim)
            upkeep = Upkeep(self.database, gallery, "worker")
            holder = self._holder(self.inference)
            # Embedding whoever is new is left to the service, which always runs.
            self._understudy = Understudy(self.database, holder, gallery, upkeep.caretaker)
            upkeep.start()
            self._understudy.start()
        return upkeep


@contextmanager
def _loading() -> Iterator[None]:
    """Nothing of a job is in what a worker loads: whatever goes wrong is no fault of the job's.

    Nor of this worker's, where it is another machine that does not answer: it will do the job once that is back.
    """
    try:
        yield
    except (*DATABASE_AWAY, InferenceAwayError):
        raise
    except Exception as error:
        raise JobUnequipped from error


class JobContext:
    """One attempt at a job. A handler may run again after a crash: what it does twice must count once."""

    def __init__(self, job: Job, equipment: Equipment, stopping: Event) -> None:
        self.job_id = job.id
        self.attempt = job.attempts
        self.payload: dict[str, Any] = dict(job.payload)
        self.equipment = equipment
        self.claim = Claim.of(job)
        self.progress, self.message = 0.0, job.message
        self._stopping = stopping
        self._stop: JobStop | None = None
        self._looked_at_s = 0.0

    def report(self, progress: float, message: str | None = None) -> None:
        """Say how far the job is, as often as you like; no names in `message`.

        Raises:
            JobStop: the handler shall end now; let it pass.
        """
        self.progress = min(max(float(progress), 0.0), 1.0)
        self.message = self.message if message is None else message[:_LONGEST_MESSAGE]
        self._look()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that commits only if the job is still this worker's to do, and not cancelled.

        What a job leaves behind belongs in here: then two workers can never both leave it.
        """
        with self.equipment.database.write() as session:
            self._heed(queries.lock_claimed(session, self.claim))
            yield session

    def raise_if_stopped(self) -> None:
        """Once told to stop, a handler cannot be done, whatever it made of it."""
        if self._stop is not None:
            raise self._stop

    def _look(self) -> None:
        self.raise_if_stopped()
        if self._stopping.is_set():
            self._end(JobInterrupted())
        if monotonic() - self._looked_at_s >= _REPORT_EVERY_S:
            self._note()
            self._looked_at_s = monotonic()

    def _note(self) -> None:
        try:
            with self.equipment.database.write() as session:
                job = self._heed(queries.lock_claimed(session, self.claim))
                job.progress, job.message = self.progress, self.message
        except DATABASE_AWAY:  # how far it is can be told later
            log.warning("jobs.report_failed", job_id=self.job_id)

    def _heed(self, job: Job | None) -> Job:
        if job is None:
            self._end(JobLost())
        if job.requested_cancel:
            self._end(JobCancelled())
        return job

    def _end(self, stop: JobStop) -> NoReturn:
        self._stop = stop
        raise stop

"""Trains a new model now and then, where the settings ask for it."""

from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from app.db.clock import shared_now
from app.db.engine import Database
from app.models import queries, registry, service
from app.periodic import Periodic
from app.settings import Settings

# Days are waited for: an hour more does not matter.
_LOOK_EVERY_S = 3600.0

log = structlog.get_logger(__name__)


class RetrainSchedule:
    """Looks when it starts, and every hour; off where `retrain_every_days` is 0."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._periodic = Periodic("retrain-schedule", self.look, _LOOK_EVERY_S)

    def start(self) -> None:
        if self._settings.retrain_every_days:
            self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def look(self) -> str | None:
        """Ask for a training if one is due; returns its job. Of several replicas only one asks.

        A training that failed counts, too: what was wrong is seldom mended by the next hour. The first one is due so
        many days after the first start.
        """
        with self._database.write() as session:
            queries.lock_models(session)
            if queries.unfinished_jobs(session, [service.TRAINING]) or not self._is_due(session):
                return None
            run = service.request_training(
                session,
                strategy=self._settings.retrain_strategy,
                policy=self._settings.retrain_policy,
                seed=0,
                by=registry.SYSTEM,
            )
        log.info("models.training_scheduled", job_id=run.job_id)
        return run.job_id

    def _is_due(self, session: Session) -> bool:
        every = timedelta(days=self._settings.retrain_every_days)
        last = queries.newest_run_at(session) or queries.first_model_at(session)
        return every > timedelta(0) and last is not None and shared_now(session) - last >= every

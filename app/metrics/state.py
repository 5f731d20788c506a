"""How the service is now, asked for with every scrape."""

from collections.abc import Iterable, Iterator

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import State

from app import __version__
from app.db.engine import Database
from app.gallery.caretaker import Caretaker
from app.gallery.changes import current_revision
from app.gallery.replica import GalleryReplica
from app.jobs import queries as job_queries
from app.operating_points.queries import threshold_in_force

log = structlog.get_logger(__name__)


class StateCollector(Collector):
    """Reads what the application holds; what its database says is left out while that is away."""

    def __init__(self, state: State) -> None:
        self._state = state

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance, because there is nothing to read before the service is prepared."""
        return []

    def collect(self) -> Iterator[Metric]:
        info = Gauge("rollcall_info", "The release that runs.", labels=("version",))
        info.add_metric([__version__], 1.0)
        yield info
        if self._state.is_prepared:
            yield from self._state.inference.collect()
            yield from _gallery(self._state.gallery, self._state.gallery_upkeep.caretaker)
            yield from _database(self._state.database)


def _gallery(replica: GalleryReplica, caretaker: Caretaker) -> Iterator[Metric]:
    version, audit = replica.version(), caretaker.latest_audit
    yield _gauge("gallery_revision", "Revision that this replica searches.", version.revision)
    yield _gauge("gallery_people", "People in this replica's index.", version.n_people)
    yield _gauge("gallery_templates", "Templates in this replica's index.", version.n_templates)
    yield _gauge("gallery_unseen_seconds", "Since this replica was last equal to the database.", replica.unseen_s)
    if audit is not None:
        yield _gauge("gallery_audit_differences", "What the latest audit found; 0 is clean.", audit.n_differences)
        yield _gauge("gallery_audit_revision", "Revision of the latest audit.", audit.revision)
        yield _gauge("gallery_audit_age_seconds", "Since the latest audit.", caretaker.audit_age_s)
    for part, state in (("templates", replica.indexes.templates), ("people", replica.indexes.people)):
        yield _gauge(
            f"gallery_{part}_coded", "1 where codes propose what is compared, 0 where all is.", state.kind == "coded"
        )
        if state.recall is not None:
            yield _gauge(
                f"gallery_{part}_recall", "Against exact search, when codes were last built.", state.recall.least
            )


def _database(database: Database) -> Iterator[Metric]:
    try:
        with database.read() as session:
            revision = current_revision(session)
            (n_queued, n_running), n_workers = job_queries.n_unfinished(session), job_queries.n_heard_workers(session)
            threshold = threshold_in_force(session)
    except SQLAlchemyError:
        log.warning("metrics.database_away")
        yield _gauge("database_up", "Whether the database answers.", 0)
        return
    yield _gauge("database_up", "Whether the database answers.", 1)
    yield _gauge("gallery_stored_revision", "Revision of the database.", revision)
    yield _gauge("jobs_queued", "Jobs that wait.", n_queued)
    yield _gauge("jobs_running", "Jobs that are being done.", n_running)
    yield _gauge("job_workers", "Processes that run jobs.", n_workers)
    if threshold is not None:
        yield _gauge("threshold", "Score from which on a face is given a name.", threshold)


def _gauge(name: str, meaning: str, value: float) -> Gauge:
    return Gauge(f"rollcall_{name}", meaning, value=float(value))

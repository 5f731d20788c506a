from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import URL, select, update

from app.db.engine import Database, make_engine
from app.db.tables import Job, Model, TrainingRun
from app.db.types import utc_now
from app.jobs import service as jobs
from app.jobs.rules import JobStatus
from app.models.schedule import RetrainSchedule
from app.settings import Settings
from tests.app.models.factories import make_champion


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def database(url: URL) -> Iterator[Database]:
    """A service that was first started eight days ago."""
    database = Database(make_engine(url))
    with database.write() as session:
        make_champion(session=session)
        session.execute(update(Model).values(created_at=utc_now() - timedelta(days=8)))
    yield database
    database.dispose()


def schedule(database: Database, settings: Settings, days: int = 7) -> RetrainSchedule:
    return RetrainSchedule(database, settings.model_copy(update={"retrain_every_days": days}))


def end_job(database: Database, days_ago: int) -> None:
    with database.write() as session:
        for job in session.scalars(select(Job)):
            jobs.end(job, JobStatus.FAILED, error="too few people")
        session.execute(update(TrainingRun).values(created_at=utc_now() - timedelta(days=days_ago)))


def test_a_training_is_asked_for_whenever_the_last_one_is_too_old(database: Database, settings: Settings) -> None:
    weekly = schedule(database, settings)
    job_id = weekly.look()
    with database.read() as session:
        run = session.scalars(select(TrainingRun)).one()
        job = session.get(Job, job_id)
    assert (run.job_id, run.strategy, run.policy) == (job_id, settings.retrain_strategy, settings.retrain_policy)
    assert job is not None and (job.kind, job.created_by) == ("retrain", "system")
    assert weekly.look() is None  # it is not over
    end_job(database, days_ago=6)
    assert weekly.look() is None
    end_job(database, days_ago=7)
    assert weekly.look() not in (None, job_id)


def test_a_training_that_takes_longer_than_that_is_waited_for(database: Database, settings: Settings) -> None:
    daily = schedule(database, settings, days=1)
    assert daily.look() is not None
    with database.write() as session:
        session.execute(update(TrainingRun).values(created_at=utc_now() - timedelta(days=3)))
    assert daily.look() is None


def test_a_new_service_waits_until_there_can_be_something_to_learn(database: Database, settings: Settings) -> None:
    assert schedule(database, settings, days=9).look() is None
    assert schedule(database, settings, days=8).look() is not None


def test_it_is_off_unless_somebody_wants_it(database: Database, settings: Settings) -> None:
    assert settings.retrain_every_days == 0
    off = RetrainSchedule(database, settings)
    off.start()
    off.stop()
    assert off.look() is None


@pytest.mark.parametrize("backend", ["sqlite", "postgres"], indirect=True)
def test_of_several_replicas_one_asks(database: Database, settings: Settings, url: URL) -> None:
    replicas = [Database(make_engine(url)) for _ in range(4)]
    together = Barrier(len(replicas))

    def look(replica: Database) -> str | None:
        together.wait(30)
        return schedule(replica, settings).look()

    with ThreadPoolExecutor(len(replicas)) as pool:
        found = list(pool.map(look, replicas))
    for replica in replicas:
        replica.dispose()
    assert len([job_id for job_id in found if job_id]) == 1
    with database.read() as session:
        assert len(session.scalars(select(Job)).all()) == 1

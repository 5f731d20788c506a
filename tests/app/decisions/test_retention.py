"""Decisions go when their time is over, whether or not anybody is identified."""

from datetime import timedelta
from time import monotonic, sleep

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import DecisionCandidate, DecisionRow
from app.db.types import utc_now
from app.decisions.log import Circumstances, DecisionLog
from app.decisions.retention import DecisionPurger
from app.inference.port import Inference
from app.main import create_app
from app.settings import Settings
from tests.app.crowd import enrol_crowd
from tests.app.decisions.test_decisions import MODEL, decided


@pytest.fixture
def stored(app: FastAPI, client: TestClient, database: Database) -> list[str | None]:
    """Five decisions with two candidates each; the first two are eight days old."""
    a, b = enrol_crowd(database=database, n_people=2)
    log: DecisionLog = app.state.decision_log
    circumstances = Circumstances("req", "key:test", 0.5, app.state.point_in_force.read(MODEL).id, 2, MODEL)
    ids = log.store([decided([(a, 0.6), (b, 0.4)], 0.5)] * 5, circumstances)
    with database.write() as session:
        old = update(DecisionRow).where(DecisionRow.id.in_(ids[:2]))
        session.execute(old.values(at=utc_now() - timedelta(days=8)))
    return ids


def left(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(DecisionRow.id)))


def test_old_decisions_are_deleted_with_their_candidates(database: Database, stored: list[str | None]) -> None:
    assert DecisionPurger(database, retention_days=7).purge() == 2
    assert left(database) == set(stored[2:])
    with database.read() as session:
        assert session.scalars(select(func.count()).select_from(DecisionCandidate)).one() == 6
    assert DecisionPurger(database, retention_days=7).purge() == 0


def test_many_are_deleted_in_several_short_transactions(
    database: Database, stored: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.decisions.retention._AT_ONCE", 2)
    assert DecisionPurger(database, retention_days=0).purge() == len(stored) == 5
    assert left(database) == set()


def test_to_keep_nothing_deletes_what_an_earlier_setting_kept_without_any_request(
    database: Database, stored: list[str | None], settings: Settings, inference: Inference
) -> None:
    assert len(left(database)) == len(stored)
    with TestClient(create_app(settings.model_copy(update={"decision_retention_days": 0}), inference)):
        deadline = monotonic() + 60
        while left(database) and monotonic() < deadline:
            sleep(0.05)
    assert left(database) == set()


def test_it_goes_on_by_itself(database: Database, stored: list[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.decisions.retention._EVERY_S", 0.05)
    purger = DecisionPurger(database, retention_days=7)
    purger.start()
    try:
        with database.write() as session:
            session.execute(update(DecisionRow).values(at=utc_now() - timedelta(days=7, seconds=-1)))
        deadline = monotonic() + 60
        while left(database) and monotonic() < deadline:
            sleep(0.05)
    finally:
        purger.stop()
    assert left(database) == set()

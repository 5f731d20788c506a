"""A replica that has grown large is made quick to search aside, and shows how well it searches."""

from collections.abc import Callable, Iterator
from threading import Event

import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db.engine import Database, open_database
from app.db.tables import Template
from app.gallery.caretaker import Caretaker
from app.gallery.replica import GalleryReplica
from app.settings import Settings
from ml.nearest import SearchPlan
from tests.app.gallery.test_replica import DIM, MODEL, add_person, erase, held, run_together, stored

AT_ONCE = SearchPlan(flat_up_to_bytes=0, n_wanted=10, n_reranked=(200,), n_probes=5)
Headers = dict[str, str]


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.dispose()


@pytest.fixture
def replica(database: Database) -> GalleryReplica:
    for _ in range(20):
        add_person(database, 2)
    replica = GalleryReplica(database, model=MODEL, dim=DIM, plan=AT_ONCE)
    replica.rebuild()
    return replica


def embeddings_of(database: Database, person_id: str) -> np.ndarray:
    with database.read() as session:
        rows = session.scalars(select(Template.embedding).where(Template.person_id == person_id).order_by(Template.id))
        return np.array([np.frombuffer(row, "<f4") for row in rows])


def test_the_caretaker_builds_codes_when_they_are_due_and_the_audit_stays_clean(
    database: Database, replica: GalleryReplica
) -> None:
    caretaker = Caretaker(database, replica, "api")
    caretaker.look()
    built = replica.indexes.templates
    assert (built.kind, built.n_built, replica.indexes.people.kind) == ("coded", 40, "coded")
    caretaker.look()
    assert replica.indexes.templates is built  # not again
    report = replica.audit()
    assert (report.is_clean, report.n_indexed) == (True, 40)


def test_what_comes_and_goes_after_codes_were_built_is_seen_at_once(
    database: Database, replica: GalleryReplica
) -> None:
    replica.build_codes()
    person_id = add_person(database, 2)
    probe = embeddings_of(database, person_id)[:1]
    replica.catch_up()
    assert replica.search(probe, 3)[0][0].person_ids[0] == person_id
    erase(database, person_id)
    replica.catch_up()
    assert person_id not in replica.search(probe, 3)[0][0].person_ids
    assert (replica.indexes.templates.kind, held(replica)) == ("coded", stored(database))
    assert replica.audit().is_clean


def test_what_is_loaded_anew_is_searched_exactly_until_codes_are_built_again(replica: GalleryReplica) -> None:
    replica.build_codes()
    replica.rebuild()
    assert replica.indexes.templates.kind == "flat"
    replica.build_codes()
    assert replica.indexes.templates.kind == "coded"


def test_a_replica_that_stops_builds_no_further(replica: GalleryReplica) -> None:
    replica.close()
    replica.build_codes()
    assert replica.indexes.templates.kind == "flat"


def test_codes_are_built_while_others_search_enrol_and_rebuild(database: Database, replica: GalleryReplica) -> None:
    person_id, is_over = add_person(database, 2), Event()
    probe = embeddings_of(database, person_id)[:1]
    replica.catch_up()

    def write() -> None:
        for step in range(8):
            erased = add_person(database, 3)
            replica.catch_up()
            if step % 2:
                erase(database, erased)
            if step % 5 == 4:
                replica.rebuild()
        is_over.set()

    def repeat(job: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            while not is_over.is_set():
                job()

        return run

    def search() -> None:
        assert replica.search(probe, 1)[0][0].person_ids[0] == person_id

    run_together(write, repeat(replica.build_codes), repeat(search))
    replica.catch_up()
    replica.build_codes()
    assert replica.indexes.templates.kind == "coded"
    assert held(replica) == stored(database)
    assert replica.audit().is_clean


def test_the_service_shows_how_it_searches(client: TestClient, operator: Headers) -> None:
    shown = client.get("/v1/gallery", headers=operator).json()["index"]
    exact = {"kind": "flat", "n_built": 0, "n_reranked": 0, "recall": None, "measured_at": None}
    assert shown == {"templates": exact, "people": exact}


def test_the_service_shows_the_recall_that_it_measured(
    app: FastAPI, client: TestClient, operator: Headers, replica: GalleryReplica
) -> None:
    replica.build_codes()
    app.state.gallery = replica
    shown = client.get("/v1/gallery", headers=operator).json()["index"]["templates"]
    assert (shown["kind"], shown["n_built"], shown["n_reranked"]) == ("coded", 40, 400)
    assert shown["recall"] == {"nearest": 1.0, "nearest_two": 1.0, "all_wanted": 1.0}
    assert shown["measured_at"] is not None

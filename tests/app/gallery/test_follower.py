"""A replica follows by itself: told by PostgreSQL at once, and by looking now and then in any case."""

from collections.abc import Callable, Iterator
from time import monotonic, sleep

import pytest
from sqlalchemy import text, update

from app.db.engine import Database, open_database
from app.db.tables import Template
from app.gallery.bell import bell_of
from app.gallery.follower import Follower
from app.gallery.replica import GalleryReplica
from app.settings import Settings
from tests.app.factories import make_embedding, make_person, make_template
from tests.app.gallery.test_replica import DIM, MODEL, add_person, await_true, erase, held, stored

Follow = Callable[[], GalleryReplica]


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.dispose()


@pytest.fixture
def follow(settings: Settings) -> Iterator[Follow]:
    """Starts replicas that follow, each with connections of its own."""
    started: list[tuple[Follower, Database]] = []

    def follow() -> GalleryReplica:
        own = open_database(settings)
        replica = GalleryReplica(own, model=MODEL, dim=DIM)
        replica.rebuild()
        follower = Follower(replica, bell_of(own))
        started.append((follower, own))
        follower.start()
        return replica

    yield follow
    for follower, own in started:
        follower.stop()
        own.dispose()


def polling_every(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("app.gallery.follower.POLL_EVERY_S", seconds)


def test_a_replica_follows_by_itself(database: Database, follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    polling_every(monkeypatch, 0.02)
    replica = follow()
    person_id = add_person(database, 2)
    await_true(lambda: held(replica) == stored(database) != [])
    erase(database, person_id)
    await_true(lambda: held(replica) == [])
    assert replica.version().revision == 3


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_postgresql_tells_of_every_commit_so_nobody_waits_for_the_next_look(
    database: Database, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling_every(monkeypatch, 3600.0)
    replica = follow()
    for _ in range(5):
        add_person(database)
        await_true(lambda: held(replica) == stored(database))


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_listener_whose_connection_was_ended_listens_again_and_has_missed_nothing(
    database: Database, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling_every(monkeypatch, 0.1)
    replica = follow()
    add_person(database)
    await_true(lambda: held(replica) == stored(database))
    with database.write() as session:
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        session.execute(text(f"{end} AND datname = current_database()"))
    add_person(database)
    await_true(lambda: held(replica) == stored(database))
    polling_every(monkeypatch, 3600.0)
    sleep(0.3)
    add_person(database)
    await_true(lambda: held(replica) == stored(database))


def test_a_replica_follows_again_after_the_database_was_away(
    database: Database, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling_every(monkeypatch, 0.02)
    monkeypatch.setattr("app.gallery.replica.STALE_AFTER_S", 0.5)
    replica = follow()
    sleep(0.7)
    assert replica.trouble is None
    with database.write() as session:
        session.execute(text("ALTER TABLE gallery_state RENAME TO mislaid"))
    await_true(lambda: "last compared with the database" in str(replica.trouble))
    with database.write() as session:
        session.execute(text("ALTER TABLE mislaid RENAME TO gallery_state"))
    add_person(database)
    await_true(lambda: held(replica) == stored(database) and replica.trouble is None)


def test_a_row_that_cannot_be_used_does_not_end_the_following(
    database: Database, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling_every(monkeypatch, 0.02)
    replica = follow()
    with database.write() as session:
        broken = make_template(session=session, person=make_person(session=session), embedding=bytes(4 * DIM)).id
    sleep(0.2)
    assert replica.version().revision == 0  # it stays at what it could apply
    with database.write() as session:
        mended = update(Template).where(Template.id == broken).values(embedding=make_embedding(seed=1))
        session.execute(mended)
    await_true(lambda: held(replica) == [broken])


def test_a_follower_ends_when_it_is_told_to_and_not_after_its_wait(
    follow: Follow, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling_every(monkeypatch, 3600.0)
    database = open_database(settings)
    replica = GalleryReplica(database, model=MODEL, dim=DIM)
    follower = Follower(replica, bell_of(database))
    follower.start()
    sleep(0.2)
    started = monotonic()
    follower.stop()
    assert monotonic() - started < 5
    database.dispose()

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from time import monotonic

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError

from app.db.engine import Database, database_url
from app.db.tables import GalleryState, Person, Template
from app.gallery.changes import bump_revision
from app.settings import Settings
from tests.app.factories import NOON, make_person, make_template

SQLITE_ONLY = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def test_times_come_back_as_aware_utc_whatever_zone_they_were_in(database: Database) -> None:
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    with database.write() as session:
        person_id = make_person(session=session, consent={"given_at": tokyo, "method": "form"}).id
    with database.read() as session:
        stored = session.get_one(Person, person_id).consent_given_at
    assert stored == NOON
    assert stored is not None and stored.tzinfo is UTC


def test_a_time_without_a_zone_is_never_stored(database: Database) -> None:
    with database.write() as session:
        person = make_person(session=session)
        person.updated_at = datetime(2026, 1, 1)
        with pytest.raises(StatementError, match="without a time zone"):
            session.flush()
        session.rollback()


def test_a_block_that_fails_writes_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:
        make_person(session=session)
        raise RuntimeError
    with database.read() as session:
        assert session.scalars(select(Person)).all() == []


def test_concurrent_writers_wait_for_their_turn_and_revisions_have_no_gaps(database: Database) -> None:
    revisions: list[int] = []
    failures: list[Exception] = []

    def write_often() -> None:
        for _ in range(15):
            try:
                with database.write() as session:
                    session.scalars(select(GalleryState)).one()  # a reader that becomes a writer
                    revisions.append(bump_revision(session)[0])
                    make_person(session=session)
            except Exception as exc:
                failures.append(exc)

    writers = [threading.Thread(target=write_often) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert sorted(revisions) == list(range(1, 91))


def test_template_ids_are_never_given_twice(database: Database) -> None:
    with database.write() as session:
        person = make_person(session=session)
        first = make_template(session=session, person=person).id
        session.execute(text("DELETE FROM templates"))
        assert make_template(session=session, person=person).id > first


def test_deleting_a_person_deletes_templates_and_enrolments(database: Database) -> None:
    with database.write() as session:
        person = make_person(session=session)
        make_template(session=session, person=person)
    with database.write() as session:
        session.execute(text("DELETE FROM people"))
    with database.read() as session:
        assert session.scalars(select(Template)).all() == []
        assert session.execute(text("SELECT count(*) FROM enrolments")).scalar_one() == 0


def test_errors_of_the_database_do_not_show_values(database: Database) -> None:
    with pytest.raises(IntegrityError) as caught, database.write() as session:
        make_person(session=session, employee_code="E1", name="Grace Hopper")
        make_person(session=session, employee_code="E1", name="Grace Hopper")
    assert "Grace" not in str(caught.value)


@SQLITE_ONLY
def test_sqlite_keeps_what_it_acknowledged_and_forgets_what_it_deleted(database: Database) -> None:
    def pragma(name: str) -> object:
        return session.execute(text(f"PRAGMA {name}")).scalar_one()

    with database.read() as session:
        assert pragma("journal_mode") == "wal"
        assert pragma("synchronous") == 2  # FULL
        assert pragma("foreign_keys") == 1
        assert pragma("secure_delete") == 1


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_any_postgres_url_gets_the_installed_driver(scheme: str) -> None:
    url = database_url(Settings(database_url=SecretStr(f"{scheme}://u:p@db/rollcall")))
    assert url.drivername == "postgresql+psycopg"
    assert url.password == "p"


@pytest.mark.parametrize("text_url", ["mysql://db/x", "sqlite://", "sqlite:///:memory:"])
def test_a_database_that_cannot_work_is_refused_at_the_start(text_url: str) -> None:
    with pytest.raises(ValueError, match="ROLLCALL_DATABASE_URL"):
        database_url(Settings(database_url=SecretStr(text_url)))


def test_without_a_url_the_data_is_in_the_data_folder(tmp_path: Path) -> None:
    url = database_url(Settings(data_dir=tmp_path, database_url=None))
    assert url.database == str(tmp_path / "rollcall.sqlite3")


@SQLITE_ONLY
def test_what_was_erased_while_somebody_read_is_overwritten_when_they_are_done(database: Database) -> None:
    log = Path(f"{database.engine.url.database}-wal")
    with database.read() as reader:
        reader.execute(text("SELECT count(*) FROM people"))
        with database.write() as session:
            make_person(session=session, name="Erased Erasmus")
        started = monotonic()
        database.scrub()
        assert monotonic() - started < 5  # others wait as long to write
        assert b"Erased Erasmus" in log.read_bytes()
    database.scrub_leftovers()
    assert log.stat().st_size == 0

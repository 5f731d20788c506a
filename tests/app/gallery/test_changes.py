"""The log is committed in the order of its numbers, which a sequence alone would not give."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.engine import Database, open_database
from app.db.tables import GalleryChange, Person, Template
from app.db.types import utc_now
from app.gallery import queries
from app.gallery.changes import current_revision, record_additions
from app.gallery.loading import Index, load, read_log
from app.settings import Settings
from ml.gallery import Gallery
from tests.app.factories import make_embedding, make_enrolment, make_person, make_template
from tests.app.gallery.test_replica import DIM, MODEL, await_true, run_together


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.dispose()


def insert_template(session: Session) -> Template:
    """A template whose change is not logged yet."""
    person = make_person(session=session)
    template = make_template_row(session, person)
    session.add(template)
    session.flush()
    return template


def make_template_row(session: Session, person: Person) -> Template:

    return Template(
        person_id=person.id,
        enrolment_id=make_enrolment(session=session, person=person).id,
        model=MODEL,
        embedding=make_embedding(),
        quality=1.0,
        yaw_deg=0.0,
        pitch_deg=0.0,
        roll_deg=0.0,
        source={},
        created_at=utc_now(),
    )


def follow(database: Database, index: Index) -> list[int]:
    """What a replica applies next."""
    with database.read() as session:
        portion = read_log(session, index)
        if portion is None:
            return []
        portion.apply(index)
        return portion.added.ids


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_template_with_a_lower_id_that_is_committed_later_is_not_missed(database: Database) -> None:
    """A reader who asks for ids beyond the last one it saw would miss it."""
    index = Index(Gallery(model=MODEL, dim=DIM), 0)
    with database.write() as slow:
        early = insert_template(slow)
        with database.write() as quick:
            late = insert_template(quick)
            record_additions(quick, [(late.id, late.person_id)])
        assert early.id < late.id
        assert follow(database, index) == [late.id]
        record_additions(slow, [(early.id, early.person_id)])
        assert follow(database, index) == []
    assert follow(database, index) == [early.id]
    assert index.revision == 2


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_whoever_takes_a_number_later_commits_later(database: Database) -> None:
    """With a sequence, revision 2 could be seen while revision 1 is not committed yet, and 1 be passed over."""
    index = Index(Gallery(model=MODEL, dim=DIM), 0)
    second_is_done = threading.Event()

    def second() -> None:
        with database.write() as session:
            make_template(session=session, person=make_person(session=session))
        second_is_done.set()

    with database.write() as first:
        template = make_template(session=first, person=make_person(session=first))
        other = threading.Thread(target=second)
        other.start()
        assert not second_is_done.wait(0.5)
        assert follow(database, index) == []
    other.join()
    with database.read() as session:
        revisions = session.execute(select(GalleryChange.revision, GalleryChange.template_id)).all()
    assert sorted(revisions)[0] == (1, template.id)
    assert len(follow(database, index)) == 2


def test_a_number_that_is_rolled_back_is_given_again_so_there_are_no_gaps(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:
        make_template(session=session, person=make_person(session=session))
        assert current_revision(session) == 1
        raise RuntimeError
    with database.write() as session:
        make_template(session=session, person=make_person(session=session))
    with database.read() as session:
        assert session.scalars(select(GalleryChange.revision)).all() == [1]


def test_concurrent_writers_of_whom_some_fail_leave_revisions_without_gaps(database: Database) -> None:
    n_writers, n_each = 5, 8

    def write() -> None:
        for n in range(n_each):
            try:
                with database.write() as session:
                    make_template(session=session, person=make_person(session=session))
                    if n % 4 == 3:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass

    index, is_over, seen = Index(Gallery(model=MODEL, dim=DIM), 0), threading.Event(), list[int]()

    def read() -> None:
        while not is_over.is_set():
            seen.extend(follow(database, index))

    reader = threading.Thread(target=read)
    reader.start()
    run_together(*[write] * n_writers)
    with database.read() as session:
        stored = session.scalars(select(Template.id)).all()
        revisions = session.scalars(select(GalleryChange.revision).order_by(GalleryChange.revision)).all()
    try:
        await_true(lambda: len(seen) == len(stored))
    finally:
        is_over.set()
        reader.join()
    assert revisions == list(range(1, n_writers * (n_each - 2) + 1))
    assert sorted(seen) == sorted(stored)


def test_a_load_sees_one_state_of_the_database_however_long_it_takes(database: Database) -> None:
    with database.write() as session:
        make_template(session=session, person=make_person(session=session))
    with database.snapshot() as session:
        assert current_revision(session) == 1
        with database.write() as other:
            make_template(session=other, person=make_person(session=other))
        index = load(session, model=MODEL, dim=DIM)
    assert (index.revision, index.gallery.n_templates) == (1, 1)
    assert len(follow(database, index)) == 1


def test_compaction_deletes_the_oldest_revisions_whole(database: Database) -> None:
    for _ in range(4):
        with database.write() as session:
            person = make_person(session=session)
            rows = [make_template_row(session, person) for _ in range(3)]
            session.add_all(rows)
            session.flush()
            record_additions(session, [(row.id, person.id) for row in rows])
    with database.write() as session:
        assert queries.delete_changes(session, 3, 2) == 6
        assert queries.delete_changes(session, 3, 2) == 3
        assert queries.delete_changes(session, 3, 2) == 0
        assert queries.n_changes(session) == 3
        assert queries.delete_changes(session, 99, 99) == 0  # the newest revision stays

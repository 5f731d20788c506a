"""The gallery in memory equals the database, on both databases, whoever writes and whenever it looks."""

import threading
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, event, select, update

from app.db.engine import Database, open_database
from app.db.tables import GalleryChange, GalleryState, Person, Template
from app.errors import ProblemError
from app.gallery import changes, queries
from app.gallery.replica import GalleryReplica, OtherModelError
from app.gallery.upkeep import Upkeep
from app.people import service as people
from app.people.schemas import PersonUpdate
from app.settings import Settings
from ml.errors import ModelError
from tests.app.factories import make_person, make_principal, make_template

MODEL, DIM = "dlib-resnet/1", 128
Start = Callable[..., GalleryReplica]


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The writers' connections; no application is started here."""
    database = open_database(settings)
    yield database
    database.dispose()


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Starts replicas, each with connections of its own, as another process would have; none follows by itself.

    What is given is done by somebody else between two statements of the load.
    """
    opened: list[Database] = []

    def start(meanwhile: Callable[[], object] | None = None) -> GalleryReplica:
        own = open_database(settings)
        opened.append(own)
        if meanwhile is not None:
            do_before_templates_are_read(own, meanwhile)
        replica = GalleryReplica(own, model=MODEL, dim=DIM)
        replica.rebuild()
        return replica

    yield start
    for own in opened:
        own.dispose()


def do_before_templates_are_read(database: Database, deed: Callable[[], object]) -> None:
    waiting = [deed]

    def act(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM templates" in statement and waiting:
            waiting.pop(0)()

    event.listen(database.engine, "before_cursor_execute", act)


def add_person(database: Database, n_templates: int = 1) -> str:
    """A new person, one revision per template."""
    with database.write() as session:
        person = make_person(session=session)
        for _ in range(n_templates):
            make_template(session=session, person=person)
        return person.id


def erase(database: Database, person_id: str) -> None:
    with database.write() as session:
        people.erase(session, person_id, make_principal())


def set_active(database: Database, person_id: str, active: bool) -> None:
    with database.write() as session:
        people.update(session, person_id, PersonUpdate(active=active), make_principal(), "UTC")


def held(replica: GalleryReplica) -> list[int]:
    return [int(template_id) for template_id in replica.snapshot()[0].template_ids]


def stored(database: Database) -> list[int]:
    """What a replica ought to hold."""
    with database.read() as session:
        query = select(Template.id).join(Person, Person.id == Template.person_id).where(Person.active)
        return list(session.scalars(query.order_by(Template.id)))


def stored_revision(database: Database) -> int:
    with database.read() as session:
        return changes.current_revision(session)


def await_true(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = monotonic() + timeout_s
    while not condition():
        assert monotonic() < deadline, "it did not come true in time"
        sleep(0.01)


def run_together(*jobs: Callable[[], None]) -> None:
    """Run every job in a thread of its own and pass on what went wrong in any of them."""
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_it_loads_what_is_stored(database: Database, start: Start) -> None:
    one, other = add_person(database, 2), add_person(database)
    snapshot, version = start().snapshot()
    with database.read() as session:
        rows = session.scalars(select(Template).order_by(Template.id)).all()
    assert snapshot.model == MODEL
    assert snapshot.template_ids.tolist() == [row.id for row in rows]
    assert [snapshot.person_ids[row] for row in snapshot.person_rows] == [one, one, other]
    assert np.array_equal(snapshot.embeddings, [np.frombuffer(row.embedding, "<f4") for row in rows])
    assert (version.n_people, version.n_templates, version.revision) == (2, 3, 3)


def test_an_empty_database_is_an_empty_gallery(start: Start) -> None:
    replica = start()
    version = replica.version()
    assert replica.is_loaded
    assert (version.n_people, version.n_templates, version.revision) == (0, 0, 0)


def test_it_is_not_loaded_before_it_was_started(database: Database) -> None:
    assert not GalleryReplica(database, model=MODEL, dim=DIM).is_loaded


def test_many_templates_are_loaded_in_portions(
    database: Database, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_person(database, 7)
    for page in (1, 3, 7):  # portions that end within, at and beyond the last row
        monkeypatch.setattr(queries, "_LOAD_ROWS", page)
        assert held(start()) == stored(database)


def test_a_replica_catches_up_with_what_others_wrote(database: Database, start: Start) -> None:
    add_person(database)
    first, second = start(), start()
    add_person(database, 2)
    assert len(held(second)) == 1
    assert first.catch_up() == second.catch_up() == stored_revision(database) == 3
    assert held(first) == held(second) == stored(database)


def test_many_changes_are_applied_in_portions(
    database: Database, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = start()
    add_person(database, 7)
    monkeypatch.setattr("app.gallery.loading._REVISIONS_AT_ONCE", 3)
    monkeypatch.setattr(queries, "_IDS_AT_ONCE", 2)
    assert replica.catch_up() == 7
    assert held(replica) == stored(database)


def test_a_template_that_came_and_went_unseen_leaves_nothing(database: Database, start: Start) -> None:
    stays = add_person(database)
    replica = start()
    erase(database, add_person(database, 2))
    assert replica.catch_up() == stored_revision(database)
    assert held(replica) == stored(database)
    assert replica.snapshot()[0].person_ids == (stays,)


def test_additions_and_removals_are_applied_in_their_order(database: Database, start: Start) -> None:
    ends_active, ends_inactive = add_person(database, 2), add_person(database)
    replica = start()
    set_active(database, ends_active, False)
    set_active(database, ends_active, True)
    set_active(database, ends_inactive, False)
    set_active(database, ends_inactive, True)
    set_active(database, ends_inactive, False)
    replica.catch_up()
    assert replica.snapshot()[0].person_ids == (ends_active,)
    assert held(replica) == stored(database)
    assert len(replica.embeddings_of(ends_active)) == 2


def test_people_who_are_not_active_are_not_loaded(database: Database, start: Start) -> None:
    here, away = add_person(database), add_person(database, 2)
    set_active(database, away, False)
    replica = start()
    assert replica.snapshot()[0].person_ids == (here,)
    set_active(database, away, True)
    replica.catch_up()
    assert set(replica.snapshot()[0].person_ids) == {here, away}
    assert held(replica) == stored(database)


def test_an_erased_person_is_found_no_more(database: Database, start: Start) -> None:
    person_id = add_person(database)
    with database.read() as session:
        probe = np.frombuffer(session.scalars(select(Template.embedding)).one(), "<f4")[None]
    replica = start()
    assert replica.search(probe, 1)[0][0].person_ids == (person_id,)
    erase(database, person_id)
    replica.catch_up()
    hits, version = replica.search(probe, 1)
    assert hits[0].person_ids == ()
    assert (version.n_people, version.n_templates) == (0, 0)


def test_what_is_committed_in_the_middle_of_a_load_is_neither_missed_nor_doubled(
    database: Database, start: Start
) -> None:
    erased, stays, away, back = (add_person(database, n) for n in (2, 3, 1, 2))

    def meanwhile() -> None:
        add_person(database, 2)
        erase(database, erased)
        set_active(database, away, False)
        set_active(database, back, False)
        set_active(database, back, True)

    replica = start(meanwhile)
    assert replica.version().revision == replica.catch_up() == stored_revision(database)
    assert held(replica) == stored(database)
    assert set(replica.snapshot()[0].person_ids) >= {stays, back}
    assert len(held(replica)) == 7


def test_what_is_written_while_a_replica_loads_is_neither_missed_nor_doubled(
    database: Database, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_LOAD_ROWS", 3)  # a load of many pages, so that writers come between
    replicas = [start()]

    def write() -> None:
        person_ids = []
        for step in range(12):
            person_ids.append(add_person(database, 1 + step % 3))
            if step % 3 == 2:
                erase(database, person_ids.pop(0))
            if step % 4 == 3:
                set_active(database, person_ids[-1], False)

    def load() -> None:
        replicas.extend(start() for _ in range(5))

    run_together(write, write, write, load)
    for replica in replicas:
        assert replica.catch_up() == stored_revision(database)
        assert held(replica) == stored(database)
        assert len(set(held(replica))) == len(held(replica))


def test_the_revision_never_goes_backwards(database: Database, start: Start) -> None:
    replica = start()
    is_over = threading.Event()

    def write() -> None:
        for _ in range(15):
            erase(database, add_person(database))
        is_over.set()

    def follow() -> None:
        last = 0
        while not is_over.is_set():
            reached, shown = replica.catch_up(), replica.version().revision
            assert last <= reached <= shown
            last = shown

    run_together(write, follow, follow, follow)
    assert replica.catch_up() == stored_revision(database) == 30


def test_a_replica_that_was_away_longer_than_the_log_reaches_loads_everything_anew(
    database: Database, start: Start
) -> None:
    gone = add_person(database, 2)
    replica, follower_in_time = start(), start()
    erase(database, gone)
    add_person(database, 3)
    follower_in_time.catch_up()
    with database.write() as session:
        queries.delete_changes(session, stored_revision(database) - 1, 1000)
    add_person(database)
    for each in (replica, follower_in_time):
        assert each.catch_up() == stored_revision(database)
        assert held(each) == stored(database)


def test_a_replica_notices_a_database_that_went_back_in_time(database: Database, start: Start) -> None:
    """As when a backup is restored under it."""
    add_person(database)
    replica = start()
    erase(database, add_person(database))
    replica.catch_up()
    with database.write() as session:
        session.execute(delete(GalleryChange).where(GalleryChange.revision > 1))
        first = session.scalars(select(GalleryChange.stamp)).one()
        session.execute(update(GalleryState).values(revision=1, stamp=first))
    assert replica.catch_up() == 1
    assert held(replica) == stored(database)


def test_a_revision_that_was_given_twice_is_not_taken_for_the_one_that_is_known(
    database: Database, start: Start
) -> None:
    """As when a standby takes over that has not heard of the last change."""
    add_person(database)
    replica, late = start(), start()
    lost = add_person(database)
    replica.catch_up()
    with database.write() as session:
        session.execute(delete(Person).where(Person.id == lost))
        session.execute(delete(GalleryChange).where(GalleryChange.revision == 2))
        first = session.scalars(select(GalleryChange.stamp).where(GalleryChange.revision == 1)).one()
        session.execute(update(GalleryState).values(revision=1, stamp=first))
    kept = add_person(database)
    add_person(database)
    for each in (replica, late):
        assert each.catch_up() == 3
        assert held(each) == stored(database)
        assert lost not in each.snapshot()[0].person_ids
        assert kept in each.snapshot()[0].person_ids


def test_many_who_find_the_log_too_short_load_everything_once(settings: Settings, database: Database) -> None:
    own, loads = open_database(settings), list[str]()
    replica = GalleryReplica(own, model=MODEL, dim=DIM)
    replica.rebuild()
    add_person(database, 2)
    with database.write() as session:
        queries.delete_changes(session, 2, 1000)

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "templates.embedding" in statement:
            loads.append(statement)

    event.listen(own.engine, "before_cursor_execute", count)
    run_together(*[lambda: replica.catch_up()] * 6)
    own.dispose()
    assert held(replica) == stored(database)
    assert len(loads) == 1


def test_nobody_who_is_in_a_transaction_waits_for_a_load(database: Database, start: Start) -> None:
    replica = start()
    add_person(database)
    with database.write() as session:
        queries.delete_changes(session, 1, 1000)
    add_person(database)
    with database.write() as session:
        queries.delete_changes(session, 1, 1000)
    with database.write() as session, pytest.raises(ProblemError, match="loading the gallery anew"):
        replica.catch_up(session)
    assert held(replica) == []


def test_a_rebuild_swaps_in_what_is_stored_and_searches_go_on(database: Database, start: Start) -> None:
    person_id = add_person(database, 3)
    with database.read() as session:
        probe = np.frombuffer(session.scalars(select(Template.embedding)).first(), "<f4")[None]
    replica, is_over = start(), threading.Event()
    n_searches: list[int] = []

    def rebuild() -> None:
        while not is_over.is_set():
            replica.rebuild()

    def write() -> None:
        for _ in range(8):
            add_person(database, 2)
            replica.catch_up()
        is_over.set()

    def search() -> None:
        last = 0
        while not is_over.is_set():
            hits, version = replica.search(probe, 1)
            assert person_id in hits[0].person_ids
            assert version.revision >= last
            last = version.revision
            n_searches.append(1)

    run_together(rebuild, write, search, search)
    assert len(n_searches) > 1
    assert replica.catch_up() == stored_revision(database)
    assert held(replica) == stored(database)


def test_templates_of_another_backbone_are_refused_and_it_says_what_to_do(database: Database) -> None:
    with database.write() as session:
        queries.claim_model(session, "sface/1")
    replica = GalleryReplica(database, model=MODEL, dim=DIM)
    with pytest.raises(ModelError, match=r"sface/1.*dlib-resnet/1.*ROLLCALL_BACKBONE"):
        Upkeep(database, replica, "api").start()
    assert not replica.is_loaded


def test_data_belongs_to_the_first_backbone_that_claims_it(database: Database) -> None:
    for _ in range(2):
        with database.write() as session:
            queries.claim_model(session, MODEL)
    with pytest.raises(ModelError, match=r"dlib-resnet/1.*sface/1"), database.write() as session:
        queries.claim_model(session, "sface/1")
    with database.read() as session:
        assert queries.stored_model(session) == session.scalars(select(GalleryState.model)).one() == MODEL


def test_a_replica_that_started_before_another_backbone_claimed_the_data_takes_nothing_of_it(
    database: Database, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.gallery.replica.STALE_AFTER_S", 0.1)
    replica = start()
    with database.write() as session:
        queries.claim_model(session, "sface/1")
        make_template(session=session, person=make_person(session=session), model="sface/1")
    with pytest.raises(OtherModelError, match=r"sface/1"):
        replica.catch_up()
    assert held(replica) == []
    await_true(lambda: replica.trouble is not None)


def test_it_reads_on_the_session_of_whoever_is_in_a_transaction(database: Database, start: Start) -> None:
    replica = start()
    add_person(database, 2)
    with database.write() as session:
        queries.lock_gallery(session)
        assert replica.catch_up(session) == 2
    assert held(replica) == stored(database)


def test_it_says_when_it_has_not_been_able_to_look_for_long(
    database: Database, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "being loaded" in str(GalleryReplica(database, model=MODEL, dim=DIM).trouble)
    replica = start()
    assert replica.trouble is None
    monkeypatch.setattr("app.gallery.replica.STALE_AFTER_S", 0.0)
    assert "last compared with the database" in str(replica.trouble)
    monkeypatch.setattr("app.gallery.replica.STALE_AFTER_S", 60.0)
    assert replica.trouble is None


def test_waiting_for_a_revision_applies_it(database: Database, start: Start) -> None:
    replica = start()
    add_person(database)
    replica.wait_for(1)
    assert held(replica) == stored(database)
    replica.wait_for(0)  # what is long past is no reason to wait


def test_waiting_ends_as_soon_as_somebody_writes_the_revision(database: Database, start: Start) -> None:
    replica = start()
    writer = threading.Timer(0.15, add_person, [database])
    writer.start()
    replica.wait_for(1)
    writer.join()
    assert replica.version().revision == 1


def test_waiting_in_vain_is_503_and_says_when_to_come_back(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.gallery.replica.WAIT_FOR_REVISION_S", 0.1)
    with pytest.raises(ProblemError) as refusal:
        start().wait_for(1)
    assert (refusal.value.status_code, refusal.value.code) == (503, "gallery_behind")
    assert refusal.value.headers is not None and "Retry-After" in refusal.value.headers


def test_a_replica_that_stops_keeps_nobody_waiting(start: Start) -> None:
    replica = start()
    replica.close()
    started = monotonic()
    with pytest.raises(ProblemError, match="gallery revision 1"):
        replica.wait_for(1)
    assert monotonic() - started < 2

"""An audit finds every way in which an index can differ from the database, and what is done about it."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from app.db.engine import Database, open_database
from app.db.tables import GalleryChange, GalleryState, Template
from app.gallery import queries, registry
from app.gallery.audit import compare
from app.gallery.caretaker import KEEP_LOG, Caretaker
from app.gallery.replica import GalleryReplica
from app.settings import Settings
from ml.gallery import GalleryContents
from tests.app.factories import make_person, make_template
from tests.app.gallery.test_replica import DIM, MODEL, add_person, held, run_together, set_active, stored


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.dispose()


@pytest.fixture
def replica(database: Database) -> GalleryReplica:
    """Holds five templates of three people."""
    for n in (2, 2, 1):
        add_person(database, n)
    replica = GalleryReplica(database, model=MODEL, dim=DIM)
    replica.rebuild()
    return replica


def make_contents(*, ids: list[int], people: list[str], sums: list[int]) -> GalleryContents:
    return GalleryContents(np.array(ids, dtype=np.int64), tuple(people), np.array(sums, dtype=np.uint64))


def test_differences_are_counted_by_kind() -> None:
    stored = make_contents(ids=[1, 2, 3, 4, 5], people=["a", "a", "b", "b", "c"], sums=[1, 2, 3, 4, 5])
    indexed = make_contents(ids=[2, 3, 4, 5, 6, 7], people=["a", "b", "a", "c", "d", "d"], sums=[2, 9, 9, 5, 6, 7])
    report = compare(stored, indexed, n_misfused=1, revision=8)
    assert (report.n_stored, report.n_indexed) == (5, 6)
    assert (report.n_missing, report.n_extra, report.n_misassigned, report.n_altered) == (1, 2, 1, 2)
    assert (report.n_differences, report.is_clean, report.revision) == (7, False, 8)


def test_a_replica_that_is_as_it_should_be_is_clean(replica: GalleryReplica, database: Database) -> None:
    report = replica.audit()
    assert (report.is_clean, report.n_stored, report.n_indexed, report.revision) == (True, 5, 5, 5)
    other = GalleryReplica(database, model=MODEL, dim=DIM)
    other.rebuild()
    assert other.audit().fingerprint == report.fingerprint


def test_an_audit_applies_what_is_committed_and_leaves_out_who_is_not_active(
    replica: GalleryReplica, database: Database
) -> None:
    before = replica.audit().fingerprint
    away = add_person(database, 3)
    set_active(database, away, False)
    report = replica.audit()
    assert (report.is_clean, report.n_stored, report.revision) == (True, 5, 9)
    assert report.fingerprint == before


def lose_template(session: Session) -> None:
    first = session.query(Template).order_by(Template.id).first()
    session.execute(delete(Template).where(Template.id == first.id))


def add_unlogged(session: Session) -> None:
    template = make_template(session=session, person=make_person(session=session))
    change = session.query(GalleryChange).filter_by(template_id=template.id).one()
    session.delete(change)
    session.flush()
    last = session.query(GalleryChange).order_by(GalleryChange.revision.desc()).first()
    # The revision stays, as a bug would leave it.
    session.execute(update(GalleryState).values(revision=last.revision, stamp=last.stamp))


def alter_one_bit(session: Session) -> None:
    first = session.query(Template).order_by(Template.id).first()
    session.execute(update(Template).where(Template.id == first.id).values(embedding=flip_last_bit(first.embedding)))


def give_to_another(session: Session) -> None:
    templates = session.query(Template).order_by(Template.id).all()
    session.execute(update(Template).where(Template.id == templates[0].id).values(person_id=templates[-1].person_id))


def flip_last_bit(embedding: bytes) -> bytes:
    return embedding[:-4] + bytes([embedding[-4] ^ 1]) + embedding[-3:]


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lose_template, "n_extra"),
        (add_unlogged, "n_missing"),
        (alter_one_bit, "n_altered"),
        (give_to_another, "n_misassigned"),
    ],
)
def test_every_difference_is_found_and_a_rebuild_mends_it(
    replica: GalleryReplica, database: Database, damage: Callable[..., None], kind: str
) -> None:
    with database.write() as session:
        damage(session)
    report = replica.audit()
    assert (getattr(report, kind), report.n_differences) == (1, 1)
    replica.rebuild()
    assert replica.audit().is_clean
    assert held(replica) == stored(database)


def test_an_audit_while_people_come_and_go_is_clean(replica: GalleryReplica, database: Database) -> None:
    reports = []

    def write() -> None:
        for _ in range(10):
            add_person(database, 2)

    def follow() -> None:
        for _ in range(20):
            replica.catch_up()

    def audit() -> None:
        reports.extend(replica.audit() for _ in range(10))

    run_together(write, write, follow, audit)
    assert [report.n_differences for report in reports] == [0] * 10
    assert replica.audit().n_stored == 45


def test_a_caretaker_does_what_its_replica_is_asked(replica: GalleryReplica, database: Database) -> None:
    caretaker = Caretaker(database, replica, "api")
    caretaker.beat()
    with database.write() as session:
        registry.request_rebuild(session)
    caretaker.look()
    with database.read() as session:
        row = registry.all_replicas(session)[0]
    assert (row.id, row.kind, row.revision, row.n_people, row.n_templates) == (caretaker.id, "api", 5, 3, 5)
    assert row.audit is not None and row.audit["n_stored"] == 5
    assert row.rebuilt_at is not None
    assert (row.audit_requested_at, row.rebuild_requested_at) == (None, None)
    caretaker.stop()
    with database.read() as session:
        assert registry.all_replicas(session) == []


def test_a_replica_that_is_found_wrong_rebuilds_itself_and_is_looked_at_again_soon(
    replica: GalleryReplica, database: Database
) -> None:
    now = [0.0]
    caretaker = Caretaker(database, replica, "api", clock=lambda: now[0])
    with database.write() as session:
        alter_one_bit(session)
    now[0] = 60.0
    caretaker.look()
    assert caretaker.latest_audit is not None and caretaker.latest_audit.n_altered == 1
    assert replica.audit().is_clean
    now[0] = 121.0
    caretaker.look()
    assert caretaker.latest_audit.is_clean


def test_the_log_is_shortened_to_a_day(replica: GalleryReplica, database: Database) -> None:
    with database.write() as session:
        oldest = session.query(GalleryChange).filter(GalleryChange.revision <= 3)
        oldest.update({"created_at": session.query(GalleryChange).first().created_at - KEEP_LOG})
    caretaker = Caretaker(database, replica, "api")
    assert caretaker.compact() == 3
    assert caretaker.compact() == 0
    with database.read() as session:
        assert [change.revision for change in queries.changes_after(session, 3, 10)] == [4, 5]
    late = GalleryReplica(database, model=MODEL, dim=DIM)
    late.rebuild()
    assert late.catch_up() == 5


def test_a_silent_replica_is_forgotten_and_comes_back_when_it_speaks(
    replica: GalleryReplica, database: Database
) -> None:
    caretaker = Caretaker(database, replica, "worker")
    caretaker.beat()
    with database.write() as session:
        registry.forget_silent(session, for_s=-1.0)
        assert registry.all_replicas(session) == []
    caretaker.stop()
    caretaker = Caretaker(database, replica, "worker")
    caretaker.beat()
    with database.read() as session:
        assert [row.id for row in registry.all_replicas(session)] == [caretaker.id]

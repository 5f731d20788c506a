from collections.abc import Iterator

import pytest
from sqlalchemy import URL, delete, select, update

from app.auth.scopes import Principal, Scope
from app.db.engine import Database, make_engine
from app.db.tables import AuditEntry, GalleryState, Model, ModelWeights, TemplateEmbedding
from app.errors import ProblemError
from app.gallery.queries import claim_model
from app.jobs import service as jobs
from app.models import registry, service
from app.models.queries import Coverage
from app.sealing import Sealer
from ml.backbones.cards import find_card
from ml.errors import ModelError
from tests.app.factories import make_person
from tests.app.models.factories import (
    BACKBONE,
    BY,
    SEALER,
    WORD,
    make_champion,
    make_embedded,
    make_model,
    make_templates,
)

ADMIN = Principal("key_test", Scope.ADMIN)
CHALLENGER = "dlib-resnet+projection/1"
both = pytest.mark.parametrize("backend", ["sqlite", "postgres"], indirect=True)
"""For what is written in SQL of its own."""


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def database(url: URL) -> Iterator[Database]:
    database = Database(make_engine(url))
    yield database
    database.dispose()


def keep_ready(database: Database, word: str) -> None:
    """As if a switch had left it behind."""
    with database.write() as session:
        session.execute(update(GalleryState).values(standby_model=word))


def refusal(database: Database, model_id: str) -> str:
    with pytest.raises(ProblemError) as refused:
        service.discard(database, model_id, ADMIN)
    return f"{refused.value.status_code} {refused.value.code}"


@both
def test_the_first_network_is_the_champion_however_often_the_service_starts(database: Database) -> None:
    with database.write() as session:
        session.execute(delete(Model))
    with database.read() as session, pytest.raises(ProblemError) as refused:
        registry.champion(session)
    assert refused.value.code == "not_ready"
    ids = set()
    for _ in range(2):
        with database.write() as session:
            ids.add(make_champion(session=session).id)
    with database.read() as session:
        found = registry.champion(session)
        assert {found.id} == ids
        assert (found.word, found.kind, found.backbone, found.created_by) == (WORD, "backbone", BACKBONE, "system")
        assert found.promoted_at is not None
        assert registry.stored_card(found) == find_card(BACKBONE)
        assert registry.weights_of(session, found, SEALER) is None


def test_a_champion_that_nobody_was_enrolled_with_gives_way_to_what_the_settings_choose(database: Database) -> None:
    with database.write() as session:
        make_champion(session=session)
    with database.write() as session:
        make_champion(session=session, word="sface/1", backbone="sface")
        old = registry.by_word(session, WORD)
        assert registry.champion(session).word == "sface/1"
        assert old is not None and old.status == "retired"
    with database.write() as session:  # and back
        make_champion(session=session)
        assert registry.champion(session).word == WORD


def test_a_champion_with_people_gives_way_to_no_setting(database: Database) -> None:
    with database.write() as session:
        make_champion(session=session)
        claim_model(session, WORD)
    with pytest.raises(ModelError, match=WORD), database.write() as session:
        make_champion(session=session, word="sface/1", backbone="sface")
    with database.read() as session:
        assert registry.champion(session).word == WORD


def test_weights_are_stored_sealed_and_come_back_as_they_were(database: Database) -> None:
    content = bytes(range(256)) * 40
    with database.write() as session:
        model = make_model(session=session, weights=content)
    with database.read() as session:
        model = registry.by_id(session, model.id)
        row = session.scalars(select(ModelWeights)).one()
        assert content[:64] not in row.sealed_weights and row.n_bytes == len(content)
        assert registry.weights_of(session, model, SEALER) == content
        with pytest.raises(ModelError, match="ROLLCALL_SECRET_KEY"):
            registry.weights_of(session, model, Sealer(["another secret, which is long enough, too"]))


def test_weights_that_are_others_than_were_stored_are_not_used(database: Database) -> None:
    with database.write() as session:
        model = make_model(session=session)
        session.execute(update(ModelWeights).values(sealed_weights=SEALER.seal(b"smuggled in")))
    with database.read() as session, pytest.raises(ModelError, match="not those that were stored"):
        registry.weights_of(session, registry.by_id(session, model.id), SEALER)


def test_a_card_of_another_release_is_told_plainly(database: Database) -> None:
    with database.write() as session:
        model = make_model(session=session)
        model.card = {"name": "from the future"}
    with database.read() as session, pytest.raises(ModelError, match="another release"):
        registry.stored_card(registry.by_id(session, model.id))


@both
def test_the_same_network_again_is_one_model_with_the_newer_verdict(database: Database) -> None:
    with database.write() as session:
        first = make_model(session=session, word=CHALLENGER, status="refused", reason="too few people")
    with database.write() as session:
        second = make_model(session=session, word=CHALLENGER, reason="better", weights=b"the same, trained again")
    with database.read() as session:
        (only,) = session.scalars(select(Model).where(Model.word == CHALLENGER))
        assert first.id == second.id == only.id
        assert (only.status, only.reason) == ("challenger", "better")
        assert registry.weights_of(session, only, SEALER) == b"the same, trained again"


def test_what_is_in_use_keeps_its_status_when_it_is_made_again(database: Database) -> None:
    with database.write() as session:
        make_champion(session=session)
        make_model(session=session, word=CHALLENGER)
    keep_ready(database, CHALLENGER)
    with database.write() as session:
        for word in (WORD, CHALLENGER):
            make_model(session=session, word=word, status="refused", reason="no better than itself")
    with database.read() as session:
        assert registry.champion(session).word == WORD
        kept = registry.standby(session)
        assert kept is not None and (kept.word, kept.status) == (CHALLENGER, "challenger")


@both
def test_templates_are_counted_by_what_a_model_has_and_could_embed(database: Database) -> None:
    with database.write() as session:
        make_champion(session=session)
        make_model(session=session, word="finetuned/1", kind="finetune")
        ada, bob = make_person(session=session, employee_code="E1"), make_person(session=session, employee_code="E2")
        eve = make_person(session=session, employee_code="E3", name="Eve")
        gone = make_person(session=session, employee_code="E4")
        gone.active = False
        embedded, *_ = make_templates(session=session, person=ada, n=3, n_crops=2)
        make_embedded(session=session, template=embedded, word="finetuned/1")
        make_templates(session=session, person=bob, n=1, model="finetuned/1")
        make_templates(session=session, person=eve, n=2)
        make_templates(session=session, person=gone, n=5)
        make_person(session=session, employee_code="E5")  # has no templates, so nothing is lost
    with database.read() as session:
        counted = registry.coverage(session, "finetuned/1")
        assert counted == Coverage(n_templates=6, n_embedded=2, n_missing_with_crop=1, n_missing_without_crop=3)
        assert registry.n_missing(session, "finetuned/1") == 4
        (without,) = registry.people_without(session, "finetuned/1")
        assert (without.person.id, without.person.name, without.n_templates) == (eve.id, "Eve", 2)
        assert registry.n_missing(session, WORD) == 1
        assert [each.person.id for each in registry.people_without(session, WORD)] == [bob.id]


@both
def test_a_projection_needs_no_crop_where_what_it_stands_on_has_embedded_the_face(database: Database) -> None:
    with database.write() as session:
        make_champion(session=session)
        make_model(session=session, word=CHALLENGER)
        make_model(session=session, word=f"{CHALLENGER}-plain")
        ada, bob = make_person(session=session), make_person(session=session)
        make_templates(session=session, person=ada, n=2)
        since, _ = make_templates(session=session, person=bob, n=2, model="other/1")
        make_embedded(session=session, template=since, word=WORD)
    with database.read() as session:
        counted = registry.coverage(session, CHALLENGER)
        assert counted == Coverage(n_templates=4, n_embedded=0, n_missing_with_crop=3, n_missing_without_crop=1)
        assert registry.people_without(session, CHALLENGER) == []
        assert registry.base_word(session, f"{CHALLENGER}-plain") is None  # only the mirrored network is here
        assert len(registry.people_without(session, f"{CHALLENGER}-plain")) == 2


@both
def test_a_database_without_templates_lacks_nothing(database: Database) -> None:
    with database.write() as session:
        make_champion(session=session)
        assert registry.coverage(session, WORD) == Coverage(0, 0, 0, 0)
        assert registry.people_without(session, WORD) == []


@both
def test_a_discarded_model_leaves_nothing_but_its_line_in_the_audit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_EMBEDDINGS_AT_ONCE", 2)
    with database.write() as session:
        make_champion(session=session)
        model = make_model(session=session, word=CHALLENGER)
        make_model(session=session, word="kept/1")
        for template in make_templates(session=session, person=make_person(session=session), n=5):
            for word in (CHALLENGER, "kept/1"):
                make_embedded(session=session, template=template, word=word)
    assert service.discard(database, model.id, ADMIN).n_embeddings_deleted == 5
    with database.read() as session:
        assert registry.by_word(session, CHALLENGER) is None
        assert session.get(ModelWeights, model.id) is None
        assert set(session.scalars(select(TemplateEmbedding.model))) == {"kept/1"}
        assert len(session.scalars(select(TemplateEmbedding.template_id)).all()) == 5
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "model.discarded")).one()
        assert (entry.actor, entry.target) == (ADMIN.actor, model.id)
    assert refusal(database, model.id) == "404 model_not_found"


def test_what_a_crash_left_of_a_discarded_model_goes_with_the_next_one(database: Database) -> None:
    with database.write() as session:
        make_champion(session=session)
        (template,) = make_templates(session=session, person=make_person(session=session), n=1)
        make_embedded(session=session, template=template, word="gone/1")
    assert service.sweep(database) == 1
    assert service.sweep(database) == 0


def test_a_model_that_is_needed_cannot_be_discarded(database: Database) -> None:
    with database.write() as session:
        first = make_champion(session=session)
        promoted = make_model(session=session, word=CHALLENGER)
        other = make_model(session=session, word="dlib-resnet+projection/2")
    assert refusal(database, first.id) == "409 model_is_champion"
    keep_ready(database, CHALLENGER)
    assert refusal(database, promoted.id) == "409 model_is_standby"
    with database.write() as session:
        jobs.enqueue(session, registry.PROMOTION, {"model_id": other.id}, BY)
    assert refusal(database, other.id) == "409 model_busy"
    with database.write() as session:  # the projection is switched to, and another one kept ready
        session.execute(update(Model).where(Model.word == WORD).values(status="retired"))
        session.execute(update(Model).where(Model.word == CHALLENGER).values(status="champion"))
        session.execute(update(GalleryState).values(model=CHALLENGER, standby_model=other.word))
    assert refusal(database, first.id) == "409 model_busy"

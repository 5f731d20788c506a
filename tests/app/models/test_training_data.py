"""What a training gets to see of a database and a folder of photos, and whom it never sees."""

import hashlib
import math
import shutil
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import URL, insert, update
from sqlalchemy.orm import Session

from app.crops.cutting import as_small_jpeg, cut_face, cut_faces
from app.crops.keeping import CropKeeper
from app.db.engine import Database, make_engine
from app.db.tables import (
    DecisionRow,
    Event,
    EventCorrection,
    EventCrop,
    OperatingPointRow,
    Person,
    SuspiciousTemplateRow,
    Template,
    TemplateEmbedding,
    ThresholdState,
)
from app.db.types import utc_now
from app.gallery.queries import encode_embedding
from app.inference.port import Inference
from app.models.gathered import Alignment, GatheredFaces, Wanted, embeddings_of, person_number
from app.models.training_data import Sources, gather, newest_of_each
from app.models.training_queries import ConfirmedCapture
from app.sealing import Sealer
from app.settings import Settings
from ml.backbones.cards import find_card
from ml.errors import TrainingError
from ml.image import decode_image
from tests.app import photos
from tests.app.factories import make_embedding, make_person, make_template
from tests.app.review.factories import make_decision, make_event

DLIB = find_card("dlib-resnet")
WORD = DLIB.model
ALIGNMENT = Alignment.of(DLIB)
KEY = "a secret of sixteen and more"
STORED_ONLY = Wanted({WORD: DLIB.dim}, (ALIGNMENT,))
WITH_CHIPS = Wanted({WORD: DLIB.dim}, (ALIGNMENT,), all_chips=True)

only_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def database(url: URL) -> Iterator[Database]:
    database = Database(make_engine(url))
    yield database
    database.dispose()


def no_networks() -> Inference:
    raise AssertionError("nothing has to be looked at")


def gathered(
    database: Database,
    folder: Path,
    wanted: Wanted = STORED_ONLY,
    *,
    inference: Inference | None = None,
    **settings: Any,
) -> GatheredFaces:
    sources = Sources(
        database, Settings(**settings), Sealer([KEY]), no_networks if inference is None else lambda: inference
    )
    return gather(sources, wanted, folder, lambda share, _: check_share(share))


def check_share(share: float) -> None:
    assert 0 <= share <= 1


def enrolled(session: Session, *, n: int = 1, has_consent: bool = True, **fields: Any) -> list[Template]:
    """Somebody with `n` templates."""
    person = make_person(session=session, **fields)
    person.consent_given_at = utc_now() if has_consent else None
    return [make_template(session=session, person=person) for _ in range(n)]


def keep_crop(session: Session, template: Template, inference: Inference, photo: bytes) -> None:
    """As an enrolment leaves it: the template's own embedding, and its crop sealed."""
    image = decode_image(photo)
    sample = inference.analyze([image]).samples[0][0]
    template.embedding = encode_embedding(sample.embedding)
    keeper = CropKeeper(Sealer([KEY]), 7, keeps_templates=True)
    keeper.keep_of_templates(session, [(template.id, cut_face(image, sample))])


def make_point(session: Session) -> None:
    """Decisions stand on one; which does not matter here."""
    point = OperatingPointRow(
        id="op_test",
        threshold=0.5,
        mode="manual",
        is_suggestion=False,
        expected_fpir={},
        expected_fnir={},
        method="",
        model=WORD,
        n_people=0,
        n_templates=0,
        gallery_revision=0,
        evidence={},
        curves={},
        created_at=utc_now(),
        created_by="key:test",
    )
    session.add(point)
    session.flush()
    session.execute(update(ThresholdState).values(current_id=point.id))


@only_sqlite
def test_templates_come_with_whose_they_are_and_when(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        templates = [*enrolled(session, n=2), *enrolled(session)]
        templates[1].created_at = utc_now() - timedelta(days=3)
    faces = gathered(database, tmp_path)
    assert faces.refs == tuple(f"template:{template.id}" for template in templates)
    assert faces.people.tolist() == [person_number(template.person_id) for template in templates]
    assert faces.people[0] == faces.people[1] != faces.people[2]
    np.testing.assert_allclose(faces.times_s, [template.created_at.timestamp() for template in templates])
    stored = np.array([np.frombuffer(template.embedding, "<f4") for template in templates])
    assert np.array_equal(faces.embeddings[WORD], stored)
    assert not faces.has_chip.any()


@only_sqlite
def test_nobody_is_learned_from_who_left_withdrew_or_was_mixed_up(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        (kept,), (of_leaver,), (of_unwilling,) = (
            enrolled(session),
            enrolled(session),
            enrolled(session, has_consent=False),
        )
        session.get_one(Person, of_leaver.person_id).active = False
        (mixed_up,) = enrolled(session)
        row = SuspiciousTemplateRow(template_id=mixed_up.id, nearer_to=kept.person_id, lead=0.1)
        session.add(row)
    assert gathered(database, tmp_path).refs == (f"template:{kept.id}",)
    without_rule = gathered(database, tmp_path, require_consent=False).refs
    assert without_rule == (f"template:{kept.id}", f"template:{of_unwilling.id}")


@only_sqlite
def test_more_templates_than_one_portion_come_once_each(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        (first,) = enrolled(session)
        columns = {column.name: getattr(first, column.name) for column in Template.__table__.columns}
        session.execute(insert(Template), [{**columns, "id": first.id + n} for n in range(1, 450)])
        ids = range(first.id, first.id + 450)
    assert gathered(database, tmp_path).refs == tuple(f"template:{id_}" for id_ in ids)


def test_an_embedding_by_a_later_model_is_found_beside_the_template(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        first, second = enrolled(session, n=2)
        later = make_embedding(seed=5, dim=64)
        session.add(TemplateEmbedding(model="later/1", template_id=second.id, embedding=later))
    faces = gathered(database, tmp_path, Wanted({WORD: 128, "later/1": 64}, ()))
    assert faces.has_embedding(WORD).tolist() == [True, True]
    assert faces.has_embedding("later/1").tolist() == [False, True]
    assert np.array_equal(faces.embeddings["later/1"][1], np.frombuffer(later, "<f4"))
    assert first.id < second.id


@only_sqlite
def test_a_kept_crop_becomes_a_chip_that_embeds_as_the_photo_did(
    database: Database, inference: Inference, tmp_path: Path
) -> None:
    with database.write() as session:
        for template, photo in zip(enrolled(session, n=2), (photos.grace(), photos.grace(variant=1)), strict=True):
            keep_crop(session, template, inference, photo)
        enrolled(session)
    arcface = Alignment.of(find_card("sface"))
    chips_folder = tmp_path / "chips"
    chips_folder.mkdir()
    faces = gathered(database, chips_folder, Wanted({WORD: 128}, (ALIGNMENT, arcface), all_chips=True))
    assert faces.has_chip.tolist() == [True, True, False]
    assert {alignment.size_px: chips.shape for alignment, chips in faces.chips.items()} == {
        150: (2, 150, 150, 3),
        112: (2, 112, 112, 3),
    }
    again = inference.analyze([np.array(faces.chips[ALIGNMENT][0])]).samples[0][0]
    assert float(again.embedding @ faces.embeddings[WORD][0]) > 0.95
    assert not list(chips_folder.iterdir())


@only_sqlite
def test_only_missing_embeddings_are_made_of_chips(database: Database, inference: Inference, tmp_path: Path) -> None:
    with database.write() as session:
        by_other, own = enrolled(session, n=2)
        keep_crop(session, by_other, inference, photos.grace())
        by_other.model = "other/1"
    faces = gathered(database, tmp_path)
    assert (faces.has_embedding(WORD).tolist(), faces.has_chip.tolist()) == ([False, True], [True, False])
    made = np.full((1, 128), 1 / math.sqrt(128), dtype=np.float32)
    asked: list[int] = []

    def embed(chips: Any) -> Any:
        asked.append(len(chips))
        return made[: len(chips)]

    found = embeddings_of(faces, WORD, ALIGNMENT, lambda: embed, lambda *_: None)
    assert asked == [0, 1]
    assert np.array_equal(found[0], made[0])
    assert np.array_equal(found[1], np.frombuffer(own.embedding, "<f4"))


@only_sqlite
def test_a_crop_sealed_with_a_key_that_is_gone_is_no_picture(
    database: Database, inference: Inference, tmp_path: Path
) -> None:
    with database.write() as session:
        (template,) = enrolled(session)
        keep_crop(session, template, inference, photos.grace())
    sources = Sources(database, Settings(), Sealer(["another key of sixteen"]), no_networks)
    faces = gather(sources, WITH_CHIPS, tmp_path, lambda *_: None)
    assert (len(faces), faces.has_chip.tolist()) == (1, [False])


@cache
def crop_of_grace(inference: Inference) -> bytes:
    image = decode_image(photos.grace(variant=2))
    (crop,) = cut_faces(image, inference.analyze([image]).samples[0])
    return as_small_jpeg(crop)


def capture(session: Session, inference: Inference, person: Person | None, *, days: float = 1) -> DecisionRow:
    """Grace was seen, an hour ago, and named as this person; her crop is kept for days."""
    decision = make_decision(
        session=session,
        at=utc_now() - timedelta(hours=1),
        outcome="identified" if person else "unknown",
        person_id=person.id if person else None,
    )
    event = make_event(session=session, decision=decision)
    sealed = Sealer([KEY]).seal(crop_of_grace(inference))
    if person is not None:
        expires_at = utc_now() + timedelta(days=days)
        session.add(EventCrop(event_id=event.id, person_id=person.id, expires_at=expires_at, sealed_crop=sealed))
    session.flush()
    return decision


def say(session: Session, decision: DecisionRow, *, is_correct: bool, person: Person | None = None) -> None:
    decision.is_correct, decision.true_person_id = is_correct, person.id if person else None
    decision.judged_at, decision.judged_by = utc_now(), "key:test"
    session.flush()


def give(session: Session, decision: DecisionRow, person: Person) -> None:
    """The event and its crop are this person's, as after a correction."""
    session.execute(update(Event).where(Event.id == decision.id).values(person_id=person.id))
    session.execute(update(EventCrop).where(EventCrop.event_id == decision.id).values(person_id=person.id))


def correct_by_hand(session: Session, decision: DecisionRow, person: Person, before: Person) -> None:
    give(session, decision, person)
    said = {"before": {"person_id": before.id}, "after": {"person_id": person.id}}
    row = EventCorrection(event_id=decision.id, at=utc_now(), actor="key:test", reason="seen by eye", **said)
    session.add(row)


def test_captures_count_once_somebody_said_whose_they_are(
    database: Database, inference: Inference, tmp_path: Path
) -> None:
    with database.write() as session:
        make_point(session)
        ada, grace = (make_person(session=session) for _ in range(2))
        for person in (ada, grace):
            person.consent_given_at = utc_now()
        confirmed = capture(session, inference, grace)
        say(session, confirmed, is_correct=True)
        put_right = capture(session, inference, ada)
        say(session, put_right, is_correct=False, person=grace)
        give(session, put_right, grace)
        by_hand = capture(session, inference, ada)
        correct_by_hand(session, by_hand, grace, ada)
        capture(session, inference, grace)  # nobody said anything
        expired = capture(session, inference, grace, days=-1)
        say(session, expired, is_correct=True)
        deleted = capture(session, inference, grace)
        say(session, deleted, is_correct=True)
        session.execute(update(Event).where(Event.id == deleted.id).values(is_deleted=True))
        moved = capture(session, inference, ada)  # judged as Grace's, and the event says Ada
        say(session, moved, is_correct=False, person=grace)
    faces = gathered(database, tmp_path, WITH_CHIPS, inference=inference)
    assert set(faces.refs) == {f"event:{each.id}" for each in (confirmed, put_right, by_hand)}
    assert set(faces.people.tolist()) == {person_number(grace.id)}
    assert faces.has_chip.all()
    assert faces.has_embedding(WORD).all()
    assert np.isfinite(faces.times_s).all()


def test_of_somebody_confirmed_every_day_the_newest_captures_count() -> None:
    now = utc_now()
    newest_first = [ConfirmedCapture(f"evt_{age:02}", "per_1", now - timedelta(hours=age)) for age in range(25)]
    once = ConfirmedCapture("evt_99", "per_2", now - timedelta(days=9))
    kept = newest_of_each([*newest_first, once])
    assert [each.event_id for each in kept] == ["evt_99", *(f"evt_{age:02}" for age in reversed(range(20)))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people, one of them named by an employee code; a file that is no photo; a photo of nobody."""
    root = tmp_path / "photos"
    for person, files in {
        "Grace Hopper": {"1.jpg": photos.grace(), "2.JPG": photos.grace(variant=4), "again.jpg": photos.grace()},
        "E-7": {"1.jpg": photos.eileen(), "2.jpg": photos.eileen(variant=2), "notes.txt": b"not a photo"},
        "broken": {"1.jpg": b"not a photo", "2.jpg": photos.nobody()},
    }.items():
        (root / person).mkdir(parents=True)
        for name, content in files.items():
            (root / person / name).write_bytes(content)
    return root


@only_sqlite
def test_a_folder_has_one_person_in_each_subfolder(
    database: Database, inference: Inference, folder: Path, tmp_path: Path
) -> None:
    faces = gathered(database, tmp_path, WITH_CHIPS, inference=inference, training_data=folder)
    digests = [hashlib.sha256(photo).hexdigest() for photo in (photos.eileen(), photos.eileen(variant=2))]
    assert faces.refs[:2] == tuple(f"photo:{digest}" for digest in digests)
    keys = [f"folder:{hashlib.sha256(name.encode()).hexdigest()}" for name in ("E-7", "Grace Hopper")]
    assert faces.people.tolist() == [person_number(key) for key in keys for _ in range(2)]
    assert np.isnan(faces.times_s).all()
    assert faces.has_chip.all()
    assert not any("Grace" in ref for ref in faces.refs)
    assert np.array_equal(faces.chips[ALIGNMENT].shape, (4, 150, 150, 3))


@only_sqlite
def test_a_subfolder_named_by_an_employee_code_is_that_person_s(
    database: Database, inference: Inference, folder: Path, tmp_path: Path
) -> None:
    with database.write() as session:
        (template,) = enrolled(session, employee_code="E-7")
    shutil.rmtree(folder / "Grace Hopper")
    faces = gathered(database, tmp_path, inference=inference, training_data=folder)
    assert len(faces) == 3
    assert set(faces.people.tolist()) == {person_number(template.person_id)}
    with database.write() as session:
        session.get_one(Person, template.person_id).consent_given_at = None
    assert len(gathered(database, tmp_path, inference=inference, training_data=folder)) == 0


@only_sqlite
def test_photos_that_somebody_was_enrolled_with_are_not_used_twice(
    database: Database, inference: Inference, folder: Path, tmp_path: Path
) -> None:
    with database.write() as session:
        (template,) = enrolled(session)
        keep_crop(session, template, inference, photos.grace())
    shutil.rmtree(folder / "E-7")
    faces = gathered(database, tmp_path, inference=inference, training_data=folder)
    other = hashlib.sha256(photos.grace(variant=4)).hexdigest()
    assert faces.refs == (f"template:{template.id}", f"photo:{other}")
    assert set(faces.people.tolist()) == {person_number(template.person_id)}


@only_sqlite
def test_a_folder_that_is_not_there_is_said(database: Database, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="ROLLCALL_TRAINING_DATA"):
        gathered(database, tmp_path, training_data=tmp_path / "nowhere")


@only_sqlite
def test_nobody_is_no_faces(database: Database, tmp_path: Path) -> None:
    faces = gathered(database, tmp_path, WITH_CHIPS)
    assert (len(faces), faces.embeddings[WORD].shape) == (0, (0, 128))
    assert faces.chips[ALIGNMENT].shape == (0, 150, 150, 3)

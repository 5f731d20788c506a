"""People whose embeddings lie as those of a real network do: strangers at cosine 0.82, one person's photos at 0.95."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.db.engine import Database
from app.db.tables import Person
from tests.app.factories import make_enrolment, make_person, make_template

DIM = 128
_COMMON, _OWN, _PHOTO = 0.82, 0.13, 0.05


def face(*, seed: int, photo: int = 0) -> NDArray[np.float32]:
    """One photo of the person with this seed, `(128,)` unit-norm."""
    common = _direction(np.random.default_rng(0))
    own = _direction(np.random.default_rng([1, seed]))
    noise = _direction(np.random.default_rng([2, seed, photo]))
    mixed = np.sqrt(_COMMON) * common + np.sqrt(_OWN) * own + np.sqrt(_PHOTO) * noise
    return np.asarray(mixed / np.linalg.norm(mixed), dtype=np.float32)


def enrol_face(*, session: Session, person: Person, embeddings: list[NDArray[np.float32]]) -> list[int]:
    """One enrolment of these photos; returns template ids."""
    enrolment = make_enrolment(session=session, person=person)
    blobs = [embedding.astype("<f4").tobytes() for embedding in embeddings]
    return [make_template(session=session, person=person, enrolment=enrolment, embedding=blob).id for blob in blobs]


def enrol_crowd(*, database: Database, n_people: int, n_photos: int = 3, first_seed: int = 100) -> list[str]:
    """People with photos, in one transaction; returns their ids."""
    with database.write() as session:
        ids = []
        for seed in range(first_seed, first_seed + n_people):
            person = make_person(session=session)
            enrol_face(session=session, person=person, embeddings=[face(seed=seed, photo=i) for i in range(n_photos)])
            ids.append(person.id)
        return ids


def _direction(generator: np.random.Generator) -> NDArray[np.float64]:
    vector = generator.normal(size=DIM)
    return np.asarray(vector / np.linalg.norm(vector))

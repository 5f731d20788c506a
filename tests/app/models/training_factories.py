"""Makes people whose stored embeddings are drawn, so that a training takes a second. Every argument is a keyword."""

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.db.engine import Database
from app.db.tables import Enrolment, Model, Person, Template, TrainingRun
from app.db.types import new_id, utc_now
from app.jobs import service as jobs
from app.models import registry
from app.people.schemas import PersonCreate
from app.people.service import row_of
from ml.backbones.cards import find_card

BACKBONE = "dlib-resnet"
CARD = find_card(BACKBONE)
DIM = CARD.dim
BY = "key:test"
_N_NUISANCE = 6


def draw_embeddings(*, n_people: int, n_faces: int, nuisance: float, seed: int = 0) -> NDArray[np.float32]:
    """`(n_people, n_faces, D)` unit vectors as close together as the network's own.

    A few directions say nothing about who it is, as the light does; `nuisance` is how much: whoever learns to leave
    them out is better.
    """
    rng = np.random.default_rng(seed)
    middle = np.full(DIM, 1 / np.sqrt(DIM))
    who = rng.normal(size=(n_people, 1, DIM)) / np.sqrt(DIM)
    noise = rng.normal(size=(n_people, n_faces, DIM)) / np.sqrt(DIM)
    directions = np.linalg.qr(np.random.default_rng(99).normal(size=(DIM, _N_NUISANCE)))[0]
    light = rng.normal(size=(n_people, n_faces, _N_NUISANCE)) @ directions.T / np.sqrt(_N_NUISANCE)
    drawn = middle + 0.42 * who + 0.24 * noise + nuisance * light
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def make_crowd(*, session: Session, n_people: int, n_faces: int = 4, nuisance: float = 0.3) -> None:
    """People who consented, each enrolled with drawn embeddings, a day between two of them."""
    drawn = draw_embeddings(n_people=n_people, n_faces=n_faces, nuisance=nuisance)
    now = utc_now()
    for number, faces in enumerate(drawn):
        row = row_of(PersonCreate(employee_code=f"E-{number:04}", name="Somebody"))
        # Ids decide who judges: they must not change from run to run.
        person = Person(**{**row, "id": f"per_{number:06}", "consent_given_at": now})
        enrolment = Enrolment(id=new_id("enr"), person_id=person.id, kind="images", status="done", created_at=now)
        session.add(person)
        session.flush()
        session.add(enrolment)
        session.flush()
        common = {"person_id": person.id, "enrolment_id": enrolment.id, "model": CARD.model, "source": {}}
        pose = {"quality": 0.9, "yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0}
        rows = [
            {**common, **pose, "embedding": face.tobytes(), "created_at": now - timedelta(days=n_faces - day)}
            for day, face in enumerate(faces)
        ]
        session.execute(insert(Template), rows)


def make_champion(*, session: Session) -> Model:
    return registry.ensure_champion(session, CARD.model, BACKBONE, CARD)


def make_retraining(*, database: Database, strategy: str = "projection", policy: str = "never", seed: int = 0) -> str:
    """A queued training, as `POST /v1/retrain` leaves it; returns the job's id."""
    with database.write() as session:
        asked = {"strategy": strategy, "policy": policy, "seed": seed}
        job = jobs.enqueue(session, "retrain", asked, BY)
        session.add(TrainingRun(job_id=job.id, strategy=strategy, policy=policy, seed=seed, created_at=utc_now()))
        return job.id

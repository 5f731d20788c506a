"""Templates of clips and of unknown faces have crops too."""

from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import select
from starlette.testclient import TestClient

from app.db.engine import Database
from app.db.tables import Template, TemplateCrop
from app.db.types import utc_now
from app.gallery.queries import decode_embeddings
from app.inference.clips import TO_ENROLL, TO_SEARCH, ClipReader, video_limits
from app.inference.port import Inference
from app.sealing import Sealer
from app.settings import Settings
from tests.app import clips
from tests.app.enrolment.test_videos import Worker, enrolled
from tests.app.review.factories import make_site
from tests.app.review.test_assign import GRACE, assign, keep, only_cluster

Headers = dict[str, str]


@pytest.fixture
def worker(app: FastAPI, client: TestClient, inference: Inference) -> Iterator[Worker]:
    worker = Worker(app, inference)
    yield worker
    worker.close()


def crops_of(database: Database, sealer: Sealer) -> list[tuple[Template, Image.Image]]:
    """Every template with its crop."""
    with database.read() as session:
        rows = session.execute(
            select(Template, TemplateCrop).join(TemplateCrop, TemplateCrop.template_id == Template.id)
        ).all()
    return [(template, Image.open(BytesIO(sealer.open(crop.sealed_crop)))) for template, crop in rows]


def test_every_template_of_a_clip_has_the_crop_of_its_own_frame(
    client: TestClient, operator: Headers, worker: Worker, app: FastAPI, inference: Inference, tmp_path: Path
) -> None:
    done = enrolled(client, operator, worker, "E1", clips.eileen(tmp_path / "e.mp4"))
    kept = crops_of(app.state.database, app.state.sealer)
    assert len(kept) == len(done["templates"]) >= 3
    for template, crop in kept:
        seen = inference.analyze([np.asarray(crop.convert("RGB"))]).samples[0]
        assert float(seen[0].embedding @ decode_embeddings([template.embedding], 128)[0]) > 0.97


def test_a_clip_that_is_read_holds_no_crop_unless_it_is_to_enrol(
    inference: Inference, settings: Settings, tmp_path: Path
) -> None:
    path = clips.eileen(tmp_path / "e.mp4")
    searched = ClipReader(inference, video_limits(settings), TO_SEARCH).read(path, lambda _: None)
    assert not searched.crops
    seen = ClipReader(inference, video_limits(settings), TO_ENROLL, keeps_crops=True).read(path, lambda _: None)
    assert 3 <= len(seen.crops) <= seen.n_frames


def test_unknown_faces_that_are_assigned_leave_crops_of_their_templates(
    client: TestClient, operator: Headers, app: FastAPI
) -> None:
    database, sealer = app.state.database, app.state.sealer
    with database.write() as session:
        make_site(session=session)
    keep(database, sealer, utc_now() - timedelta(hours=2), *GRACE)
    new = {"employee_code": "G1", "name": "Grace", "consent": True}
    answer = assign(client, operator, only_cluster(client, operator), **new)
    assert answer.status_code == 200, answer.text
    assert len(crops_of(database, sealer)) == len(answer.json()["enrolment"]["templates"]) >= 1

"""A model that is as good as the champion and shares no number with it: every embedding is turned by a rotation."""

from dataclasses import replace

import numpy as np

from app.db.engine import Database
from app.db.tables import Model
from app.models import registry
from app.sealing import Sealer
from ml.backbones.cards import find_card
from ml.backbones.trained_file import TrainedWeights, to_bytes

BASE = "dlib-resnet/1"


def make_rotation(*, database: Database, sealer: Sealer, seed: int = 0) -> Model:
    """A challenger. Where it is mixed with the champion in any way, nobody is recognised."""
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(128, 128)))[0].astype(np.float32)
    card = replace(find_card("dlib-resnet"), name="dlib-resnet+projection", version=f"{seed:08x}")
    tensors = {"weight": rotation, "bias": np.zeros(128, np.float32)}
    with database.write() as session:
        return registry.add(
            session,
            kind="projection",
            backbone="dlib-resnet",
            card=card,
            status="challenger",
            reason="a test says so",
            report=None,
            job_id=None,
            by="test",
            weights=to_bytes(TrainedWeights("projection", "dlib-resnet", BASE, card, tensors)),
            sealer=sealer,
        )

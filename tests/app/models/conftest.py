"""Two replicas and a worker that modules of tests share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.inference.loading import load_inference
from app.inference.port import Inference
from app.settings import Settings
from tests.app.models.deployment import Deployment


@pytest.fixture(scope="package")
def inferences(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Inference]]:
    """Networks for two replicas and a worker, each its own: what one of them switches to is no other's business."""
    folder = tmp_path_factory.mktemp("models")
    made = [load_inference(Settings(data_dir=folder, engine="torch/float32/1")) for _ in range(3)]
    yield made
    for inference in made:
        inference.close()


@pytest.fixture
def deployment(settings: Settings, inferences: list[Inference]) -> Iterator[Deployment]:
    with ExitStack() as stack:
        yield Deployment(settings, inferences, stack)

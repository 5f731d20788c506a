"""One set of networks for all tests here, and one evaluation of a small folder."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml.evaluation.cache import ArrayCache
from ml.evaluation.report import Circumstances
from ml.evaluation.run import (
    BackboneNetworks,
    Machine,
    ModelResult,
    Options,
    choose_protocol,
    evaluate,
    load_backbones,
)
from ml.evaluation.samples import PhotoReader
from tests.ml.evaluation.photo_folders import make_folder

MACHINE = Machine(detector="mtcnn", device="cpu", models_dir=None, min_face_px=40)
OPTIONS = Options(is_plain_measured=True)


@pytest.fixture(scope="session")
def backbones() -> list[BackboneNetworks]:
    return load_backbones(["dlib-resnet", "dlib-resnet"], MACHINE, OPTIONS)


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def results(
    backbones: list[BackboneNetworks], small_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[ModelResult]:
    networks = [network for backbone in backbones for network in backbone.all]
    reader = PhotoReader(networks, ArrayCache(tmp_path_factory.mktemp("cache")), min_face_px=40)
    protocol = choose_protocol(small_folder, None, OPTIONS)
    return evaluate(protocol, backbones, reader, OPTIONS, lambda n_done, n_new: None)


@pytest.fixture(scope="session")
def circumstances() -> Circumstances:
    return Circumstances(datetime(2026, 7, 29, 12, 0, 0, 5, tzinfo=UTC), "R&D <people>", MACHINE, 1.25)

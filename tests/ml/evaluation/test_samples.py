from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ml.enrolling import Photo
from ml.evaluation.cache import ArrayCache
from ml.evaluation.networks import Network
from ml.evaluation.run import BackboneNetworks
from ml.evaluation.samples import Analyzed, PhotoReader, main_face
from ml.image import decode_image
from ml.types import Sample
from tests.ml.evaluation.photo_folders import write_photo
from tests.ml.faces import astronaut, grace_hopper
from tests.ml.factories import make_embeddings, make_sample


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("samples")
    grace = write_photo(folder / "grace.jpg", image=grace_hopper())
    eileen = write_photo(folder / "eileen.jpg", image=astronaut(), variant=1)
    nobody = write_photo(folder / "nobody.jpg", image=np.full((300, 260, 3), 128, dtype=np.uint8))
    broken = folder / "broken.jpg"
    broken.write_bytes(grace.read_bytes()[:2000])
    return [grace, eileen, nobody, broken]


class Counter:
    """Remembers the last progress."""

    def __init__(self) -> None:
        self.n_done = self.n_new = 0

    def __call__(self, n_done: int, n_new: int) -> None:
        self.n_done, self.n_new = n_done, n_new


def make_reader(*, networks: Sequence[Network], cache: Path, min_face_px: int = 40) -> PhotoReader:
    return PhotoReader(networks, ArrayCache(cache), min_face_px=min_face_px)


def assert_equal(a: Sample, b: Sample, *, tolerance: float = 0.0) -> None:
    assert (a.model, a.quality.pose) == (b.model, b.quality.pose) or tolerance
    assert a.quality.score == pytest.approx(b.quality.score, abs=max(tolerance, 1e-12))
    np.testing.assert_allclose(a.face.box_xyxy, b.face.box_xyxy, atol=100 * tolerance)
    np.testing.assert_allclose(a.face.landmarks, b.face.landmarks, atol=100 * tolerance)
    np.testing.assert_allclose(a.embedding, b.embedding, atol=tolerance)


def test_samples_are_those_of_the_engine(backbones: list[BackboneNetworks], photos: list[Path], tmp_path: Path) -> None:
    networks = backbones[0].all
    seen = make_reader(networks=networks, cache=tmp_path).read(photos, Counter())
    assert set(seen) == {"dlib-resnet/1", "dlib-resnet/1-plain"}
    for network in networks:
        image = decode_image(photos[0].read_bytes())
        [[direct]] = network.engine.analyze([image])
        analyzed = seen[network.model][photos[0]]
        assert analyzed.photo.size_wh == (image.shape[1], image.shape[0])
        [sample] = analyzed.photo.samples
        assert_equal(sample, direct, tolerance=1e-3)  # batches of other sizes differ in the last bits
        assert sample.embedding @ direct.embedding > 0.99999


def test_raw_lengths_are_kept_for_plain_embeddings_only(
    backbones: list[BackboneNetworks], photos: list[Path], tmp_path: Path
) -> None:
    seen = make_reader(networks=backbones[0].all, cache=tmp_path).read(photos, Counter())
    [plain] = seen["dlib-resnet/1-plain"][photos[0]].lengths
    assert 1.2 < plain < 1.6  # dlib's raw vectors: 1.29 to 1.51 on press photos
    assert seen["dlib-resnet/1"][photos[0]].lengths == (1.0,)


def test_photos_without_a_face_and_files_that_are_no_photo_are_kept_apart(
    backbones: list[BackboneNetworks], photos: list[Path], tmp_path: Path
) -> None:
    seen = make_reader(networks=backbones[0].all, cache=tmp_path).read(photos, Counter())["dlib-resnet/1"]
    assert (seen[photos[2]].photo.samples, seen[photos[2]].error) == ([], None)
    assert (seen[photos[3]].photo.samples, seen[photos[3]].error) == ([], "image_truncated")


def test_a_second_reading_looks_at_nothing_and_says_exactly_the_same(
    backbones: list[BackboneNetworks], photos: list[Path], tmp_path: Path
) -> None:
    first, second = Counter(), Counter()
    before = make_reader(networks=backbones[0].all, cache=tmp_path).read(photos, first)
    after = make_reader(networks=backbones[0].all, cache=tmp_path).read(photos, second)
    assert (first.n_done, first.n_new) == (4, 4)
    assert (second.n_done, second.n_new) == (4, 1)  # what is no photo is never kept
    for model in before:
        for path in photos:
            assert before[model][path].lengths == after[model][path].lengths
            for a, b in zip(before[model][path].photo.samples, after[model][path].photo.samples, strict=True):
                assert_equal(a, b)


def test_the_cache_knows_a_photo_by_its_content(
    backbones: list[BackboneNetworks], photos: list[Path], tmp_path: Path
) -> None:
    make_reader(networks=backbones[0].all, cache=tmp_path / "cache").read(photos[:1], Counter())
    renamed = tmp_path / "renamed.jpg"
    renamed.write_bytes(photos[0].read_bytes())
    changed = write_photo(tmp_path / "grace.jpg", image=grace_hopper(), variant=3)
    counter = Counter()
    make_reader(networks=backbones[0].all, cache=tmp_path / "cache").read([renamed, changed], counter)
    assert (counter.n_done, counter.n_new) == (2, 1)


def test_another_network_and_another_smallest_face_are_looked_at_anew(
    backbones: list[BackboneNetworks], photos: list[Path], tmp_path: Path
) -> None:
    plain, mirrored = backbones[0].plain, backbones[0].mirrored
    assert plain is not None
    counter = Counter()
    make_reader(networks=[plain], cache=tmp_path).read(photos[:1], counter)
    make_reader(networks=[mirrored], cache=tmp_path).read(photos[:1], counter)
    assert counter.n_new == 1
    make_reader(networks=[plain, mirrored], cache=tmp_path).read(photos[:1], counter)
    assert counter.n_new == 0
    make_reader(networks=[plain], cache=tmp_path, min_face_px=50).read(photos[:1], counter)
    assert counter.n_new == 1


def test_a_damaged_cache_file_is_made_again(
    backbones: list[BackboneNetworks], photos: list[Path], tmp_path: Path
) -> None:
    reader = make_reader(networks=backbones[0].all, cache=tmp_path)
    before = reader.read(photos[:1], Counter())["dlib-resnet/1"][photos[0]]
    for file in tmp_path.rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])
    after = reader.read(photos[:1], Counter())["dlib-resnet/1"][photos[0]]
    assert_equal(before.photo.samples[0], after.photo.samples[0])


def test_only_the_main_face_is_left_of_a_photo() -> None:
    small, large = make_embeddings(n=2)
    samples = [
        make_sample(embedding=small, box_xyxy=(0, 0, 40, 40)),
        make_sample(embedding=large, box_xyxy=(60, 60, 160, 160)),
    ]
    seen = main_face(Analyzed(Photo(samples, (200, 200)), (1.1, 1.2)))
    assert (list(seen.photo.samples), seen.lengths) == ([samples[1]], (1.2,))
    nobody = Analyzed(Photo([], (200, 200)))
    assert main_face(nobody) is nobody

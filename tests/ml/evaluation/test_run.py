from pathlib import Path

import pytest

from ml.errors import ModelError
from ml.evaluation.run import BackboneNetworks, ModelResult, Options, choose_protocol, load_backbones, photos_of
from ml.evaluation.variants import PRODUCT
from tests.ml.evaluation.conftest import MACHINE
from tests.ml.evaluation.photo_folders import make_empty_photos


def test_a_backbone_named_twice_is_loaded_once(backbones: list[BackboneNetworks]) -> None:
    assert [backbone.mirrored.model for backbone in backbones] == ["dlib-resnet/1"]


def test_plain_embeddings_are_made_for_a_customary_rule_too() -> None:
    [backbone] = load_backbones(["dlib-resnet"], MACHINE, Options())
    assert backbone.plain is not None


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ModelError, match="no model called"):
        load_backbones(["resnet"], MACHINE, Options())


def test_two_people_are_told_apart(results: list[ModelResult]) -> None:
    """Grace Hopper is enrolled; Eileen Collins and a photo of nobody are strangers."""
    mirrored, plain = results
    assert (mirrored.model, mirrored.is_mirrored) == ("dlib-resnet/1", True)
    assert (plain.model, plain.is_mirrored) == ("dlib-resnet/1-plain", False)
    assert (mirrored.enrolment.people.n_people, mirrored.enrolment.n_failed) == (1, 0)
    assert (mirrored.mated.n_photos, mirrored.mated.n_no_face) == (2, 0)
    assert (mirrored.strangers.n_photos, mirrored.strangers.n_no_face) == (2, 1)
    product = mirrored.product
    assert product.rank1.value == 1.0
    assert product.searches.mated.scores.min() > product.searches.non_mated.scores.max()
    assert all(row.fnir.value == 0.0 for row in product.rows)


def test_the_customary_rule_stands_first_and_the_products_last(results: list[ModelResult]) -> None:
    names = [result.variant.name for result in results[0].variants]
    assert (names[0], names[-1], len(names)) == ("nearest-l2", PRODUCT, 7)
    assert [result.variant.name for result in results[1].variants] == names[1:]


def test_the_effect_of_mirroring_is_told_with_the_plain_result(results: list[ModelResult]) -> None:
    assert list(results[0].effect) == []
    assert [row.fnir.value for row in results[1].effect] == [0.0] * 4


def test_a_protocol_in_the_folder_is_taken_before_one_is_made(tmp_path: Path) -> None:
    make_empty_photos(tmp_path, counts={"ada": 4, "eve": 1})
    options = Options()
    assert choose_protocol(tmp_path, None, options).source.startswith("built with seed 0")
    text = '{"known": {"ada": {"gallery": ["000.jpg"], "probes": ["001.jpg"]}}, "strangers": ["eve/000.jpg"]}'
    (tmp_path / "protocol.json").write_text(text)
    assert choose_protocol(tmp_path, None, options).source == "read from protocol.json"
    (tmp_path / "other.json").write_text(text)
    assert choose_protocol(tmp_path, tmp_path / "other.json", options).source == "read from other.json"


def test_only_what_is_needed_is_looked_at(tmp_path: Path) -> None:
    make_empty_photos(tmp_path, counts={"ada": 5, "bob": 2, "cy": 3, "dee": 1, "eve": 1, "fay": 1})
    everything = choose_protocol(tmp_path, None, Options(is_prior_fitted=True))
    assert len(photos_of(everything)) == 13
    without_cohort = choose_protocol(tmp_path, None, Options())
    assert len(photos_of(without_cohort)) == 13 - len(everything.cohort)
    assert len(choose_protocol(tmp_path, None, Options(max_strangers=1)).strangers) == 1

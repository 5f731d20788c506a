import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from ml.backbones import load_backbone
from ml.backbones.card import ModelCard
from ml.backbones.cards import all_cards, find_card
from ml.errors import ModelError

BACKBONES = [card for card in all_cards() if card.kind == "backbone"]
DETECTORS = [card for card in all_cards() if card.kind == "detector"]


def name_of(card: ModelCard) -> str:
    return card.name


def test_a_card_is_found_by_its_name() -> None:
    assert find_card("dlib-resnet").model == "dlib-resnet/1"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"'facenet'.*dlib-resnet, sface, facenet-vggface2, mtcnn, yunet.*onnx:FILE"):
        find_card("facenet")


def test_every_card_has_a_name_of_its_own() -> None:
    assert len({card.name for card in all_cards()}) == len(all_cards())


@pytest.mark.parametrize("card", BACKBONES, ids=name_of)
def test_a_backbones_template_lies_inside_its_chip_as_a_face_does(card: ModelCard) -> None:
    template = card.template_array
    (left_eye, right_eye, nose, left_mouth, right_mouth), size = template, card.chip_size_px
    assert template.shape == (5, 2)
    assert ((template > 0.1 * size) & (template < 0.9 * size)).all()
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert card.dim > 0


@pytest.mark.parametrize("card", DETECTORS, ids=name_of)
def test_a_detector_has_no_template_and_makes_no_embeddings(card: ModelCard) -> None:
    with pytest.raises(ModelError, match="choose a backbone"):
        _ = card.template_array
    with pytest.raises(ModelError, match="choose a backbone"):
        load_backbone(card.name)


@pytest.mark.parametrize("card", all_cards(), ids=name_of)
def test_every_card_says_where_its_weights_come_from_and_what_they_are_worth(card: ModelCard) -> None:
    assert all([card.licence, card.weights_origin, card.quality_note, card.limits])
    if card.weights is not None:
        assert card.weights.name == card.name
        assert bool(card.weights.url) != bool(card.weights.package_file)


@pytest.mark.parametrize("card", [card for card in all_cards() if card.weights and card.weights.url], ids=name_of)
def test_downloads_come_from_upstream_over_https_at_a_fixed_version(card: ModelCard) -> None:
    assert card.weights and card.weights.url
    url = urlsplit(card.weights.url)
    assert (url.scheme, url.hostname) == ("https", "github.com")
    assert "/main/" not in url.path and "/master/" not in url.path


def test_reading_cards_loads_no_network_library() -> None:
    code = "import sys, ml.backbones.cards, ml.embedding; print({'torch', 'onnxruntime', 'cv2'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ml.backbones.cards import find_card
from ml.backbones.dlib_format import DlibNetwork, parse_dlib_network
from ml.backbones.dlib_resnet import DlibResNet
from ml.backbones.weights import weights_path
from ml.errors import ModelError

N_HEADER_BYTES = 380  # versions, input layer and the first layer's settings; after them come weights


@pytest.fixture(scope="module")
def data() -> bytes:
    return weights_path(find_card("dlib-resnet"), None).read_bytes()


@pytest.fixture(scope="module")
def network(data: bytes) -> DlibNetwork:
    return parse_dlib_network(data)


def test_the_file_holds_the_layers_of_a_resnet_29(network: DlibNetwork) -> None:
    kinds = Counter(layer.kind for layer in network.layers)
    assert kinds == {
        "con_4": 29, "affine_": 29, "relu_": 29, "add_prev_": 14, "avg_pool_2": 5, "max_pool_2": 1, "fc_2": 1,
    }  # fmt: skip
    assert sum(layer.params.size for layer in network.layers) == 5_614_592


def test_the_input_layer_is_read_to_its_last_digit(network: DlibNetwork) -> None:
    assert network.chip_size_px == 150
    np.testing.assert_allclose(network.mean_rgb, (122.782, 117.001, 104.298), rtol=1e-6)


def test_layers_come_in_the_order_they_run(network: DlibNetwork) -> None:
    assert [layer.kind for layer in network.layers[:4]] == ["con_4", "affine_", "relu_", "max_pool_2"]
    assert network.layers[0].settings == (32, 7, 7, 2, 2, 0, 0)
    assert network.layers[-1].settings == (128, 256, 1)


@pytest.mark.parametrize("n_kept", [0, 1, 20, 100, 200, 5_000, 1_000_000, 22_466_065])
def test_a_file_cut_short_is_refused(data: bytes, n_kept: int) -> None:
    with pytest.raises(ModelError, match="fetch it again"):
        parse_dlib_network(data[:n_kept])


def test_bytes_after_the_end_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="too many"):
        parse_dlib_network(data + b"\0")


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(ModelError):
        parse_dlib_network(b"\x89PNG\r\n\x1a\n" + bytes(1000))


def test_no_damage_to_the_header_leads_to_anything_but_a_refusal_or_other_numbers(data: bytes) -> None:
    """Only ModelError may escape, whichever byte is wrong and whatever it becomes."""
    rng = np.random.default_rng(7)
    n_refused = 0
    for at in range(N_HEADER_BYTES):
        damaged = bytearray(data[:N_HEADER_BYTES])
        damaged[at] = int(rng.integers(0, 256))
        try:
            parse_dlib_network(bytes(damaged) + data[N_HEADER_BYTES:])
        except ModelError:
            n_refused += 1
    assert n_refused > N_HEADER_BYTES / 2


def test_a_network_with_a_layer_missing_is_not_taken_for_the_resnet(network: DlibNetwork) -> None:
    for layers in (network.layers[2:], network.layers[:-1], network.layers[:1] + network.layers[2:]):
        with pytest.raises(ModelError, match="another network"):
            DlibResNet(replace(network, layers=layers))


def test_a_network_with_other_channels_is_not_taken_for_the_resnet(network: DlibNetwork) -> None:
    first = replace(network.layers[0], params=network.layers[0].params[:-1])
    with pytest.raises(ModelError, match="3 -> 32 channels"):
        DlibResNet(replace(network, layers=(first, *network.layers[1:])))

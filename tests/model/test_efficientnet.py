"""The trunk that is built without timm, beside timm's."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from instancefcn.model import efficientnet
from instancefcn.model.backbones import TimmBackbone
from instancefcn.model.batch_norms import fold_batch_norms
from instancefcn.model.build import build_empty, build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.model.convolutions import shift_same_padding
from instancefcn.model.efficientnet import EfficientNetLite0


def theirs() -> nn.Module:
    """timm's, with statistics and affine that differ from nothing."""
    network = timm.create_model(efficientnet.NAME, features_only=True, pretrained=False)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
    shift_same_padding(network)
    return network


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(64, 96), (37, 50)])
def test_its_maps_are_timms_bit_by_bit(training: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    expected, trunk = theirs().train(training), EfficientNetLite0().train(training)
    assert list(trunk.state_dict()) == list(expected.state_dict())  # so ImageNet's weights fit in order
    trunk.load_state_dict(expected.state_dict())
    images = torch.rand(2, 3, *size)
    for ours, one in zip(trunk(images), expected(images), strict=True):
        assert torch.equal(ours, one)
    for name, tensor in expected.state_dict().items():  # running statistics among them
        assert torch.equal(trunk.state_dict()[name], tensor), name


def test_its_random_weights_vary_as_timms_do() -> None:
    expected, trunk = theirs().state_dict(), EfficientNetLite0()
    for name, weight in trunk.named_parameters():
        if weight.dim() == 4:
            assert weight.std().item() == pytest.approx(expected[name].std().item(), rel=0.25), name


def test_what_the_trunk_says_of_itself_is_what_timm_says() -> None:
    info, config = theirs().feature_info, timm.get_pretrained_cfg(efficientnet.NAME)
    assert list(efficientnet.STRIDES) == info.reduction()
    assert list(efficientnet.CHANNELS) == info.channels()
    assert config is not None
    assert (config.mean, config.std) == (efficientnet.MEAN, efficientnet.STD)
    backbone = TimmBackbone(efficientnet.NAME, strides=(8, 32))
    assert (backbone.channels, backbone.mean.flatten().tolist()) == ((40, 320), [127.5] * 3)


@pytest.mark.parametrize("batch_norm", ["folded", "frozen", "running"])
def test_an_empty_network_has_the_names_and_shapes_of_a_whole_one(batch_norm: str) -> None:
    config = NetworkConfig(channels=16, batch_norm=batch_norm)  # pyright: ignore[reportArgumentType]
    empty, whole = build_empty(config), build_network(config)
    assert [(name, one.shape, one.dtype) for name, one in empty.state_dict().items()] == [
        (name, one.shape, one.dtype) for name, one in whole.state_dict().items()
    ]
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    assert not any(tensor.is_meta for tensor in whole.state_dict().values())


def test_folding_on_meta_gives_every_convolution_a_bias() -> None:
    with torch.device("meta"):
        trunk = EfficientNetLite0()
    fold_batch_norms(trunk)
    assert all(
        layer.bias is not None and layer.bias.is_meta for layer in trunk.modules() if isinstance(layer, nn.Conv2d)
    )

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from instancefcn.model.assembling import assemble_windows
from instancefcn.model.backbones import VGG16
from reproduce.deepmask import CROP, DeepMask, MaskLayer
from reproduce.networks import DilatedBackbone, ExperimentNetwork, build_network

CENTER = torch.tensor([[CROP // 16, CROP // 16]])  # of a crop's map at stride 8: its window is the whole crop
ZERO = torch.zeros(1, dtype=torch.long)


def tiny() -> DeepMask:
    """Random weights that are large enough for every input to matter."""
    network = DeepMask(VGG16(width=2), channels=6, fc_channels=5)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


def test_the_two_layers_have_53_million_parameters() -> None:
    with torch.device("meta"):
        layer = MaskLayer(512, 512)
    weights = sum(p.numel() for p in layer.parameters() if p.ndim == 2)
    assert weights == 512 * 14 * 14 * 512 + 512 * 56**2 == 52_985_856


def test_the_paper_width_is_vgg16s() -> None:
    with torch.device("meta"):
        network = build_network(ExperimentNetwork(kind="deepmask", backbone="vgg16", channels=512))
    assert isinstance(network, DeepMask)
    assert network.mask_layer.reduce.weight.shape == (512, 512 * 14 * 14)
    assert network.mask_layer.expand.weight.shape == (56 * 56, 512)
    assert network.score_branch.fc1.weight.shape == (512, 512 * 7 * 7)
    assert network.score_branch.predict.weight.shape == (1, 1024)


@torch.no_grad()
def test_the_sliding_network_equals_the_crop_network_on_a_crop() -> None:
    network, crops = tiny(), torch.rand(2, 3, CROP, CROP) * 255
    (whole,), (sliding,) = network.of_crops(crops), network.slide(crops)
    assert (whole.stride * whole.m, whole.m * whole.density) == (224, 56)
    assert (sliding.stride * sliding.m, sliding.m * sliding.density) == (224, 56)
    for image in (0, 1):
        index = torch.tensor([image])
        masks = [
            assemble_windows(maps, index, place)
            for maps, place in ((whole, torch.zeros_like(CENTER)), (sliding, CENTER))
        ]
        assert masks[0].std() > 1e-2
        assert torch.allclose(masks[0], masks[1], atol=1e-4)
        assert sliding.objectness[image, 14, 14].item() == pytest.approx(whole.objectness[image, 0, 0].item(), abs=1e-4)
    assert whole.objectness[0, 0, 0].item() != pytest.approx(whole.objectness[1, 0, 0].item(), abs=1e-3)


def slide_as_convolutions(network: DeepMask, features: Tensor) -> Tensor:
    """Masks of all windows [b, 56 * 56, h, w]: the layers as convolutions with holes of 2, zeros around."""
    layer = network.mask_layer
    reduce = layer.reduce.weight.view(-1, 14, 14, features.shape[1]).permute(0, 3, 1, 2)
    x = F.conv2d(F.pad(features, (14, 12, 14, 12)), reduce, layer.reduce.bias, dilation=2)
    return F.conv2d(x, layer.expand.weight[:, :, None, None], layer.expand.bias)


@torch.no_grad()
def test_masks_of_chosen_windows_equal_a_sliding_convolution() -> None:
    network = tiny()
    features = torch.randn(2, 6, 20, 33)
    everywhere = slide_as_convolutions(network, features)
    positions = torch.cartesian_prod(torch.arange(0, 20, 3), torch.arange(33))  # also at every border; several blocks
    for image in (0, 1):
        masks = network.mask_layer.of_windows(features, torch.full((len(positions),), image), positions)
        expected = everywhere[image][:, positions[:, 0], positions[:, 1]].T.view(-1, 56, 56)
        assert torch.allclose(masks, expected, atol=1e-4)
    assert network.mask_layer.of_windows(features, ZERO[:0], positions[:0]).shape == (0, 56, 56)


@torch.no_grad()
def test_scores_slide_as_the_crop_of_features_says() -> None:
    network = tiny()
    features = torch.randn(1, 16, 18, 21).relu()
    scores = network.score_branch.slide(features)
    padded = F.pad(features, (14, 14, 14, 14))
    for y, x in ((0, 0), (9, 11), (17, 20)):
        crop = padded[:, :, y : y + 28 : 2, x : x + 28 : 2]
        assert scores[0, y, x].item() == pytest.approx(network.score_branch(crop).item(), abs=1e-4)


def test_in_training_it_takes_crops_alone() -> None:
    network = tiny().train()
    assert network(torch.zeros(3, 3, CROP, CROP))[0].objectness.shape == (3, 1, 1)
    with pytest.raises(ValueError, match=r"crops of 224 x 224 pixels, not \[224, 256\].*crops.per_image"):
        network(torch.zeros(1, 3, 224, 256))


@pytest.mark.parametrize("kind", ["dilated", "deepmask"])
def test_a_trunk_with_holes_has_one_map_at_stride_8(kind: Any) -> None:
    network = build_network(
        ExperimentNetwork(kind=kind, channels=16, window_sizes=(21,), finest_window_sizes=())
    ).eval()
    assert isinstance(network.backbone, DilatedBackbone)
    (maps,) = network(torch.zeros(1, 3, 64, 96))
    assert maps.objectness.shape == (1, 8, 12)
    assert [(maps.stride, maps.m, maps.density)] == network.window_sizes
    maps.objectness.sum().backward()
    unused = [name for name, p in network.backbone.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == []  # data-parallel training waits for every parameter

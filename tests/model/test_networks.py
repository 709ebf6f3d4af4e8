from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from instancefcn.model.backbones import VGG16, TimmBackbone
from instancefcn.model.batch_norms import fold_batch_norms
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.model.convolutions import ShiftedConv2d, shift_same_padding
from instancefcn.model.heads import PaperMaskHead, PaperScoreHead, side_by_side
from instancefcn.model.network import InstanceFCN
from instancefcn.model.pyramid import add_enlarged
from instancefcn.training.recipe import load_recipe


def test_vgg16_is_the_papers() -> None:
    backbone = VGG16()
    convolutions = [layer for layer in backbone.features if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 13
    assert [c.dilation[0] for c in convolutions] == [1] * 10 + [2] * 3
    assert sum(p.numel() for p in backbone.parameters()) == 14_714_688  # VGG-16 without its classifier
    (features,) = VGG16(width=4)(torch.zeros(1, 3, 64, 88))
    assert features.shape == (1, 32, 8, 11)  # stride 8


def test_pool4_looks_one_position_around_itself() -> None:
    (pool4,) = [layer for layer in VGG16(width=1).features if isinstance(layer, nn.MaxPool2d) and layer.stride == 1]
    spot = torch.zeros(1, 1, 5, 7)
    spot[0, 0, 2, 3] = 1
    expected = torch.zeros(5, 7)
    expected[1:4, 2:5] = 1
    assert torch.equal(pool4(spot)[0, 0], expected)
    assert [len(stage) for stage in VGG16(width=1).stages()] == [5, 5, 7, 7, 6]


def test_vgg16_has_torchvisions_parameter_names() -> None:
    from torchvision.models import vgg16

    with torch.device("meta"):  # shapes without memory
        theirs = {name: p.shape for name, p in vgg16(weights=None).state_dict().items() if name.startswith("features")}
    assert {name: p.shape for name, p in VGG16().state_dict().items() if name.startswith("features")} == theirs


def test_mask_layer_has_a_tenth_of_a_million_parameters() -> None:
    layer = PaperMaskHead(512, k=5)[-1]
    assert layer.weight.numel() == 512 * 3 * 3 * 25 == 115_200  # paper 3.3: 0.1 M


@pytest.mark.parametrize(("k", "m"), [(1, 5), (3, 21), (7, 30)])
def test_any_k_and_m(k: int, m: int) -> None:
    network = InstanceFCN(VGG16(width=2), PaperMaskHead(16, k, channels=8), PaperScoreHead(16, channels=8), m)
    (maps,) = network(torch.zeros(2, 3, 40, 48))
    assert maps.instance.shape == (2, k * k, 5, 6)
    assert maps.objectness.shape == (2, 5, 6)
    assert (maps.k, maps.m, maps.stride) == (k, m, 8)


def test_new_layers_start_from_a_gaussian_of_0_01() -> None:
    weight = PaperMaskHead(512, k=5)[0].weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert weight.mean().abs().item() < 1e-4


def test_timm_trunk_at_stride_8() -> None:
    backbone = TimmBackbone("tf_efficientnet_lite0", strides=(8,), output_stride=8)
    (features,) = backbone(torch.zeros(1, 3, 64, 96))
    assert features.shape == (1, backbone.channels[0], 8, 12)
    assert backbone.channels == (320,)  # the deepest stage speaks for the stride


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("size", "times"), [((6, 8), 2), ((12, 16), 4), ((5, 8), 2), ((6, 7), 2), ((10, 13), 4)])
def test_a_map_is_added_enlarged(size: tuple[int, int], times: int, layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    coarse, fine = torch.randn(2, 3, 3, 4, generator=generator), torch.randn(2, 3, *size, generator=generator)
    expected = fine.clone()
    for row, column in itertools.product(range(size[0]), range(size[1])):
        expected[..., row, column] += coarse[..., row // times, column // times]
    assert torch.equal(add_enlarged(fine.contiguous(memory_format=layout), coarse, times), expected)


def test_an_exported_sum_is_not_bound_to_the_sizes_of_its_example() -> None:
    class Sum(nn.Module):
        def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
            return add_enlarged(fine.clone(), coarse, 2)

    sizes = tuple({axis: torch.export.Dim(f"{name}{axis}", min=2) for axis in (2, 3)} for name in ("fine", "coarse"))
    whole, broken = ((torch.rand(1, 2, side, side), torch.rand(1, 2, -(-side // 2), -(-side // 2))) for side in (8, 5))
    exported = torch.export.export(Sum(), whole, dynamic_shapes=sizes).module()
    for maps in (whole, broken):
        assert torch.equal(exported(*maps), Sum()(*maps))


@pytest.mark.parametrize("planar", [True, False])
@pytest.mark.parametrize("biased", [True, False])
def test_predictions_side_by_side_are_those_of_each_layer(biased: bool, planar: bool) -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(8, 3, 1, bias=biased) for _ in range(2)]
    x = torch.randn(2, 8, 5, 6).contiguous(memory_format=torch.channels_last)
    expected = torch.cat([of_one(x) for of_one in layers], dim=1)
    found = side_by_side(layers, x, planar)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous() == planar


def test_score_maps_are_planar_where_nothing_learns() -> None:
    network = build_network(NetworkConfig(channels=16))
    with torch.inference_mode():
        for maps in network(torch.zeros(1, 3, 64, 64)):
            assert maps.instance[0].is_contiguous()


@pytest.mark.parametrize(("height", "width"), [(64, 128), (32, 160)])  # of the coarsest stride, and of the trunk's
def test_pyramid_gives_what_window_sizes_announce(height: int, width: int) -> None:
    network = build_network(NetworkConfig(channels=16))
    assert (network.size_multiple, network.coarsest_stride) == (32, 64)
    maps = network(torch.zeros(2, 3, height, width))
    assert [(m.stride, m.m, m.density) for m in maps] == network.window_sizes
    for m in maps:
        assert m.instance.shape == (2, 25, m.density * height // m.stride, m.density * width // m.stride)
        rows, columns = -(-height // m.stride), -(-width // m.stride)
        assert m.objectness.shape == (2, rows, columns)
        assert m.quality is not None
        assert m.quality.shape == (2, rows, columns)


GAP = {"finest_window_sizes": (44,)}  # as large as those of the third level, and larger than those of the second


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [("pyramid", {}), ("pyramid", GAP), ("single", {"window_sizes": (21,), "finest_window_sizes": ()})],
)
@pytest.mark.parametrize("least", [1.0, 61.0, 173.0, 500.0, 960.0, 961.0])
@torch.inference_mode()
def test_large_windows_are_those_of_the_whole_network(
    kind: Literal["pyramid", "single"], sizes: dict[str, Any], least: float
) -> None:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(kind=kind, channels=16, **sizes)).eval()
    assert network.largest_window == (960 if kind == "pyramid" else 168)  # 15 times 64, 21 times 8
    images = torch.rand(1, 3, 64, 128) * 255
    expected = [maps for maps in network(images) if maps.stride * maps.m >= least]
    found = network.large_windows(images, least)
    assert [(maps.stride, maps.m) for maps in found] == [(maps.stride, maps.m) for maps in expected]
    for maps, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(maps.instance, whole.instance)
        torch.testing.assert_close(maps.objectness, whole.objectness)


def test_coarse_levels_have_outlines_from_two_finer_maps() -> None:
    network = build_network(NetworkConfig(channels=24)).eval()
    with torch.no_grad():
        maps = network(torch.zeros(1, 3, 128, 192))
    assert {m.stride: m.density for m in maps} == {4: 2, 8: 2, 16: 4, 32: 4, 64: 4}


def test_the_second_refinement_starts_as_an_enlargement() -> None:
    refine = build_network(NetworkConfig(channels=24)).mask_head.refine_again
    nn.init.zeros_(refine.detail[0].weight)  # what the trunk's map adds is small, not nothing
    x, detail = torch.rand(1, 8, 3, 4), torch.rand(1, refine.detail[0].in_channels, 6, 8)
    with torch.no_grad():
        assert torch.allclose(refine(x, detail, 0), x.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-6)


def test_blocks_and_coarse_score_maps_start_as_no_ops_and_learn() -> None:
    config = NetworkConfig(channels=24)
    plain, deep = (build_network(replace(config, blocks=blocks)).eval() for blocks in (0, 2))
    missing = deep.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert {name.split(".")[1] for name in missing} == {"blocks"}
    images = torch.rand(1, 3, 64, 96) * 255
    after = deep(images)
    with torch.no_grad():
        for expected, maps in zip(plain(images), after, strict=True):
            assert torch.allclose(maps.instance, expected.instance, atol=1e-5)
            assert torch.allclose(maps.objectness, expected.objectness, atol=1e-5)
    sum(maps.instance.square().sum() for maps in after).backward()
    last_of_each_block = [
        p for name, p in deep.named_parameters() if name.endswith("reduce.weight") and "blocks" in name
    ]
    assert len(last_of_each_block) == 2 * 5 + 1  # three coarser levels and two of context; one on the finest
    coarse = [p for name, p in deep.named_parameters() if "predict_coarse" in name]
    assert len(coarse) == 3
    assert not any(p.any() for p in coarse)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in (*last_of_each_block, *coarse))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite1", "resnet18"])
def test_lite_takes_any_timm_trunk(name: str) -> None:
    config = replace(load_recipe("lite").network, backbone=name)
    network = build_network(config).eval()
    with torch.no_grad():
        score_maps = network(torch.zeros(1, 3, 64, 64))
    assert [(maps.stride, maps.m, maps.density) for maps in score_maps] == build_network(
        load_recipe("lite").network
    ).window_sizes
    assert score_maps[0].instance.shape == (1, 25, 32, 32)


def test_lite_is_small() -> None:
    assert sum(p.numel() for p in build_network(load_recipe("lite").network).parameters()) < 6_000_000


def test_folding_batch_norms_changes_nothing_but_their_number() -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone("tf_efficientnet_lite0").eval()
    for norm in backbone.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.1, 0.1)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        before = backbone(images)
        fold_batch_norms(backbone)
        after = backbone(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    for a, b in zip(before, after, strict=True):
        assert torch.allclose(a, b, atol=1e-3 * float(a.abs().max()))


def test_a_backbone_without_maps_of_several_strides_is_named() -> None:
    with pytest.raises(ValueError, match="'vit_tiny_patch16_224' gives no maps of several strides"):
        build_network(NetworkConfig(backbone="vit_tiny_patch16_224"))


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(ValueError, match="'resnot50' is no timm model"):
        build_network(NetworkConfig(backbone="resnot50"))
    with pytest.raises(ValueError, match="kind = 'single'"):
        build_network(NetworkConfig(backbone="vgg16"))


@pytest.mark.parametrize("channels", [8, 20])
def test_channels_go_into_groups(channels: int) -> None:
    with pytest.raises(ValueError, match=f"channels is {channels}: .* multiple of 8 above 8"):
        build_network(NetworkConfig(channels=channels))


@pytest.mark.parametrize("size", [(8, 12), (9, 12), (7, 5), (2, 2)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("groups", [1, 6])
def test_a_shifted_convolution_equals_one_of_a_padded_copy(size: tuple[int, int], kernel: int, groups: int) -> None:
    same = Conv2dSame(6, 6, kernel, stride=2, groups=groups)
    images = torch.randn(2, 6, *size)
    shifted = ShiftedConv2d(same)(images)
    assert shifted.shape[-2:] == tuple(-(-side // 2) for side in size)
    torch.testing.assert_close(shifted, same(images))


@pytest.mark.parametrize("kernel", [1, 2])
def test_other_kernels_stay_as_they_are(kernel: int) -> None:
    layers = nn.Sequential(Conv2dSame(3, 4, kernel, stride=2), Conv2dSame(4, 4, 3, stride=2, dilation=2))
    shift_same_padding(layers)
    assert [type(layer) for layer in layers] == [Conv2dSame] * 2


def test_no_trunk_pads_copies() -> None:
    trunk = TimmBackbone("tf_efficientnet_lite0")
    assert not [layer for layer in trunk.modules() if isinstance(layer, Conv2dSame)]
    assert [layer.kernel_size[0] for layer in trunk.modules() if isinstance(layer, ShiftedConv2d)] == [3, 3, 5, 3, 5]

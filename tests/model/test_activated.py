"""A convolution and its activation in one pass give what the two give one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from instancefcn.model.activated import activated
from instancefcn.model.build import build_network
from instancefcn.model.config import NetworkConfig
from instancefcn.model.convolutions import ShiftedConv2d
from instancefcn.model.pyramid import SeparableConv
from instancefcn.model.separable import DepthwiseConv2d, PointwiseConv2d

CONVOLUTIONS = {
    "pointwise": PointwiseConv2d(8, 24),
    "without a bias": PointwiseConv2d(8, 24, bias=False),
    "depthwise": DepthwiseConv2d(8, 5),
    "grouped": nn.Conv2d(8, 16, 3, padding=1, groups=4),
    "dilated": nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
    "shifted": ShiftedConv2d(nn.Conv2d(8, 8, 3, groups=8)),
    "shifted, wide": ShiftedConv2d(nn.Conv2d(8, 12, 5)),
}
needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ReLU6(inplace=True), nn.SiLU(), nn.Identity()])
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("size", [(16, 20), (15, 21)])
@pytest.mark.parametrize("name", CONVOLUTIONS)
@torch.no_grad()
def test_the_two_give_the_same_bits_as_one_after_the_other(
    name: str, size: tuple[int, int], bf16: bool, activation: nn.Module
) -> None:
    input = (9 * torch.randn(2, 8, *size)).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found, expected = activated(CONVOLUTIONS[name], activation, input), activation(CONVOLUTIONS[name](input))
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    assert found.stride() == expected.stride()  # else the next layer would take a copy


@pytest.mark.parametrize("name", CONVOLUTIONS)
@torch.no_grad()
def test_on_a_map_of_one_position_the_two_differ_by_rounding_at_most(name: str) -> None:
    input, activation = 9 * torch.randn(1, 8, 1, 1), nn.ReLU6()
    torch.testing.assert_close(activated(CONVOLUTIONS[name], activation, input), activation(CONVOLUTIONS[name](input)))


@needs_onednn
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
def test_without_gradients_the_activation_takes_no_pass_of_its_own(activation: type[nn.Module]) -> None:
    module, calls = activation(), []
    module.register_forward_hook(lambda *_: calls.append("called"))
    input = torch.randn(1, 8, 4, 4)
    with torch.no_grad():
        activated(CONVOLUTIONS["pointwise"], module, input)
    assert calls == []
    activated(CONVOLUTIONS["pointwise"], module, input)
    assert calls == ["called"]


def test_gradients_are_those_of_the_two_modules() -> None:
    input = torch.randn(1, 8, 6, 6, requires_grad=True)
    convolution, activation = CONVOLUTIONS["pointwise"], nn.ReLU6()
    found = torch.autograd.grad(activated(convolution, activation, input).sum(), [input, *convolution.parameters()])
    expected = torch.autograd.grad(activation(convolution(input)).sum(), [input, *convolution.parameters()])
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert any(gradient.any() for gradient in found)


@needs_onednn
@torch.no_grad()
def test_in_the_network_only_activations_that_follow_no_convolution_take_a_pass() -> None:
    network, called = build_network(NetworkConfig()).eval(), []
    for name, module in network.named_modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    network(torch.zeros(1, 3, 128, 128))
    after_norms = [f"{name}.3" for name, module in network.named_modules() if isinstance(module, SeparableConv)]
    assert set(called) == {*after_norms, "mask_head.refine.mix.0", "mask_head.refine_again.mix.0"}

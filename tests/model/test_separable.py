"""Convolutions with gradients of our own, against autograd's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from instancefcn.model.pyramid import add_enlarged
from instancefcn.model.separable import DepthwiseConv2d, PointwiseConv2d


def gradients(function: Callable[..., Tensor], *tensors: Tensor) -> list[Tensor]:
    """Output, and gradients of a weighted sum of it."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    output = function(*leaves)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    return [output, *torch.autograd.grad((output * weights).sum(), leaves)]


def random_map(*size: int, last: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(sum(size))
    made = torch.randn(*size, generator=generator)
    return made.contiguous(memory_format=torch.channels_last) if last else made


def assert_alike(layer: nn.Conv2d, x: Tensor) -> None:
    """Compare a layer with the plain convolution of the same weights, in double precision."""
    names = [name for name, _ in layer.named_parameters()]

    def plain(x: Tensor, *parameters: Tensor) -> Tensor:
        of = dict(zip(names, parameters, strict=True))
        return F.conv2d(x, of["weight"], of.get("bias"), padding=layer.padding, groups=layer.groups)

    def own(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    expected = gradients(plain, *(tensor.double() for tensor in (x, *layer.parameters())))
    for found, wanted in zip(gradients(own, x, *layer.parameters()), expected, strict=True):
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(2, 6, 7, 9), (1, 6, 1, 1), (3, 6, 2, 3)])
def test_gradients_are_autograds(size: tuple[int, ...], bias: bool, last: bool) -> None:
    torch.manual_seed(0)
    assert_alike(PointwiseConv2d(6, 4, bias=bias), random_map(*size, last=last))
    for kernel in (3, 5):
        assert_alike(DepthwiseConv2d(6, kernel, bias=bias), random_map(*size, last=last))


def test_a_map_that_is_worth_threads() -> None:
    torch.manual_seed(0)
    assert_alike(DepthwiseConv2d(16, 5), random_map(2, 16, 190, 180))


@pytest.mark.parametrize("layer", [PointwiseConv2d(4, 4), DepthwiseConv2d(4, 5)])
def test_frozen_weights_pass_the_gradient_on(layer: nn.Conv2d) -> None:
    layer.requires_grad_(False)
    x = random_map(1, 4, 6, 6)
    (_, found) = gradients(layer, x)
    weight, padding, groups = layer.weight, layer.padding, layer.groups
    (_, wanted) = gradients(lambda x: F.conv2d(x, weight, layer.bias, padding=padding, groups=groups), x)
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("layer", [PointwiseConv2d(4, 4), DepthwiseConv2d(4, 5)])
def test_under_autocast_the_result_is_in_bf16(layer: nn.Conv2d) -> None:
    x = random_map(1, 4, 6, 6).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(x)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("coarse_type", [torch.float32, torch.bfloat16])
def test_adding_an_enlarged_map_has_the_gradient_of_interpolating(times: int, coarse_type: torch.dtype) -> None:
    coarse = random_map(2, 3, 4, 5).to(coarse_type)
    fine = random_map(2, 3, 4 * times, 5 * times)
    expected = gradients(lambda f, c: f + F.interpolate(c, size=f.shape[-2:]), fine, coarse)
    found = gradients(lambda f, c: add_enlarged(f * 1, c, times), fine, coarse)
    assert [one.dtype for one in found] == [one.dtype for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=2e-2 if one.dtype == torch.bfloat16 else 1e-5, atol=1e-5)

"""Depthwise and pointwise convolutions whose gradients take less time on a CPU than those of ``nn.Conv2d``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.compiled import compiled
from instancefcn.threads import in_threads

WORTH_THREADS = 2**20  # numbers in a map; a millisecond's work


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution whose gradient, on a CPU, is made of products of matrices: two thirds of the time."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, input: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b _ h w"]:
        return pointwise(input, self.weight, self.bias)


def pointwise(
    input: Float[Tensor, "b c h w"], weight: Float[Tensor, "n c 1 1"], bias: Float[Tensor, "n"] | None
) -> Float[Tensor, "b n h w"]:
    """A 1x1 convolution, see ``PointwiseConv2d``."""
    if input.requires_grad and is_plain(input):
        return PointwiseConvolution.apply(input, weight, bias)  # pyright: ignore[reportReturnType]
    return F.conv2d(input, weight, bias)


def planar_pointwise(
    input: Float[Tensor, "b c h w"], weight: Float[Tensor, "n c 1 1"], bias: Float[Tensor, "n"] | None
) -> Float[Tensor, "b n h w"]:
    """A 1x1 convolution whose output lies plane by plane, although its input is channels last; no gradient."""
    columns = input.permute(0, 2, 3, 1).flatten(1, 2).mT  # [b, c, hw], the same memory
    planes = [weight.flatten(1) @ of_one for of_one in columns]  # as one product, bf16 would take five times as long
    products = planes[0][None] if len(planes) == 1 else torch.stack(planes)
    if bias is not None:
        products += bias[:, None].to(products.dtype)  # else, under autocast, the sum would be made by way of fp32
    return products.view(len(input), -1, *input.shape[-2:])


class PointwiseConvolution(torch.autograd.Function):
    """A 1x1 convolution in fp32 on a CPU, with its gradient."""

    @staticmethod
    def forward(ctx: Any, input: Float[Tensor, "b c h w"], weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return F.conv2d(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        wants_input, wants_weight, wants_bias = ctx.needs_input_grad
        rows, of_input, of_weight = _rows(gradients[0]), None, None
        if wants_input:
            of_input = torch.empty_like(input, memory_format=torch.channels_last)
            torch.mm(rows, weight.flatten(1), out=_rows(of_input))
        if wants_weight:
            of_weight = (rows.T @ _rows(input)).view(weight.shape)
        return of_input, of_weight, rows.sum(0) if wants_bias else None


def _rows(map: Float[Tensor, "b c h w"]) -> Float[Tensor, "bhw c"]:
    """A map as a matrix, a row for each position: the same memory where it is channels last."""
    return map.permute(0, 2, 3, 1).flatten(0, 2)


def is_plain(input: Tensor) -> bool:
    """Whether a map is in fp32 on a CPU, where no other type is computed in."""
    return input.device.type == "cpu" and input.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel by itself, of stride 1, that keeps the size of the map.

    On a CPU oneDNN takes thirty times as long for the gradient of 5x5 weights as for the convolution. So that gradient
    is a loop of our own there.
    """

    def __init__(self, channels: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=bias)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if self.weight.requires_grad and torch.is_grad_enabled() and is_plain(input):
            return DepthwiseConvolution.apply(input, self.weight, self.bias)  # pyright: ignore[reportReturnType]
        return super().forward(input)


class DepthwiseConvolution(torch.autograd.Function):
    """The convolution of a ``DepthwiseConv2d``, in fp32 on a CPU, with its gradient."""

    @staticmethod
    def forward(ctx: Any, input: Float[Tensor, "b c h w"], weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return F.conv2d(input, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        (input, weight), (gradient,) = ctx.saved_tensors, gradients
        wants_input, _, wants_bias = ctx.needs_input_grad
        of_input = None
        if wants_input:  # a convolution with the mirrored kernel
            of_input = F.conv2d(gradient, weight.flip(2, 3), padding=weight.shape[-1] // 2, groups=len(weight))
        of_bias = gradient.sum((0, 2, 3)) if wants_bias else None
        return of_input, weight_gradient(input, gradient, weight.shape[-1]), of_bias


def weight_gradient(
    input: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b c h w"], kernel: int
) -> Float[Tensor, "c 1 kernel kernel"]:
    """Gradient of a depthwise convolution's weights, from its input and the gradient of its output; fp32, on a CPU."""
    maps = [x.detach().permute(0, 2, 3, 1).contiguous().numpy() for x in (input, gradient)]
    images, channels = input.shape[:2]
    sums = np.zeros((images, kernel, kernel, channels), dtype=np.float32)
    spread = in_threads if input.numel() > WORTH_THREADS else map
    list(spread(_add_products, *maps, sums))
    return torch.from_numpy(sums.sum(0)).permute(2, 0, 1)[:, None].contiguous()


@compiled
def _add_products(input, gradient, sums):
    """Add to ``sums`` [k, k, c] the products of a gradient [h, w, c] with the input [h, w, c], shifted by each tap."""
    (height, width, channels), kernel = gradient.shape, len(sums)
    before = kernel // 2
    for y in range(height):
        for i in range(max(0, before - y), min(kernel, height + before - y)):
            for x in range(width):
                row = gradient[y, x]
                for j in range(max(0, before - x), min(kernel, width + before - x)):
                    other, products = input[y + i - before, x + j - before], sums[i, j]
                    for channel in range(channels):
                        products[channel] += row[channel] * other[channel]

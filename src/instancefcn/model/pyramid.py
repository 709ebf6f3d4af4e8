"""A top-down feature pyramid (Lin et al., CVPR 2017) with coarse context above the trunk's last map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.model.activated import activated
from instancefcn.model.separable import DepthwiseConv2d, PointwiseConv2d

NORM_GROUPS = 8
CONTEXT_LEVELS = 2
EXPANSION = 2  # of the channels within a residual block


class SeparableConv(nn.Sequential):
    """3x3 depthwise, 1x1 pointwise, group norm, ReLU: about a ninth of the cost of a full 3x3."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False),
            PointwiseConv2d(channels, channels, bias=False),
            nn.GroupNorm(NORM_GROUPS, channels),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """A 5x5 depthwise convolution and an inverted bottleneck, added to the input (after ConvNeXt, Liu et al., CVPR
    2022, without norm and scale).

    Starts as a no-op, so older checkpoints keep their behaviour.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = DepthwiseConv2d(channels, 5)
        self.expand, self.activate = PointwiseConv2d(channels, EXPANSION * channels), nn.ReLU(inplace=True)
        self.reduce = PointwiseConv2d(EXPANSION * channels, channels)
        nn.init.zeros_(self.reduce.weight)
        assert self.reduce.bias is not None
        nn.init.zeros_(self.reduce.bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.reduce(activated(self.expand, self.activate, self.around(x)))


def add_enlarged(
    fine: Float[Tensor, "b c fh fw"], coarse: Float[Tensor, "b c h w"], times: int
) -> Float[Tensor, "b c fh fw"]:
    """Add a map, each of its positions enlarged to ``times`` x ``times`` cells, to a finer map in place.

    The last positions may reach beyond the finer map. If none does, the enlarged map is not made. Where the network is
    exported, nothing is added in place: an exporter may lose what is added to a view.
    """
    fine = fine.to(torch.promote_types(fine.dtype, coarse.dtype))  # they differ under autocast: norms give fp32
    (h, w), (fh, fw) = coarse.shape[-2:], fine.shape[-2:]
    if torch.compiler.is_exporting():
        return fine + enlarged(coarse, times, fine)
    if (fh, fw) != (times * h, times * w):
        return fine.add_(enlarged(coarse, times, fine))
    return AddWholeCells.apply(fine, coarse)  # pyright: ignore[reportReturnType]


def enlarged(
    coarse: Float[Tensor, "b c h w"], times: int, fine: Float[Tensor, "b c fh fw"]
) -> Float[Tensor, "b c fh fw"]:
    """A map with positions of ``times`` x ``times`` cells, without what reaches beyond the finer one."""
    cells = F.interpolate(coarse, scale_factor=times)
    return F.pad(cells, (0, fine.shape[3] - cells.shape[3], 0, fine.shape[2] - cells.shape[2]))  # negative: cut off


class AddWholeCells(torch.autograd.Function):
    """``add_enlarged`` where no position of the coarse map reaches beyond the fine one.

    Its gradient is a pooling, which takes a fifteenth of the time that autograd takes for a sum to the coarse map.
    """

    @staticmethod
    def forward(ctx: Any, fine: Float[Tensor, "b c fh fw"], coarse: Float[Tensor, "b c h w"]) -> Tensor:
        (b, c, h, w), (fh, fw) = coarse.shape, fine.shape[-2:]
        ctx.mark_dirty(fine)
        ctx.cells, ctx.dtype = (fh // h, fw // w), coarse.dtype
        if fine.is_contiguous():
            by_row = fine.view(b, c, h, fh // h, fw)
            by_row += coarse.repeat_interleave(fw // w, dim=3)[:, :, :, None]
        else:
            by_position = fine.permute(0, 2, 3, 1).view(b, h, fh // h, w, fw // w, c)  # as convolutions leave it
            by_position += coarse.permute(0, 2, 3, 1)[:, :, None, :, None]
        return fine

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        return gradient, F.avg_pool2d(gradient, ctx.cells, divisor_override=1).to(ctx.dtype)


class Pyramid(nn.Module):
    """One map of ``channels`` for each input map, with the context of all coarser maps added.

    Two context maps are computed from the coarsest input, because an object as large as the image needs that much
    context; at their size they cost next to nothing. The first ``extra_levels`` of them are also returned.

    Args:
        blocks: residual blocks of each level; the finest, which costs more than all others together, has one at most.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, extra_levels: int = 0, blocks: int = 0) -> None:
        super().__init__()
        self.levels = len(in_channels) + extra_levels
        self.lateral = nn.ModuleList(PointwiseConv2d(c, channels) for c in in_channels)
        self.context = nn.ModuleList(SeparableConv(channels, stride=2) for _ in range(CONTEXT_LEVELS))
        self.blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks if level else min(blocks, 1))))
            for level in range(len(in_channels) + CONTEXT_LEVELS)
        )
        self.smooth = nn.ModuleList(SeparableConv(channels) for _ in range(self.levels))

    def forward(self, maps: list[Float[Tensor, "b _ _ _"]], first: int = 0) -> list[Float[Tensor, "b c _ _"]]:
        """The levels from ``first`` on, the finest first."""
        coarsest = len(self.lateral) - 1  # of the input maps; the context begins with it
        levels = {level: self.lateral[level](maps[level]) for level in range(min(first, coarsest), coarsest + 1)}
        for level, downsample in enumerate(self.context, coarsest + 1):
            levels[level] = downsample(levels[level - 1])
        for level in sorted(levels, reverse=True):
            if level + 1 in levels:
                # Context maps were computed from these maps, so their gradients need them unchanged.
                fine = levels[level].clone() if level >= coarsest else levels[level]
                levels[level] = add_enlarged(fine, levels[level + 1], 2)
            levels[level] = self.blocks[level](levels[level])
        return [self.smooth[level](levels[level]) for level in range(first, self.levels)]

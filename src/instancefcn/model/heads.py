"""The two branches: instance-sensitive score maps, and scores of windows (paper Fig. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.model.activated import activated
from instancefcn.model.pyramid import SeparableConv, add_enlarged
from instancefcn.model.separable import PointwiseConv2d, planar_pointwise, pointwise

OBJECTNESS_PRIOR = 0.01  # initial score: nearly every window is empty (focal loss, Lin et al., ICCV 2017)
FIRST_FINE_LEVEL = 2  # stride 16: outlines of this level and coarser ones also come from the map of a quarter stride


class PaperMaskHead(nn.Sequential):
    """1x1 512 ReLU, 3x3 -> k^2 (paper 3.3)."""

    def __init__(self, in_channels: int, k: int, channels: int = 512) -> None:
        super().__init__(nn.Conv2d(in_channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, k * k, 3, padding=1))
        self.apply(init_gaussian)


class PaperScoreHead(nn.Sequential):
    """3x3 512 ReLU, 1x1 -> 1 (paper 3.3)."""

    def __init__(self, in_channels: int, channels: int = 512) -> None:
        super().__init__(nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, 1, 1))
        self.apply(init_gaussian)


class MaskHead(nn.Module):
    """k*k score maps for each window size, two or four times as dense as the level's positions.

    A pyramid level shows where an instance and its parts lie, but not its outline. The outline comes from the trunk's
    map of half the level's stride (a skip, as in SharpMask, Pinheiro et al., ECCV 2016) and, on coarse levels, from the
    map of a quarter of the stride too. The refined features have a third of the channels, too few for the relative
    positions of several window sizes, so enlarged score maps of the level alone are added.

    Args:
        channels: of the pyramid's levels.
        map_channels: channels of each map of the trunk; the i-th has half the stride of level i.
        sizes: number of window sizes on every level.
        finest_sizes: number of further window sizes on level 0.
    """

    def __init__(self, channels: int, map_channels: Sequence[int], k: int, sizes: int, finest_sizes: int) -> None:
        super().__init__()
        width = channels // 3
        self.tower = nn.Sequential(SeparableConv(channels))
        self.refine = Refine(channels, width, map_channels)
        self.refine_again = Refine(width, width, map_channels[FIRST_FINE_LEVEL - 1 : -1])
        self.predict, self.predict_finest = (
            nn.ModuleList(nn.Conv2d(width, k * k, 1) for _ in range(count)) for count in (sizes, finest_sizes)
        )
        self.predict_coarse, self.predict_coarse_finest = (
            nn.ModuleList(nn.Conv2d(channels, k * k, 1, bias=False) for _ in range(count))
            for count in (sizes, finest_sizes)
        )
        self.predict.apply(init_gaussian)
        self.predict_finest.apply(init_gaussian)
        for weight in (*self.predict_coarse.parameters(), *self.predict_coarse_finest.parameters()):
            nn.init.zeros_(weight)  # starts as a no-op, so older checkpoints keep their behaviour
        self.refine_again.init_identity()

    def forward(
        self, features: Float[Tensor, "b c h w"], maps: Sequence[Float[Tensor, "b _ _ _"]], level: int
    ) -> list[Float[Tensor, "b k2 dh dw"]]:
        """Score maps of a level, one for each of its window sizes; the first level and the first map are the finest."""
        finest = level == 0
        x = self.tower(features)
        planar = not (torch.is_grad_enabled() or torch.compiler.is_exporting())  # so assembling reads runs of pixels
        coarse = side_by_side([*self.predict_coarse, *(self.predict_coarse_finest if finest else ())], x, planar)
        x = self.refine(x, maps[level], level)
        if level >= FIRST_FINE_LEVEL:
            x = self.refine_again(x, maps[level - 1], level - FIRST_FINE_LEVEL)
        predict = [*self.predict, *(self.predict_finest if finest else ())]
        score_maps = add_enlarged(side_by_side(predict, x, planar), coarse, density_of_level(level))
        return list(score_maps.split(score_maps.shape[1] // len(predict), dim=1))


def density_of_level(level: int) -> int:
    """Score-map cells per position, along an axis, that ``MaskHead`` gives on a level."""
    return 4 if level >= FIRST_FINE_LEVEL else 2


class Refine(nn.Module):
    """Double the density of a map: enlarge it and add the trunk's map of that density.

    Args:
        detail_channels: channels of the trunk's map for each refined level, finest first.
    """

    def __init__(self, channels: int, width: int, detail_channels: Sequence[int]) -> None:
        super().__init__()
        self.reduce = PointwiseConv2d(channels, width)
        self.detail = nn.ModuleList(PointwiseConv2d(c, width) for c in detail_channels)
        # No norms here: at this density they would take as long as the convolutions.
        self.mix = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            PointwiseConv2d(width, width),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Float[Tensor, "b c h w"], detail: Float[Tensor, "b _ _ _"], index: int) -> Tensor:
        """Refine ``x``, the map of the refined level ``index``, by ``detail``."""
        activate, around, across, activate_again = self.mix
        mixed = around(activate(add_enlarged(self.detail[index](detail), self.reduce(x), 2)))
        return activated(across, activate_again, mixed)

    def init_identity(self) -> None:
        """Start as a plain enlargement, so older checkpoints keep their behaviour."""
        self.detail.apply(init_gaussian)
        for layer in (self.reduce, *self.mix):
            if isinstance(layer, nn.Conv2d):
                nn.init.dirac_(layer.weight, layer.groups)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)


def side_by_side(
    layers: Sequence[nn.Module], x: Float[Tensor, "b c h w"], planar: bool = False
) -> Float[Tensor, "b _ h w"]:
    """Concatenated outputs of several 1x1 convolutions, run as one convolution, which reads the map once.

    Args:
        planar: as ``planar_pointwise`` gives them, without a gradient.
    """
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    biases = [layer.bias for layer in convolutions if layer.bias is not None]
    convolve = planar_pointwise if planar else pointwise
    return convolve(x, torch.cat([layer.weight for layer in convolutions]), torch.cat(biases) if biases else None)


class ScoreHead(nn.Module):
    """Objectness and expected IoU of the assembled mask, for each window size, whose numbers are as in ``MaskHead``."""

    def __init__(self, channels: int, sizes: int, finest_sizes: int) -> None:
        super().__init__()
        self.tower = nn.Sequential(SeparableConv(channels))
        self.predict = nn.Conv2d(channels, 2 * sizes, 1)
        self.predict_finest = nn.Conv2d(channels, 2 * finest_sizes, 1)
        for layer in (self.predict, self.predict_finest):
            init_gaussian(layer)
            assert layer.bias is not None
            nn.init.constant_(layer.bias[::2], -math.log(1 / OBJECTNESS_PRIOR - 1))

    def forward(self, features: Float[Tensor, "b c h w"], level: int) -> list[Float[Tensor, "b 2 h w"]]:
        """Logits of one level: a pair of maps for each of its window sizes. Level 0 is the finest."""
        predict = [self.predict, *([self.predict_finest] if level == 0 else [])]
        return list(side_by_side(predict, self.tower(features)).split(2, dim=1))


def init_gaussian(layer: nn.Module) -> None:
    """New layers start from a Gaussian of standard deviation 0.01 (paper 3.3)."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

"""The two branches: instance-sensitive score maps, and scores of windows (paper Fig. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.model.pyramid import SeparableConv, add_enlarged

OBJECTNESS_PRIOR = 0.01  # a dense loss starts from "nearly every window is empty" (focal loss, Lin et al., ICCV 2017)


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
    """k*k score maps for each window size, finer than the positions.

    A level knows what is an instance and where its parts lie, but not its outline. That comes from the trunk's own map
    of half the level's stride (a skip, as in SharpMask, Pinheiro et al., ECCV 2016), then, on coarse levels, from the
    one of a quarter of it; or from the level alone by sub-pixel convolution (Shi et al., CVPR 2016).

    Args:
        channels: of the levels.
        half_channels: of the trunk's map of half the stride, for each level; empty for sub-pixel convolution.
        quarter_channels: of the trunk's map of a quarter of the stride, for each of the coarsest levels.
        density: score-map cells per position, under sub-pixel convolution.
        window_sizes: how many every level has; ``finest_window_sizes`` are asked for at the finest level too.
        coarse_logits: score maps of the level alone, enlarged, are added to the finer ones. With details those come
            from a third of the channels, which are few for the relative positions of several window sizes.
        layers: convolutions of the level before anything is predicted.
    """

    def __init__(
        self,
        channels: int,
        half_channels: Sequence[int],
        quarter_channels: Sequence[int],
        k: int,
        density: int,
        window_sizes: Sequence[int],
        finest_window_sizes: Sequence[int],
        coarse_logits: bool = False,
        layers: int = 2,
    ) -> None:
        super().__init__()
        self.tower = nn.Sequential(*(SeparableConv(channels) for _ in range(layers)))
        width, upsampling = (channels // 3, 1) if half_channels else (channels, density)
        self.refine = Refine(channels, width, half_channels) if half_channels else None
        self.refine_again = Refine(width, width, quarter_channels) if quarter_channels else None
        self.predict, self.predict_finest = (
            nn.ModuleList(_predict_score_maps(width, k, upsampling) for _ in sizes)
            for sizes in (window_sizes, finest_window_sizes)
        )
        self.predict.apply(init_gaussian)
        self.predict_finest.apply(init_gaussian)
        self.predict_coarse, self.predict_coarse_finest = (
            nn.ModuleList(nn.Conv2d(channels, k * k, 1, bias=False) for _ in sizes if coarse_logits)
            for sizes in (window_sizes, finest_window_sizes)
        )
        # A checkpoint without them goes on as it was.
        for weight in (*self.predict_coarse.parameters(), *self.predict_coarse_finest.parameters()):
            nn.init.zeros_(weight)
        if self.refine_again is not None:
            self.refine_again.init_identity()

    def forward(
        self, x: Float[Tensor, "b c h w"], details: Sequence[Float[Tensor, "b _ _ _"]], level: int, finest: bool
    ) -> list[Float[Tensor, "b k2 dh dw"]]:
        """Score maps of one level.

        Args:
            details: the trunk's maps of half the level's stride, and of a quarter of it; as many as it has.
            level: counted from the coarsest, which is -1.
        """
        x = self.tower(x)
        predict_coarse = [*self.predict_coarse, *(self.predict_coarse_finest if finest else ())]
        coarse = side_by_side(predict_coarse, x) if predict_coarse else None
        for refine, detail in zip((self.refine, self.refine_again), details, strict=False):
            assert refine is not None
            x = refine(x, detail, level)
        predict = [*self.predict, *(self.predict_finest if finest else ())]
        maps = side_by_side(predict, x)
        if coarse is not None:
            maps = add_enlarged(maps, coarse)
        return list(maps.split(maps.shape[1] // len(predict), dim=1))


class Refine(nn.Module):
    """A map at twice its density, added to the trunk's map of that density.

    Args:
        detail_channels: of the trunk's map for each of the coarsest levels, finest first.
    """

    def __init__(self, channels: int, width: int, detail_channels: Sequence[int]) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, width, 1)
        self.detail = nn.ModuleList(nn.Conv2d(c, width, 1) for c in detail_channels)
        # Without norms: at this density they would cost as much as the convolutions.
        self.mix = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.Conv2d(width, width, 1),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Float[Tensor, "b c h w"], detail: Float[Tensor, "b _ _ _"], level: int) -> Tensor:
        return self.mix(add_enlarged(self.detail[level](detail), self.reduce(x)))

    def init_identity(self) -> None:
        """Start as an enlargement of what comes in: a checkpoint without this step goes on as it was."""
        self.detail.apply(init_gaussian)
        for layer in (self.reduce, *self.mix):
            if isinstance(layer, nn.Conv2d):
                nn.init.dirac_(layer.weight, layer.groups)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)


def _predict_score_maps(channels: int, k: int, upsampling: int) -> nn.Module:
    if upsampling == 1:
        return nn.Conv2d(channels, k * k, 1)
    # A transposed convolution whose kernel equals its stride: each position gives cells of its own.
    return nn.ConvTranspose2d(channels, k * k, upsampling, stride=upsampling)


def side_by_side(layers: Sequence[nn.Module], x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _ dh dw"]:
    """The channels of several layers on one map: 1x1 convolutions as a single one, which reads the map once."""
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    if len(convolutions) < len(layers):
        return torch.cat([layer(x) for layer in layers], dim=1)
    assert all(layer.kernel_size == (1, 1) for layer in convolutions)
    biases = [layer.bias for layer in convolutions if layer.bias is not None]
    assert len(biases) in (0, len(layers))
    return F.conv2d(x, torch.cat([layer.weight for layer in convolutions]), torch.cat(biases) if biases else None)


class ScoreHead(nn.Module):
    """Objectness and the expected IoU of the assembled mask, for each window size."""

    def __init__(
        self, channels: int, window_sizes: Sequence[int], finest_window_sizes: Sequence[int], layers: int = 2
    ) -> None:
        super().__init__()
        self.tower = nn.Sequential(*(SeparableConv(channels) for _ in range(layers)))
        self.predict = nn.Conv2d(channels, 2 * len(window_sizes), 1)
        self.predict_finest = nn.Conv2d(channels, 2 * len(finest_window_sizes), 1)
        for layer in (self.predict, self.predict_finest):
            init_gaussian(layer)
            assert layer.bias is not None
            nn.init.constant_(layer.bias[::2], -math.log(1 / OBJECTNESS_PRIOR - 1))

    def forward(self, x: Float[Tensor, "b c h w"], finest: bool) -> list[Float[Tensor, "b 2 h w"]]:
        x = self.tower(x)
        return list(side_by_side([self.predict, *([self.predict_finest] if finest else [])], x).split(2, dim=1))


def init_gaussian(layer: nn.Module) -> None:
    """New layers start from a Gaussian of standard deviation 0.01 (paper 3.3)."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

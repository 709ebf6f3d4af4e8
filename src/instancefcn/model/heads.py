"""The two branches: instance-sensitive score maps, and scores of windows (paper Fig. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.model.pyramid import SeparableConv

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
    """k*k score maps for each window size, ``density`` times as fine as the positions.

    A transposed convolution whose kernel equals its stride is a sub-pixel convolution (Shi et al., CVPR 2016): each
    position gives density x density cells of its own. ``window_sizes`` counts those that every level has;
    ``finest_window_sizes`` are asked for at the finest level too.
    """

    def __init__(
        self, channels: int, k: int, density: int, window_sizes: Sequence[int], finest_window_sizes: Sequence[int]
    ) -> None:
        super().__init__()
        self.tower = nn.Sequential(SeparableConv(channels), SeparableConv(channels))
        self.predict, self.predict_finest = (
            nn.ModuleList(nn.ConvTranspose2d(channels, k * k, density, stride=density) for _ in sizes)
            for sizes in (window_sizes, finest_window_sizes)
        )
        self.predict.apply(init_gaussian)
        self.predict_finest.apply(init_gaussian)

    def forward(self, x: Float[Tensor, "b c h w"], finest: bool) -> list[Float[Tensor, "b k2 dh dw"]]:
        x = self.tower(x)
        return [predict(x) for predict in (*self.predict, *(self.predict_finest if finest else ()))]


class ScoreHead(nn.Module):
    """Objectness and the expected IoU of the assembled mask, for each window size."""

    def __init__(self, channels: int, window_sizes: Sequence[int], finest_window_sizes: Sequence[int]) -> None:
        super().__init__()
        self.tower = nn.Sequential(SeparableConv(channels), SeparableConv(channels))
        self.predict = nn.Conv2d(channels, 2 * len(window_sizes), 1)
        self.predict_finest = nn.Conv2d(channels, 2 * len(finest_window_sizes), 1)
        for layer in (self.predict, self.predict_finest):
            init_gaussian(layer)
            assert layer.bias is not None
            nn.init.constant_(layer.bias[::2], -math.log(1 / OBJECTNESS_PRIOR - 1))

    def forward(self, x: Float[Tensor, "b c h w"], finest: bool) -> list[Float[Tensor, "b 2 h w"]]:
        x = self.tower(x)
        predictions = self.predict(x).split(2, dim=1)
        if finest:
            predictions += self.predict_finest(x).split(2, dim=1)
        return list(predictions)


def init_gaussian(layer: nn.Module) -> None:
    """New layers start from a Gaussian of standard deviation 0.01 (paper 3.3)."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

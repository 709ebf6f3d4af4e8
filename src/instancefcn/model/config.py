"""Keys of a recipe's ``[network]`` table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from instancefcn.model.pyramid import NORM_GROUPS


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is built from. The defaults are the ``lite`` preset's; a checkpoint carries every key.

    Raises:
        ValueError: keys that don't go together; names them.
    """

    kind: Literal["single", "pyramid"] = "pyramid"  # one stride and one window size (paper 3.3), or a feature pyramid
    backbone: str = "tf_efficientnet_lite0"  # "vgg16" (single), or the name of any timm feature extractor
    k: int = 5  # relative positions along one side of a window
    channels: int = 96  # of the heads and the pyramid; 512 in the paper
    window_sizes: tuple[int, ...] = (11, 15)  # m: window sides in positions, on every level
    finest_window_sizes: tuple[int, ...] = (8,)  # pyramid: m of further windows on the finest level, at stride 4
    blocks: int = 5  # pyramid: residual blocks of each level; the finest, which costs most, has one at most
    batch_norm: Literal["folded", "frozen", "running"] = "folded"  # the trunk's; folded: frozen, and no layer left

    def __post_init__(self) -> None:
        if self.kind == "single" and (len(self.window_sizes) != 1 or self.finest_window_sizes):
            raise ValueError(
                f"network.kind = 'single' has one window size: window_sizes is {list(self.window_sizes)}, "
                f"finest_window_sizes {list(self.finest_window_sizes)}; set one entry and none"
            )
        if self.kind == "pyramid" and (self.channels % NORM_GROUPS or self.channels == NORM_GROUPS):
            raise ValueError(
                f"network.channels is {self.channels}: the pyramid's group norms need a multiple of {NORM_GROUPS} "
                f"above {NORM_GROUPS}"
            )
        if self.kind == "pyramid" and self.backbone == "vgg16":
            raise ValueError("network.backbone = 'vgg16' has one map, at stride 8: set network.kind = 'single'")

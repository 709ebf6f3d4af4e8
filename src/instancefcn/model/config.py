"""Keys of a recipe's ``[network]`` table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from instancefcn.config import check_values
from instancefcn.model.pyramid import NORM_GROUPS

MOST_SIZES = 16  # window sizes of one kind


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
        check_values(
            self,
            "network",
            k=(1, 64),
            channels=(1, 4096),
            window_sizes=(1, 512),
            finest_window_sizes=(1, 512),
            blocks=(0, 64),
        )
        if not re.fullmatch(r"[\w.-]+", self.backbone):  # timm would fetch hf-hub:NAME from the network
            raise ValueError(
                f"network.backbone is {self.backbone!r:.60}; it must be the name of a timm model, or vgg16"
            )
        if max(len(self.window_sizes), len(self.finest_window_sizes)) > MOST_SIZES or not self.window_sizes:
            raise ValueError(
                f"network.window_sizes has {len(self.window_sizes)} entries, finest_window_sizes "
                f"{len(self.finest_window_sizes)}; there must be 1 to {MOST_SIZES}, and 0 to {MOST_SIZES}"
            )
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

"""From a recipe's ``[network]`` table to a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from instancefcn.model.backbones import (
    VGG16,
    Backbone,
    TimmBackbone,
    fold_batch_norms,
    freeze_batch_norms,
)
from instancefcn.model.network import InstanceFCN, Network, PyramidInstanceFCN
from instancefcn.model.pretrained import load_imagenet
from instancefcn.model.pyramid import NORM_GROUPS


@dataclass(frozen=True)
class NetworkConfig:
    """Keys of ``[network]``. The defaults are what a checkpoint that lacks a key was trained with."""

    kind: Literal["single", "pyramid"] = "pyramid"  # one stride and one window, as the paper; or a feature pyramid
    backbone: str = "tf_efficientnet_lite0"  # "vgg16", or the name of any timm feature extractor
    k: int = 5  # relative positions along one side of a window
    channels: int = 96  # of the heads (and the pyramid); the paper has 512
    m: int = 21  # single: window side in positions
    window_sizes: tuple[int, ...] = (21, 30)  # pyramid: m of the windows on every level
    finest_window_sizes: tuple[int, ...] = (8, 11, 15)  # pyramid: m of further windows at stride 4
    extra_levels: int = 0  # pyramid: levels above the trunk's last map, at strides 64 and 128
    density: int = 2  # pyramid: score-map cells per position
    detail: bool = False  # pyramid: outlines from the trunk's map of half a level's stride; else from the level alone
    fine_from_stride: int = 0  # pyramid, detail: levels of this stride on (8 at least) at density 4; 0 for none
    blocks: int = 0  # pyramid: residual blocks of each of its levels but the finest
    finest_blocks: int = 0  # pyramid: residual blocks of the finest level
    coarse_logits: bool = False  # pyramid: add score maps of the level alone, enlarged, to the finer ones
    head_layers: int = 2  # pyramid: convolutions in each head before it predicts
    batch_norm: Literal["folded", "frozen", "running"] = "folded"  # the trunk's; folded: frozen and fast


def build_network(config: NetworkConfig, imagenet: bool = False) -> Network:
    """A network with a random or an ImageNet trunk, its batch norms as the recipe wants them.

    Raises:
        ValueError: an unknown backbone, or ImageNet weights that are not to be had.
    """
    single = config.kind != "pyramid"
    if not single and (config.channels % NORM_GROUPS or config.channels == NORM_GROUPS):
        raise ValueError(
            f"network.channels is {config.channels}; a pyramid needs a multiple of {NORM_GROUPS} above {NORM_GROUPS}, "
            "for its group norms"
        )
    if not single and config.detail and config.density != 2:
        raise ValueError(
            f"network.density is {config.density}: with network.detail it is 2; set detail = false for others"
        )
    if config.fine_from_stride and (not config.detail or config.fine_from_stride < 8):
        raise ValueError(
            f"network.fine_from_stride is {config.fine_from_stride}: it goes with network.detail = true, and must be 8 "
            "or more"
        )
    backbone: Backbone
    if config.backbone == "vgg16":
        if not single:
            raise ValueError("network.backbone = 'vgg16' has one map at stride 8: it goes with network.kind = 'single'")
        backbone = VGG16()
    elif single:
        backbone = TimmBackbone(config.backbone, strides=(8,), output_stride=8)
    else:
        backbone = TimmBackbone(config.backbone, strides=(2, 4, 8, 16, 32) if config.detail else (4, 8, 16, 32))
    if imagenet:
        load_imagenet(backbone)
    if config.batch_norm == "folded":
        fold_batch_norms(backbone)
    elif config.batch_norm == "frozen":
        freeze_batch_norms(backbone)
    if config.kind == "single":
        return InstanceFCN(backbone, k=config.k, m=config.m, channels=config.channels)
    return PyramidInstanceFCN(
        backbone,
        channels=config.channels,
        k=config.k,
        density=config.density,
        detail=config.detail,
        fine_from_stride=config.fine_from_stride,
        window_sizes=config.window_sizes,
        finest_window_sizes=config.finest_window_sizes,
        extra_levels=config.extra_levels,
        blocks=config.blocks,
        finest_blocks=config.finest_blocks,
        coarse_logits=config.coarse_logits,
        head_layers=config.head_layers,
    )

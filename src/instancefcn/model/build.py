"""From a ``NetworkConfig`` to a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from instancefcn.model.backbones import VGG16, Backbone, TimmBackbone
from instancefcn.model.batch_norms import fold_batch_norms, freeze_batch_norms
from instancefcn.model.config import NetworkConfig
from instancefcn.model.heads import MaskHead, PaperMaskHead, PaperScoreHead, ScoreHead
from instancefcn.model.network import InstanceFCN, Network, PyramidInstanceFCN
from instancefcn.model.pretrained import load_imagenet
from instancefcn.model.pyramid import Pyramid


def build_network(config: NetworkConfig, imagenet: bool = False, backbone: Backbone | None = None) -> Network:
    """Build a network with a random or an ImageNet trunk.

    Args:
        imagenet: load the trunk's ImageNet weights.
        backbone: replaces the trunk that ``config`` names.

    Raises:
        ValueError: an unknown backbone, or there are no ImageNet weights for it.

    Example:
        >>> build_network(NetworkConfig(channels=16)).window_sizes[0]
        WindowSize(stride=4, m=11, density=2)
    """
    backbone = prepare(backbone or build_backbone(config), config, imagenet)
    channels, sizes, finest_sizes = config.channels, config.window_sizes, config.finest_window_sizes
    if config.kind == "single":
        return InstanceFCN(
            backbone,
            mask_head=PaperMaskHead(backbone.channels[0], config.k, channels),
            score_head=PaperScoreHead(backbone.channels[0], channels),
            m=sizes[0],
        )
    return PyramidInstanceFCN(
        backbone,
        pyramid=Pyramid(backbone.channels[1:], channels, extra_levels=1, blocks=config.blocks),
        mask_head=MaskHead(channels, backbone.channels, config.k, len(sizes), len(finest_sizes)),
        score_head=ScoreHead(channels, len(sizes), len(finest_sizes)),
        window_sizes=sizes,
        finest_window_sizes=finest_sizes,
    )


def build_backbone(config: NetworkConfig) -> Backbone:
    """Build the trunk: one map at stride 8, or maps at strides 2 to 32 for a pyramid."""
    if config.backbone == "vgg16":
        return VGG16()
    if config.kind == "single":
        return TimmBackbone(config.backbone, strides=(8,), output_stride=8)
    return TimmBackbone(config.backbone, strides=(2, 4, 8, 16, 32))


def prepare(backbone: Backbone, config: NetworkConfig, imagenet: bool) -> Backbone:
    """Load a trunk's ImageNet weights if asked, then fold or freeze its batch norms as ``config`` says, in place."""
    if imagenet:
        load_imagenet(backbone)
    if config.batch_norm == "folded":
        fold_batch_norms(backbone)
    if config.batch_norm != "running":  # folded: some norms of timm are declared away from their convolution
        freeze_batch_norms(backbone)
    return backbone


def build_empty(config: NetworkConfig) -> Network:
    """The network on the device ``meta``: names and shapes of weights that take no memory, for others to be assigned.

    Raises:
        ValueError: as ``build_network``.
    """
    with torch.device("meta"), _Undrawn():
        return build_network(config)


class _Undrawn(TorchFunctionMode):
    """Leaves weights as they are, where they would be drawn: on ``meta``, that imports torch's compiler."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)

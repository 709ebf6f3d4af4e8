"""Networks of the experiments: the package's, the paper's on a small trunk, and ~DeepMask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from instancefcn.classifier.checkpoint import ProposalNetwork, identify
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.model import build
from instancefcn.model.backbones import VGG16, Backbone, TimmBackbone
from instancefcn.model.config import NetworkConfig
from instancefcn.model.network import Network
from instancefcn.model.pyramid import Pyramid
from reproduce.deepmask import DeepMask


@dataclass(frozen=True)
class ExperimentNetwork(NetworkConfig):
    """Keys of ``[network]``, with two more kinds.

    ``merged`` is the paper's network on a MergedBackbone; ``deepmask`` is ~DeepMask on that, or on VGG-16.
    """

    kind: Literal["single", "pyramid", "merged", "deepmask"] = "pyramid"  # pyright: ignore[reportIncompatibleVariableOverride]


class MergedBackbone(TimmBackbone):
    """A timm trunk at stride 8 that adds its coarser maps from above, as a feature pyramid does.

    This gives context, as holes do (paper 3.3), in a fraction of the time: on a CPU a depthwise convolution with holes
    takes ten times as long as one without.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__(name, strides=(8, 16, 32))
        self.merge = Pyramid(self.channels, channels)
        self.merge.smooth = self.merge.smooth[:1]  # only the finest map is used
        self.strides, self.channels = (8,), (channels,)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        return self.merge(super().forward(images))


def build_network(config: NetworkConfig, imagenet: bool = False) -> Network:
    """A network with a random or an ImageNet trunk.

    Raises:
        ValueError: an unknown backbone, or there are no ImageNet weights for it.
    """
    if config.kind in ("single", "pyramid"):
        return build.build_network(config, imagenet)
    vgg = config.backbone == "vgg16"
    backbone: Backbone = VGG16() if vgg else MergedBackbone(config.backbone, config.channels)
    if config.kind == "deepmask":
        return DeepMask(build.prepare(backbone, config, imagenet), channels=config.channels)
    return build.build_network(replace(config, kind="single"), imagenet, backbone)


def load_proposer(path: Path | None, device: str | torch.device) -> tuple[Proposer, ProposalNetwork]:
    """The proposer of a checkpoint of any of these networks, and which network it has; None for the shipped one.

    Raises:
        ValueError: the file is not a checkpoint.
    """
    path = path or SHIPPED_CHECKPOINT
    checkpoint = load_checkpoint(path, ExperimentNetwork)
    network = checkpoint.build(build_network(checkpoint.network))
    return Proposer(network, checkpoint.inference, device=device), identify(network, path)

"""Networks of the experiments: the package's, the paper's on a small trunk, and ~DeepMask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

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
    """Keys of ``[network]``, with two more kinds: ``single`` on a MergedBackbone, and ~DeepMask on it or on VGG-16."""

    kind: Literal["single", "pyramid", "merged", "deepmask"] = "pyramid"  # pyright: ignore[reportIncompatibleVariableOverride]


class MergedBackbone(TimmBackbone):
    """A timm trunk at stride 8 whose coarser maps come in from above, as in a pyramid: context at its own resolution.

    What holes give (paper 3.3), for a fraction of the time: a CPU takes ten times as long for a depthwise convolution
    with holes.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__(name, strides=(8, 16, 32))
        self.merge = Pyramid(self.channels, channels)
        self.merge.smooth = self.merge.smooth[:1]  # the finest map is the only one that is read
        self.strides, self.channels = (8,), (channels,)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        return self.merge(super().forward(images))


def build_network(config: NetworkConfig, imagenet: bool = False) -> Network:
    """A network with a random or an ImageNet trunk.

    Raises:
        ValueError: an unknown backbone, or ImageNet weights that are not to be had.
    """
    if config.kind in ("single", "pyramid"):
        return build.build_network(config, imagenet)
    vgg = config.backbone == "vgg16"
    backbone: Backbone = VGG16() if vgg else MergedBackbone(config.backbone, config.channels)
    if config.kind == "deepmask":
        return DeepMask(build.prepare(backbone, config, imagenet), channels=config.channels)
    return build.build_network(replace(config, kind="single"), imagenet, backbone)


def load_proposer(path: Path | None, device: str) -> tuple[Proposer, ProposalNetwork]:
    """What proposes from a checkpoint of any of these networks, and which one it is; None for the shipped one.

    Raises:
        ValueError: the file is not a checkpoint.
    """
    path = path or SHIPPED_CHECKPOINT
    checkpoint = load_checkpoint(path, ExperimentNetwork)
    network = checkpoint.build(build_network(checkpoint.network))
    return Proposer(network, checkpoint.inference, device=device), identify(checkpoint, path)

"""Networks of the experiments: the package's, the paper's on a small trunk, and ~DeepMask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from instancefcn.classifier.checkpoint import ProposalNetwork, identify
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
from instancefcn.inference.proposer import Proposer
from instancefcn.model import build
from instancefcn.model.backbones import VGG16, Backbone, TimmBackbone
from instancefcn.model.config import NetworkConfig
from instancefcn.model.network import InstanceFCN, Network
from reproduce.deepmask import DeepMask

# TensorFlow's padding of three convolutions of stride 2 has each position look this far (3.5 pixels) to the right and
# down of its cell's centre.
SHIFT = 4
LAST_STAGE = 4  # of a DilatedBackbone, counted from 0 after the stem; its first block is the last


@dataclass(frozen=True)
class ExperimentNetwork(NetworkConfig):
    """Keys of ``[network]``, with two more kinds.

    ``dilated`` is the paper's network on a DilatedBackbone; ``deepmask`` is ~DeepMask on that, or on VGG-16.
    """

    kind: Literal["single", "pyramid", "dilated", "deepmask"] = "pyramid"  # pyright: ignore[reportIncompatibleVariableOverride]


class DilatedBackbone(TimmBackbone):
    """The first stages of a timm EfficientNet, with holes from stride 8 on, as the paper's VGG-16 has them (3.3).

    It has no norm over the map and no context from far away. It ends after the first block of its fifth stage: there
    EfficientNet-Lite0 sees 211 x 211 pixels (VGG-16: 212). So the features at the centre of a crop of 224 are those of
    the whole image.

    Raises:
        ValueError: timm has no such model, or it is no EfficientNet.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, strides=(8,), output_stride=8)
        if not hasattr(self.net, "conv_stem") or len(self.net.blocks) <= LAST_STAGE:
            raise ValueError(f"network.kind = 'dilated' needs a timm EfficientNet, not {name!r}")
        del self.net.blocks[LAST_STAGE + 1 :]
        del self.net.blocks[LAST_STAGE][1:]
        self.channels = (self.net.feature_info.channels()[LAST_STAGE - 1],)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        height, width = (side // self.strides[0] for side in images.shape[-2:])
        # An even frame, as the padding depends on the parity of each map's sides.
        x = F.pad(self.normalize(images), (SHIFT, SHIFT, SHIFT, SHIFT))
        return [self.net.blocks(self.net.bn1(self.net.conv_stem(x)))[..., :height, :width]]


def build_network(config: NetworkConfig, imagenet: bool = False) -> Network:
    """A network with a random or an ImageNet trunk.

    Raises:
        ValueError: an unknown backbone, or there are no ImageNet weights for it.
    """
    if config.kind in ("single", "pyramid"):
        return build.build_network(config, imagenet)
    vgg = config.backbone == "vgg16"
    backbone: Backbone = VGG16() if vgg else DilatedBackbone(config.backbone)
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


@cache
def mask_parameters(config: ExperimentNetwork) -> int:
    """Weights of the layer that makes masks: 0.1 million in the paper's network (3.3), 53 million in ~DeepMask."""
    with torch.device("meta"):  # shapes without memory
        network = build_network(config)
    if isinstance(network, DeepMask):
        layers = [network.mask_layer.reduce, network.mask_layer.expand]
    else:
        assert isinstance(network, InstanceFCN)
        layers = [network.mask_head[-1]]
    return sum(layer.weight.numel() for layer in layers)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]

"""Feature maps to name boxes by: from a trunk of the classifier's own, or from the proposal network's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from instancefcn.classifier.config import OF_PROPOSALS, ClassifierConfig
from instancefcn.data.transforms import PADDING_VALUE
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import Proposer, resized_sizes
from instancefcn.model.backbones import VGG16, Backbone, TimmBackbone, fold_batch_norms
from instancefcn.model.pretrained import load_imagenet


@dataclass(frozen=True)
class TrunkMaps:
    """What a trunk made of one image."""

    maps: list[Float[Tensor, "1 _ _ _"]]  # finest first
    scale: tuple[float, float]  # pixels that the trunk saw per image pixel, in x and in y


class Trunk(nn.Module):
    """A backbone that sees whole images at a size of its own."""

    def __init__(self, backbone: Backbone, shorter_side: float, longest_side: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.sizes = InferenceConfig(shorter_sides=(shorter_side,), longest_side=longest_side)

    def forward(self, pixels: UInt8[Tensor, "3 h w"], factor: float = 1.0) -> TrunkMaps:
        """Maps of an image; ``factor`` times the size that it is seen at by rule."""
        height, width = pixels.shape[-2:]
        shorter_sides = (factor * self.sizes.shorter_sides[0],)
        wanted = replace(self.sizes, shorter_sides=shorter_sides, longest_side=factor * self.sizes.longest_side)
        ((rows, columns),) = resized_sizes(height, width, wanted)
        resized = TF.resize(pixels, [rows, columns], antialias=True).to(self.backbone.mean.device)
        multiple = self.backbone.strides[-1]
        padded = F.pad(resized[None], (0, -columns % multiple, 0, -rows % multiple), value=PADDING_VALUE).float()
        maps = self.backbone(padded.contiguous(memory_format=torch.channels_last))
        return TrunkMaps(maps, (columns / width, rows / height))


def build_trunk(config: ClassifierConfig, *, imagenet: bool) -> Trunk | None:
    """The trunk that a recipe names, with ImageNet weights or none yet; None for the proposals' own.

    Raises:
        ValueError: an unknown backbone, strides that it does not have, or weights that are not to be had.
    """
    if config.trunk == OF_PROPOSALS:
        return None
    backbone: Backbone
    if config.trunk == "vgg16":
        backbone = VGG16()
        if config.strides != backbone.strides:
            raise ValueError(
                f"classifier.trunk 'vgg16' has one map, at stride 8: classifier.strides is {config.strides}"
            )
    else:
        backbone = TimmBackbone(config.trunk, strides=config.strides)
    if imagenet:
        load_imagenet(backbone)
    fold_batch_norms(backbone)
    return Trunk(backbone, config.shorter_side, config.longest_side)


def channels_of_proposals(proposer: Proposer, strides: Sequence[int]) -> tuple[int, ...]:
    """Channels of the maps of the proposal network's trunk at some strides.

    Raises:
        ValueError: it lacks a stride, or sees an image more than once.
    """
    backbone = proposer.network.backbone
    if len(proposer.config.shorter_sides) != 1:
        raise ValueError(
            f"the proposal network sees an image at {len(proposer.config.shorter_sides)} scales; with classifier.trunk "
            f"= {OF_PROPOSALS!r} it must be one: name a trunk of the classifier's own instead"
        )
    missing = [stride for stride in strides if stride not in backbone.strides]
    if missing:
        raise ValueError(
            f"the proposal network's trunk has maps at strides {list(backbone.strides)}, none at {missing}"
        )
    return tuple(backbone.channels[backbone.strides.index(stride)] for stride in strides)


class ProposalTrunk:
    """The proposal network's trunk, in the form of a ``Trunk``.

    Args:
        strides: which of its maps to give.
    """

    def __init__(self, proposer: Proposer, strides: Sequence[int]) -> None:
        channels_of_proposals(proposer, strides)
        self.proposer = proposer
        self.indices = [proposer.network.backbone.strides.index(stride) for stride in strides]

    def __call__(self, pixels: UInt8[Tensor, "3 h w"], factor: float = 1.0) -> TrunkMaps:
        """Maps of an image; ``factor`` times the size that proposals are made at."""
        height, width = pixels.shape[-2:]
        config = self.proposer.config
        wanted = replace(config, shorter_sides=(factor * config.shorter_sides[0],))
        (size,) = resized_sizes(height, width, wanted)
        maps = self.proposer.network.backbone(self.proposer.resize(pixels, size))
        return TrunkMaps([maps[index] for index in self.indices], (size[1] / width, size[0] / height))

    @contextmanager
    def overhear(self) -> Iterator[list[TrunkMaps]]:
        """What the trunk makes of the images that proposals are made of meanwhile, so that none passes it twice.

        The scale is left open: see ``of_image``.
        """
        heard: list[TrunkMaps] = []

        def listen(module: nn.Module, inputs: object, maps: list[Tensor]) -> None:
            heard.append(TrunkMaps([maps[index].float() for index in self.indices], (1.0, 1.0)))

        hook = self.proposer.network.backbone.register_forward_hook(listen)
        try:
            yield heard
        finally:
            hook.remove()

    def of_image(self, heard: Sequence[TrunkMaps], height: int, width: int) -> TrunkMaps:
        """What was heard, when it was of one image of that size."""
        (maps,) = heard
        (size,) = resized_sizes(height, width, self.proposer.config)
        return replace(maps, scale=(size[1] / width, size[0] / height))

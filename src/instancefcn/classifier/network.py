"""The classifier: maps of an image, boxes and masks in; a logit for background and for each category out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from instancefcn.classifier.config import ClassifierConfig
from instancefcn.classifier.heads import Head, LiteHead, PaperHead
from instancefcn.classifier.trunk import TrunkMaps, build_trunk


class Classifier(nn.Module):
    """A head, and its own trunk unless it lives on the proposal network's.

    Args:
        categories: names by the data set's ids; class i + 1 is the i-th, class 0 background.
        channels: of the maps, where they come from the proposal network's trunk.
        imagenet: start the own trunk from ImageNet weights.
    """

    def __init__(
        self,
        config: ClassifierConfig,
        categories: Mapping[int, str],
        *,
        channels: Sequence[int] = (),
        imagenet: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.categories = dict(categories)
        self.trunk = build_trunk(config, imagenet=imagenet)
        self.channels = tuple(channels) if self.trunk is None else self.trunk.backbone.channels
        self.head: Head
        if config.head == "paper":
            self.head = PaperHead(self.channels, config.strides, len(self.categories), config.width, config.dropout)
        else:
            self.head = LiteHead(
                self.channels, config.strides, len(self.categories), config.width, config.reduced, config.dropout
            )

    def forward(
        self, maps: TrunkMaps, boxes_xyxy: Float[Tensor, "n 4"], masks: UInt8[Tensor, "n 14 14"]
    ) -> Float[Tensor, "n classes"]:
        """Logits of boxes in the image's frame with their masks; class 0 is background."""
        scale = torch.tensor([*maps.scale, *maps.scale], device=boxes_xyxy.device)
        return self.head(maps.maps, boxes_xyxy * scale, masks / 255)

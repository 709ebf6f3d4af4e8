"""The classifier: a trunk sees the image, a head gives each box with its mask a logit for every category."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from instancefcn.classifier.config import ClassifierConfig
from instancefcn.classifier.heads import LiteHead, PaperHead
from instancefcn.data.resizing import network_input, resized_size
from instancefcn.model.backbones import VGG16, Backbone, TimmBackbone
from instancefcn.model.batch_norms import fold_batch_norms
from instancefcn.model.pretrained import load_imagenet

STRIDES = (16, 32)  # of the maps of a timm trunk; VGG-16 has one, at stride 8


class Trunk(nn.Module):
    """A backbone that sees whole images at a size of its own."""

    def __init__(self, backbone: Backbone, shorter_side: float, longest_side: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.shorter_side, self.longest_side = shorter_side, longest_side

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The size (height, width) that it sees an image of this size at."""
        return resized_size(height, width, self.shorter_side, self.longest_side)

    def forward(self, pixels: UInt8[Tensor, "3 h w"]) -> list[Float[Tensor, "1 _ _ _"]]:
        size, backbone = self.resized(*pixels.shape[-2:]), self.backbone
        return backbone(network_input(pixels, size, backbone.strides[-1], backbone.mean.device))


class Classifier(nn.Module):
    """A trunk and its head: the paper's on VGG-16, else the small one.

    Args:
        categories: names by the data set's ids; class i + 1 is the i-th, class 0 background.
        imagenet: start the trunk from ImageNet weights.

    Raises:
        ValueError: an unknown backbone, or weights that are not to be had.
    """

    def __init__(self, config: ClassifierConfig, categories: Mapping[int, str], *, imagenet: bool = False) -> None:
        super().__init__()
        self.config = config
        self.categories = dict(categories)
        classes = len(self.categories)
        backbone: Backbone
        if config.trunk == "vgg16":
            backbone = VGG16()
            self.head = PaperHead(backbone.channels[0], backbone.strides[0], classes, config.width)
        else:
            backbone = TimmBackbone(config.trunk, strides=STRIDES)
            self.head = LiteHead(backbone.channels, backbone.strides, classes, config.width)
        if imagenet:
            load_imagenet(backbone)
        fold_batch_norms(backbone)
        self.trunk = Trunk(backbone, config.shorter_side, config.longest_side)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.trunk.backbone.mean.device

    def forward(
        self,
        maps: list[Float[Tensor, "1 _ _ _"]],
        size: tuple[int, int],
        boxes_xyxy: Float[Tensor, "n 4"],
        masks: UInt8[Tensor, "n 14 14"],
    ) -> Float[Tensor, "n classes"]:
        """Logits of boxes with their masks; class 0 is background.

        Args:
            maps: of the trunk.
            size: (height, width) of the image, in whose frame the boxes are.
        """
        (height, width), (resized_height, resized_width) = size, self.trunk.resized(*size)
        scale = torch.tensor([resized_width / width, resized_height / height] * 2, device=boxes_xyxy.device)
        return self.head(maps, boxes_xyxy * scale, masks / 255)

"""Trunks that turn an image into feature maps: VGG-16 with holes (paper 3.3) and any timm feature extractor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import timm
import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


class Backbone(nn.Module):
    """Feature maps of an image, finest first.

    ``strides`` and ``channels`` describe the maps. Images come as RGB in 0..255; the input normalisation is the
    trunk's own, because the weights decide it.
    """

    strides: tuple[int, ...]
    channels: tuple[int, ...]
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def normalize(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        return (images - self.mean) / self.std

    def stages(self) -> list[nn.Module]:
        """Parts in the order an image passes them, for freezing the first few."""
        raise NotImplementedError


class VGG16(Backbone):
    """The 13 convolutions of VGG-16 with pool4 at stride 1 and holes of 2 in conv5: stride 8 (paper 3.3).

    Parameter names are torchvision's (``features.N``), hence its weights load as they are.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
        layers: list[nn.Module] = []
        channels = 3
        for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
            out_channels = width * min(2 ** (block - 1), 8)
            holes = 2 if block == 5 else 1
            for _ in range(convolutions):
                layers += [nn.Conv2d(channels, out_channels, 3, padding=holes, dilation=holes), nn.ReLU()]
                channels = out_channels
            if block < 4:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            elif block == 4:  # keeps the size: windows of 2 at stride 1, the far border padded by hand below
                layers.append(nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, stride=1)))
        self.features = nn.Sequential(*layers)
        self.strides, self.channels = (8,), (channels,)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        return [self.features(self.normalize(images))]

    def stages(self) -> list[nn.Module]:
        ends = [i + 1 for i, layer in enumerate(self.features) if not isinstance(layer, nn.Conv2d | nn.ReLU)]
        starts = [0, *ends]
        return [self.features[start:end] for start, end in zip(starts, [*ends, len(self.features)], strict=True)]


class TimmBackbone(Backbone):
    """Any timm feature extractor, by name, without weights (see ``pretrained``).

    Args:
        name: a timm model that supports ``features_only``.
        strides: which feature maps to give.
        output_stride: the coarsest stride; below 32 the later stages keep their resolution and get holes instead.
    """

    def __init__(self, name: str, strides: Sequence[int] = (4, 8, 16, 32), output_stride: int = 32) -> None:
        pretrained_cfg = timm.get_pretrained_cfg(name)
        if pretrained_cfg is None and not timm.is_model(name):
            raise ValueError(f"backbone {name!r} is no timm model; timm.list_models() lists them")
        mean = [255 * value for value in pretrained_cfg.mean] if pretrained_cfg else [127.5] * 3
        std = [255 * value for value in pretrained_cfg.std] if pretrained_cfg else [127.5] * 3
        super().__init__(mean, std)
        self.name = name
        self.net: Any = timm.create_model(name, features_only=True, pretrained=False, output_stride=output_stride)
        shift_same_padding(self.net)
        reductions: list[int] = self.net.feature_info.reduction()
        # Below the usual stride several stages end at one resolution: the deepest of them speaks for it.
        index_of = {reduction: index for index, reduction in enumerate(reductions)}
        missing = [stride for stride in strides if stride not in index_of]
        if missing:
            raise ValueError(f"backbone {name!r} has maps at strides {sorted(index_of)}, none at {missing}")
        self.indices = [index_of[stride] for stride in strides]
        self.strides = tuple(strides)
        all_channels: list[int] = self.net.feature_info.channels()
        self.channels = tuple(all_channels[index] for index in self.indices)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        maps = self.net(self.normalize(images))
        return [maps[index] for index in self.indices]

    def stages(self) -> list[nn.Module]:
        """The stem (with its norm), then the stages of a timm network that keeps them in ``blocks``."""
        children = dict(self.net.named_children())
        if "blocks" not in children:
            return list(children.values())
        stem = nn.ModuleList(child for name, child in children.items() if name != "blocks")
        return [stem, *children["blocks"]]


class ShiftedConv2d(nn.Conv2d):
    """TensorFlow's "same" padding of odd kernels at stride 2: where a side is even, by one less in front than behind.

    timm pads a copy of the map, which takes longer than the convolution. Padded by the convolution, and by two more in
    front, the same outputs lie behind one more row and column.
    """

    def __init__(self, same: nn.Conv2d) -> None:
        super().__init__(same.in_channels, same.out_channels, 1, stride=2, groups=same.groups, device="meta")
        self.kernel_size, self.weight, self.bias = same.kernel_size, same.weight, same.bias

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _ _ _"]:
        top, left = (1 - side % 2 for side in input.shape[-2:])
        padding = self.kernel_size[0] // 2 + top, self.kernel_size[1] // 2 + left
        shifted = F.conv2d(input, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return shifted[..., top:, left:]


def shift_same_padding(module: nn.Module) -> None:
    """Replace, in place, the convolutions of stride 2 that pad copies of their maps (those of odd kernels above 1)."""
    for parent in list(module.modules()):
        for name, conv in list(parent.named_children()):
            if isinstance(conv, Conv2dSame):
                assert isinstance(conv, nn.Conv2d)
                odd = all(side % 2 and side > 1 for side in conv.kernel_size)
                if odd and conv.stride == (2, 2) and conv.dilation == (1, 1):
                    setattr(parent, name, ShiftedConv2d(conv))


def fold_batch_norms(module: nn.Module) -> None:
    """Fold every batch norm that follows a convolution into it, in place: frozen statistics and affine, no layer left.

    Uses that timm (and torchvision) declare a norm right after its convolution. The activation that timm keeps inside
    its norm layers stays where the norm was.
    """
    for parent in list(module.modules()):
        children = list(parent.named_children())
        for (_, conv), (name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                setattr(parent, name, getattr(norm, "act", nn.Identity()))


def freeze_batch_norms(module: nn.Module) -> None:
    """Make batch norms keep their running statistics, and their affine, also in training."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()
            norm.requires_grad_(False)

"""Trunks that turn an image into feature maps: VGG-16 with holes (paper 3.3) and any timm feature extractor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.model import efficientnet
from instancefcn.model.convolutions import shift_same_padding


class Backbone(nn.Module):
    """Feature maps of an image, finest first; ``strides`` and ``channels`` describe them.

    Images come as RGB in 0..255. The input normalisation belongs to the trunk, because its weights decide it.
    ``weights_from`` says where its first weights came from.
    """

    strides: tuple[int, ...]
    channels: tuple[int, ...]
    mean: Tensor
    std: Tensor
    weights_from: str = "random"

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def normalize(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        return (images - self.mean) / self.std

    def stages(self) -> list[nn.Module]:
        """Parts of the trunk, first to last, so that the first few can be frozen."""
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
            elif block == 4:  # as in DeepLab; 2 x 2 at stride 1 would shift the map by half a position
                layers.append(nn.MaxPool2d(3, stride=1, padding=1))
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

    ``lite``'s own is built without timm (``efficientnet``), unless it is to be dilated.

    Args:
        name: a timm model that supports ``features_only``.
        strides: of the feature maps to return.
        output_stride: the coarsest stride; below 32 the later stages keep their resolution and are dilated instead.

    Raises:
        ValueError: timm has no such model, or the model has no map at one of the strides.
    """

    def __init__(self, name: str, strides: Sequence[int] = (4, 8, 16, 32), output_stride: int = 32) -> None:
        if name == efficientnet.NAME and output_stride == efficientnet.STRIDES[-1]:
            net: Any = efficientnet.EfficientNetLite0()
            mean, std = efficientnet.MEAN, efficientnet.STD
            reductions, all_channels = efficientnet.STRIDES, efficientnet.CHANNELS
        else:
            net, mean, std = _timm_features(name, output_stride)
            reductions, all_channels = net.feature_info.reduction(), net.feature_info.channels()
        super().__init__([255 * value for value in mean], [255 * value for value in std])
        self.name, self.net = name, net
        # With a smaller output stride several stages have one resolution; the deepest is taken.
        index_of = {reduction: index for index, reduction in enumerate(reductions)}
        missing = [stride for stride in strides if stride not in index_of]
        if missing:
            raise ValueError(f"backbone {name!r} has maps at strides {sorted(index_of)}, none at {missing}")
        self.indices = [index_of[stride] for stride in strides]
        self.strides = tuple(strides)
        self.channels = tuple(all_channels[index] for index in self.indices)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        maps = self.net(self.normalize(images))
        return [maps[index] for index in self.indices]

    def stages(self) -> list[nn.Module]:
        """The stem with its norm, then each stage; networks without ``blocks`` give their children."""
        children = dict(self.net.named_children())
        if "blocks" not in children:
            return list(children.values())
        stem = nn.ModuleList(child for name, child in children.items() if name != "blocks")
        return [stem, *children["blocks"]]


def _timm_features(name: str, output_stride: int) -> tuple[Any, Sequence[float], Sequence[float]]:
    """timm's feature extractor, with mean and standard deviation of its input in 0..1."""
    import timm

    pretrained_cfg = timm.get_pretrained_cfg(name)
    if pretrained_cfg is None and not timm.is_model(name):
        raise ValueError(f"backbone {name!r} is no timm model; timm.list_models() lists them")
    try:
        net = timm.create_model(name, features_only=True, pretrained=False, output_stride=output_stride)
    except (TypeError, RuntimeError, AttributeError, AssertionError) as error:  # such as transformers raise
        raise ValueError(f"backbone {name!r} gives no maps of several strides: {error}") from error
    shift_same_padding(net)
    mean, std = (pretrained_cfg.mean, pretrained_cfg.std) if pretrained_cfg else ((0.5,) * 3, (0.5,) * 3)
    return net, mean, std

"""EfficientNet-Lite0, the trunk of ``lite``: as timm has it, name by name, without waiting for timm to be imported.

timm brings all its models, and torchvision with torch's compiler, which proposing needs nothing of.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn

from instancefcn.model.activated import activated
from instancefcn.model.convolutions import ShiftedConv2d
from instancefcn.model.separable import DepthwiseConv2d, PointwiseConv2d

NAME = "tf_efficientnet_lite0"  # timm's
MEAN = STD = (0.5, 0.5, 0.5)  # of its input in 0..1, as timm states them
STRIDES = (2, 4, 8, 16, 32)  # of the maps that it gives
CHANNELS = (16, 24, 40, 112, 320)
STEM = 32  # channels
EPSILON = 1e-3  # of the norms, TensorFlow's

# Of each stage: blocks, kernel, stride, expansion, channels (Tan and Le, ICML 2019, Table 1, without excitation).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LAST_OF_STRIDE = (0, 1, 2, 4, 6)  # the stage whose map is given


class EfficientNetLite0(nn.Module):
    """The trunk without a classifier; its weights are random, of the variance that timm gives them.

    Its parameters have timm's names and order, so that the weights of either fit the other.

    Example:
        >>> import torch
        >>> [tuple(features.shape[1:]) for features in EfficientNetLite0()(torch.zeros(1, 3, 64, 96))][-1]
        (320, 2, 3)
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _convolution(3, STEM, 3, stride=2)
        self.bn1 = NormAct(STEM, nn.ReLU6(inplace=True))
        stages: list[nn.Sequential] = []
        before = STEM
        for count, kernel, stride, expansion, channels in STAGES:
            blocks: list[nn.Module] = []
            for index in range(count):
                steps = stride if index == 0 else 1
                if expansion == 1:
                    blocks.append(Separable(before, channels, kernel))
                else:
                    blocks.append(InvertedResidual(before, channels, kernel, steps, expansion))
                before = channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        features = activated(self.conv_stem, self.bn1, images)
        maps: list[Tensor] = []
        for stage, blocks in enumerate(self.blocks):
            features = blocks(features)
            if stage in LAST_OF_STRIDE:
                maps.append(features)
        return maps


class NormAct(nn.BatchNorm2d):
    """Batch norm, then an activation."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels, eps=EPSILON)
        self.act = act

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.act(super().forward(input))


class Separable(nn.Module):
    """The first block: each channel by itself, then a product of channels. The two differ in number."""

    def __init__(self, before: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv_dw = _convolution(before, before, kernel, groups=before)
        self.bn1 = NormAct(before, nn.ReLU6(inplace=True))
        self.conv_pw = _convolution(before, channels, 1)
        self.bn2 = NormAct(channels, nn.Identity())

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _ h w"]:
        return self.bn2(self.conv_pw(activated(self.conv_dw, self.bn1, features)))


class InvertedResidual(nn.Module):
    """More channels, each by itself, then fewer; what came in is added where its shape allows."""

    def __init__(self, before: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = before * expansion
        self.residual = stride == 1 and before == channels
        self.conv_pw = _convolution(before, inner, 1)
        self.bn1 = NormAct(inner, nn.ReLU6(inplace=True))
        self.conv_dw = _convolution(inner, inner, kernel, stride=stride, groups=inner)
        self.bn2 = NormAct(inner, nn.ReLU6(inplace=True))
        self.conv_pwl = _convolution(inner, channels, 1)
        self.bn3 = NormAct(channels, nn.Identity())

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _ _ _"]:
        inner = activated(self.conv_dw, self.bn2, activated(self.conv_pw, self.bn1, features))
        result = self.bn3(self.conv_pwl(inner))
        return result + features if self.residual else result


def _convolution(before: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution with TensorFlow's "same" padding."""
    if groups == channels and kernel == 5 and stride == 1:
        return DepthwiseConv2d(channels, kernel, bias=False)
    if kernel == 1:
        return PointwiseConv2d(before, channels, bias=False)
    plain = nn.Conv2d(before, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return ShiftedConv2d(plain) if stride == 2 else plain

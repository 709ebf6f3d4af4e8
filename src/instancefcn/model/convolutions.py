"""TensorFlow's "same" padding without a copy of the map, for the timm trunks that were trained with it."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ShiftedConv2d(nn.Conv2d):
    """Convolution of stride 2 with an odd kernel and TensorFlow's "same" padding.

    TensorFlow pads an even side by one pixel less in front than behind. timm pads a copy of the map for that, which
    takes longer than the convolution. Here the convolution pads by two pixels more in front; this gives the same output
    behind one extra row and column, which are cut off.
    """

    def __init__(self, same: nn.Conv2d) -> None:
        super().__init__(same.in_channels, same.out_channels, 1, stride=2, groups=same.groups, device="meta")
        self.kernel_size, self.weight, self.bias = same.kernel_size, same.weight, same.bias

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _ _ _"]:
        padding, (top, left) = self.placed(input)
        shifted = F.conv2d(input, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return shifted[..., top:, left:]

    def placed(self, input: Float[Tensor, "b c h w"]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns to pad an input by, and how many of the output's first ones are cut off."""
        top, left = (1 - side % 2 for side in input.shape[-2:])
        return (self.kernel_size[0] // 2 + top, self.kernel_size[1] // 2 + left), (top, left)


def shift_same_padding(module: nn.Module) -> None:
    """Replace timm's padding convolutions of stride 2 and odd kernels above 1 by ``ShiftedConv2d``, in place."""
    from timm.layers.conv2d_same import Conv2dSame

    for parent in list(module.modules()):
        for name, conv in list(parent.named_children()):
            if isinstance(conv, Conv2dSame):
                assert isinstance(conv, nn.Conv2d)
                odd = all(side % 2 and side > 1 for side in conv.kernel_size)
                if odd and conv.stride == (2, 2) and conv.dilation == (1, 1):
                    setattr(parent, name, ShiftedConv2d(conv))

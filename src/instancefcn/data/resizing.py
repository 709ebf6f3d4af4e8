"""From an image to a network's input: resized, and padded to sides that the network takes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

PADDING_VALUE = 127  # beyond the image; near the mean of every trunk, so that the border is no strong edge


def resizing_scale(height: int | float, width: int | float, shorter_side: float, longest_side: float) -> float:
    """The factor that makes an image's shorter side ``shorter_side``, or less for ``longest_side``."""
    return min(shorter_side / min(height, width), longest_side / max(height, width))


def resized_size(height: int, width: int, shorter_side: float, longest_side: float) -> tuple[int, int]:
    """(height, width) of an image whose shorter side becomes ``shorter_side``, or less for ``longest_side``."""
    scale = resizing_scale(height, width, shorter_side, longest_side)
    return max(1, round(height * scale)), max(1, round(width * scale))


def pad(pixels: UInt8[Tensor, "*b 3 h w"], height: int, width: int) -> UInt8[Tensor, "*b 3 _ _"]:
    """Pixels with padding below and on the right, up to a size."""
    return F.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]), value=PADDING_VALUE)


def resize(pixels: UInt8[Tensor, "3 h w"], size: tuple[int, int]) -> UInt8[Tensor, "3 _ _"]:
    """An image at ``size`` (height, width), bilinear and without aliasing; the same where it has that size.

    As torchvision's ``resize`` does it on processors with AVX2 or ARM's, bit by bit.
    """
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    # Where channels are last, a batch of one made behind them has them last, so that nothing is copied to resize it.
    # Of an image that is one pixel wide torch takes planes for such a batch, and reads beyond them.
    last = pixels.stride(0) == 1 or pixels.shape[-1] == 1
    batch = pixels.permute(1, 2, 0).contiguous()[None].permute(0, 3, 1, 2) if last else pixels[None]
    return F.interpolate(batch, size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def network_input(
    pixels: UInt8[Tensor, "3 h w"], size: tuple[int, int], multiple: int, device: torch.device
) -> Float[Tensor, "1 3 _ _"]:
    """An image at ``size`` (height, width), padded to sides that are multiples of ``multiple``; channels last."""
    height, width = (-(-side // multiple) * multiple for side in size)
    resized = resize(pixels, size)[None].to(device)
    return pad(resized, height, width).float().contiguous(memory_format=torch.channels_last)

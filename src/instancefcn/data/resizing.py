"""From an image to a network's input: resized, and padded to a multiple of the network's coarsest stride."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

PADDING_VALUE = 127  # beyond the image; near the mean of every trunk, so that the border is no strong edge


def resized_size(height: int, width: int, shorter_side: float, longest_side: float) -> tuple[int, int]:
    """(height, width) of an image whose shorter side becomes ``shorter_side``, or less for ``longest_side``."""
    scale = min(shorter_side / min(height, width), longest_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def pad(pixels: UInt8[Tensor, "*b 3 h w"], height: int, width: int) -> UInt8[Tensor, "*b 3 _ _"]:
    """Pixels with padding below and on the right, up to a size."""
    return F.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]), value=PADDING_VALUE)


def resize(pixels: UInt8[Tensor, "3 h w"], size: tuple[int, int]) -> UInt8[Tensor, "3 _ _"]:
    """An image at ``size`` (height, width); the same where it has that size."""
    return TF.resize(pixels, list(size), antialias=True)


def network_input(
    pixels: UInt8[Tensor, "3 h w"], size: tuple[int, int], multiple: int, device: torch.device
) -> Float[Tensor, "1 3 _ _"]:
    """An image at ``size`` (height, width), padded to sides that are multiples of ``multiple``; channels last."""
    height, width = (-(-side // multiple) * multiple for side in size)
    resized = resize(pixels, size)[None].to(device)
    return pad(resized, height, width).float().contiguous(memory_format=torch.channels_last)

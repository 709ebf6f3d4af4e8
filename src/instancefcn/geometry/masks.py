"""Areas and tight boxes of masks as tensors. Every cell that is not 0 is foreground."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor


def areas(masks: Shaped[Tensor, "n h w"]) -> Float[Tensor, "n"]:
    """Number of foreground cells of masks of 0 and 1, exact up to 2^24; summing floats is faster than booleans."""
    return masks.flatten(1).float().sum(1)


def tight_boxes(masks: Bool[Tensor, "n h w"] | UInt8[Tensor, "n h w"]) -> Int[Tensor, "n 4"]:
    """Smallest box around each mask, xyxy, half-open, in the mask's own cells; 0 0 0 0 for an empty mask."""
    n, height, width = masks.shape
    numbers = masks.view(torch.uint8)  # maxima of numbers are fast, any() of booleans is not
    sides: list[Tensor] = []
    for occupied, size in ((numbers.amax(1) > 0, width), (numbers.amax(2) > 0, height)):
        first = occupied.int().argmax(1)
        last = size - occupied.flip(1).int().argmax(1)
        sides.append(torch.stack([first, last], dim=1) * occupied.any(1, keepdim=True))
    x, y = sides
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1).reshape(n, 4)

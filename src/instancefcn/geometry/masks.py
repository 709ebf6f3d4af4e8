"""Masks as arrays: areas and tight boxes. Foreground is what is not 0."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor


def areas(masks: Shaped[Tensor, "n h w"]) -> Float[Tensor, "n"]:
    """Foreground cells of masks of 0 and 1, exact up to 2^24: floats add up in a fraction of the time of booleans."""
    return masks.flatten(1).float().sum(1)


def tight_boxes(masks: Bool[Tensor, "n h w"] | UInt8[Tensor, "n h w"]) -> Int[Tensor, "n 4"]:
    """Smallest boxes around masks, xyxy, half-open, in the masks' own cells; of an empty mask 0 0 0 0."""
    n, height, width = masks.shape
    numbers = masks.view(torch.uint8)  # their maxima are fast, and any() is not
    sides: list[Tensor] = []
    for occupied, size in ((numbers.amax(1) > 0, width), (numbers.amax(2) > 0, height)):
        first = occupied.int().argmax(1)
        last = size - occupied.flip(1).int().argmax(1)
        sides.append(torch.stack([first, last], dim=1) * occupied.any(1, keepdim=True))
    x, y = sides
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1).reshape(n, 4)

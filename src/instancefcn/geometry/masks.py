"""Masks as arrays: tight boxes, areas and pairwise IoU.

Foreground is what is not 0. As numbers, sums over masks take a fraction of the time that they take over booleans.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


def areas(masks: Shaped[Tensor, "n h w"]) -> Float[Tensor, "n"]:
    """Foreground cells of masks of 0 and 1; exact up to 2^24."""
    return masks.flatten(1).float().sum(1)


def tight_boxes(masks: Shaped[Tensor, "n h w"]) -> Int[Tensor, "n 4"]:
    """Smallest boxes around masks, xyxy, half-open, in the masks' own cells; of an empty mask 0 0 0 0."""
    n, height, width = masks.shape
    # Sums of numbers are fast for many small masks, maxima of bytes for a few large ones; any() is slow for both.
    reduce = torch.sum if masks.is_floating_point() else torch.amax
    masks = masks.view(torch.uint8) if masks.dtype == torch.bool else masks
    sides: list[Tensor] = []
    for occupied, size in ((reduce(masks, 1) > 0, width), (reduce(masks, 2) > 0, height)):
        first = occupied.int().argmax(1)
        last = size - occupied.flip(1).int().argmax(1)
        sides.append(torch.stack([first, last], dim=1) * occupied.any(1, keepdim=True))
    x, y = sides
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1).reshape(n, 4)


def mask_iou(a: Bool[Tensor, "n h w"], b: Bool[Tensor, "m h w"]) -> Float[Tensor, "n m"]:
    """IoU of every mask of ``a`` with every mask of ``b``; 0 where both are empty."""
    a_flat, b_flat = a.flatten(1).float(), b.flatten(1).float()
    intersection = a_flat @ b_flat.T
    union = a_flat.sum(1)[:, None] + b_flat.sum(1)[None] - intersection
    return intersection / union.clamp(min=1)

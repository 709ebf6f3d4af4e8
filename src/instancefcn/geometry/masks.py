"""Masks of windows: tight boxes and pairwise IoU."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def tight_boxes(masks: Bool[Tensor, "n h w"]) -> Int[Tensor, "n 4"]:
    """Smallest boxes around masks, xyxy, half-open, in the masks' own cells; of an empty mask 0 0 0 0."""
    n, height, width = masks.shape
    ones = masks.float()  # of windows' masks the sum is faster than any(), and than the maximum of bytes
    sides: list[Tensor] = []
    for occupied, size in ((ones.sum(1) > 0, width), (ones.sum(2) > 0, height)):
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

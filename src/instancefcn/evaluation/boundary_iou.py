"""Boundary IoU: how well the outlines of two masks agree, whatever is inside.

Cheng et al., "Boundary IoU: Improving object-centric image segmentation evaluation", CVPR 2021.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool

from instancefcn.geometry.rle import Rle, decode, tight_boxes

DILATION_RATIO = 0.02  # of the image's diagonal: the paper's and its code's


def boundary_iou(first: Rle, second: Rle, ratio: float = DILATION_RATIO) -> float:
    """IoU of the boundaries of two masks of one image; 0 where neither has a pixel.

    A boundary is what of a mask lies within a distance of its outline. That distance is a share of the image's
    diagonal. A mask that is thinner than two distances is all boundary, and its boundary IoU is then its IoU.

    Args:
        ratio: the distance by the image's diagonal; it is rounded to whole pixels, 1 at least.
    """
    assert first["size"] == second["size"]
    distance = max(1, round(ratio * math.hypot(*first["size"])))
    boxes = tight_boxes([first, second]).astype(int)
    left, top = boxes[:, :2].min(0)
    right, bottom = boxes[:, 2:].max(0)
    masks = (decode(rle)[top:bottom, left:right] for rle in (first, second))
    ours, theirs = (boundary(mask, distance) for mask in masks)
    union = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / union if union else 0.0


def boundary(mask: Bool[np.ndarray, "h w"], distance: int) -> Bool[np.ndarray, "h w"]:
    """Pixels of a mask with a pixel outside of it at most ``distance`` rows and columns away.

    What lies beyond the array is outside. It is the mask less its erosion by a square of ``2 distance + 1`` pixels, as
    in the paper's code.
    """
    side = 2 * distance + 1
    sums = np.pad(mask, distance).astype(np.int64)
    for axis in (0, 1):  # of the pixels in the square around each pixel
        totals = np.insert(sums.cumsum(axis), 0, 0, axis)
        ends = totals.shape[axis]
        sums = totals.take(range(side, ends), axis) - totals.take(range(ends - side), axis)
    return mask & (sums < side * side)

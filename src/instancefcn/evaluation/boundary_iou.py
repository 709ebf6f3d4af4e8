"""Boundary IoU: how well the outlines of two masks agree, whatever is inside.

Cheng et al., "Boundary IoU: Improving object-centric image segmentation evaluation", CVPR 2021.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool

from instancefcn.geometry.rle import Rle, tight_boxes
from instancefcn.geometry.runs import Edges

DILATION_RATIO = 0.02  # of the image's diagonal: the paper's and its code's


def boundary_iou(first: Rle, second: Rle, ratio: float = DILATION_RATIO) -> float:
    """IoU of the boundaries of two masks of one image; 0 where either has no pixel.

    A boundary is what of a mask lies within a distance of its outline. That distance is a share of the image's
    diagonal. A mask that is thinner than two distances is all boundary, and its boundary IoU is then its IoU.

    Args:
        ratio: the distance by the image's diagonal; it is rounded to whole pixels, 1 at least.
    """
    assert first["size"] == second["size"]
    distance = max(1, round(ratio * math.hypot(*first["size"])))
    boxes = tight_boxes([first, second]).astype(int)
    if (boxes[:, 2] == boxes[:, 0]).any():
        return 0.0
    left, top = boxes[:, :2].min(0).tolist()
    right, bottom = boxes[:, 2:].max(0).tolist()
    edges = Edges.of([first, second], *first["size"])
    columns = (edges.weighted_sum(np.array([mask]), np.ones(1), left, right) for mask in (0, 1))
    ours, theirs = (boundary(mask[top:bottom] > 0, distance) for mask in columns)
    union = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / union


def boundary(mask: Bool[np.ndarray, "h w"], distance: int) -> Bool[np.ndarray, "h w"]:
    """Pixels of a mask with a pixel outside of it at most ``distance`` rows and columns away.

    What lies beyond the array is outside. It is the mask less its erosion by a square of ``2 distance + 1`` pixels, as
    in the paper's code.
    """
    from scipy import ndimage  # a quarter of a second, which evaluating proposals need not wait for

    return mask > ndimage.minimum_filter(mask, 2 * distance + 1, mode="constant")

"""Boxes in half-open pixels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

from instancefcn.compiled import compiled

# A cell lies inside where at least this share more than half of it does: exactly half must not depend on rounding.
OVER_HALF = 0.05


def xyxy_to_xywh(boxes_xyxy: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """Convert corners to COCO's ``bbox``: the upper left corner, width and height."""
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


@compiled
def ious_with(boxes: Float64[np.ndarray, "4 n"], index: int, ious: Float64[np.ndarray, "n"]) -> None:
    """Write the IoU of one box with every box into ``ious``; NaN for two empty boxes.

    Args:
        boxes: one row for each coordinate (x0, y0, x1, y1), so that the processor compares several boxes at once.
        index: column of the one box.
    """
    box_left, box_top, box_right, box_bottom = boxes[0, index], boxes[1, index], boxes[2, index], boxes[3, index]
    area = (box_right - box_left) * (box_bottom - box_top)
    for other in range(len(ious)):
        left, top, right, bottom = boxes[0, other], boxes[1, other], boxes[2, other], boxes[3, other]
        other_area = (right - left) * (bottom - top)
        # Not min and max: they check for NaN and take three times as long.
        right, bottom = right if right < box_right else box_right, bottom if bottom < box_bottom else box_bottom
        left, top = left if left > box_left else box_left, top if top > box_top else box_top
        width, height = right - left if right > left else 0.0, bottom - top if bottom > top else 0.0
        shared = width * height
        ious[other] = shared / (area + other_area - shared)


@compiled
def last_cell_inside(start: float, cell: float, cells: int, extent: int) -> int:
    """The last of a window's cells, along an axis, of which more than 55 % lies in the image, ``extent`` pixels long.

    -1 where there is none.

    Args:
        start: of the window, in pixels of the image.
        cell: length of a cell, in pixels.
        cells: of the window.
    """
    return min(round((extent - start) / cell - OVER_HALF), cells) - 1

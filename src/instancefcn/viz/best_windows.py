"""The windows that a score-map sheet shows: the best of one window size that show different objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from instancefcn.drawing import MAX_IOU, largest_iou
from instancefcn.geometry.rle import Rle
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import Windows, assemble_masks

MIN_SHARE = 0.25  # of the best window's score; windows that score less show no object


@dataclass(frozen=True)
class ShownWindow:
    """One window and the mask that is assembled in it."""

    score: float
    corner_yx: tuple[int, int]  # its upper left one, in cells of the score maps; may lie outside
    window_box: Float[np.ndarray, "4"]  # xyxy, in the image's frame; may hang over the border
    mask_logits: Float[np.ndarray, "dm dm"]
    threshold_logit: float  # a pixel above it is foreground
    rle: Rle  # in the image's frame


def window_side(windows: Windows) -> float:
    """Side of the windows, in pixels of the image."""
    return windows.score_maps.stride * windows.score_maps.m / math.sqrt(math.prod(windows.image_scale))


def choose_size(groups: Sequence[Windows], side: float | None = None) -> Windows:
    """The window size nearest to ``side`` by ratio; without ``side``, the size of the best window."""
    if side is None:
        return max(groups, key=lambda group: float(group.scores.max()))
    return min(groups, key=lambda group: abs(math.log(window_side(group) / side)))


@torch.inference_mode()
def choose_windows(
    windows: Windows, height: int, width: int, config: InferenceConfig, count: int, max_iou: float = MAX_IOU
) -> list[ShownWindow]:
    """At most ``count`` windows with masks, best first, of which no two overlap by more than ``max_iou``.

    Args:
        height: of the image, in pixels, as ``width``.
        max_iou: of any two of their masks.
    """
    maps = windows.score_maps
    masks = assemble_masks([windows], config.threshold_logit)
    corners = ((windows.positions_yx - maps.m // 2) * maps.density).tolist()
    shown: list[ShownWindow] = []
    for index, (corner, score) in enumerate(zip(corners, windows.scores.tolist(), strict=True)):
        if len(shown) == count or (shown and score < MIN_SHARE * shown[0].score):
            break
        (rle,) = paste(masks[[index]], height, width)
        if rle is not None and largest_iou(rle, [other.rle for other in shown]) <= max_iou:
            window_box, mask_logits = masks.window_boxes[index], masks.logits(index)
            shown.append(
                ShownWindow(score, (corner[0], corner[1]), window_box, mask_logits, config.threshold_logit, rle)
            )
    return shown

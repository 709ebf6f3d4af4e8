"""The windows of an image that a score-map sheet shows: of one window size, the best that show different objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from instancefcn.geometry.windows import window_boxes
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import Proposer, Windows, as_tensor, best_windows, resized_sizes
from instancefcn.inference.window_masks import WindowMasks
from instancefcn.model.assembling import assemble_windows
from instancefcn.structures import Rle
from instancefcn.viz.overlays import MAX_IOU, largest_iou

MIN_SHARE = 0.25  # of the best window's score: one that scores less shows no object


@dataclass(frozen=True)
class ShownWindow:
    """One window and the mask that is assembled in it."""

    score: float
    corner_yx: tuple[int, int]  # its upper left one, in cells of the score maps; may lie outside
    window_box: Float[np.ndarray, "4"]  # xyxy, in the image's frame; may hang over the border
    mask_logits: Float[np.ndarray, "dm dm"]
    threshold_logit: float  # above it a pixel is foreground
    rle: Rle  # in the image's frame


@torch.inference_mode()
def windows_by_size(proposer: Proposer, image: UInt8[np.ndarray, "h w 3"]) -> list[Windows]:
    """The best windows of each window size, over the network's levels and the scales that the image is resized to."""
    pixels = as_tensor(image)
    height, width = pixels.shape[-2:]
    return [
        best_windows(score_maps, size, (size[1] / width, size[0] / height), proposer.config)
        for size in resized_sizes(height, width, proposer.config)
        for score_maps in proposer.run_network(proposer.resize(pixels, size))
    ]


def window_side(windows: Windows) -> float:
    """Side of the windows, in pixels of the image."""
    return windows.score_maps.stride * windows.score_maps.m / math.sqrt(math.prod(windows.image_scale))


def choose_size(groups: Sequence[Windows], side: float | None = None) -> Windows:
    """Of all window sizes the one nearest to ``side``, by their ratio, or without one that of the best window."""
    if side is None:
        return max(groups, key=lambda group: float(group.scores.max()))
    return min(groups, key=lambda group: abs(math.log(window_side(group) / side)))


@torch.inference_mode()
def choose_windows(
    windows: Windows, height: int, width: int, config: InferenceConfig, count: int, max_iou: float = MAX_IOU
) -> list[ShownWindow]:
    """At most ``count`` windows, best first, that have masks, of which no two overlap by more.

    Args:
        height: of the image, in pixels, as ``width``.
        max_iou: of any two of their masks.
    """
    maps, positions = windows.score_maps, windows.positions_yx
    logits = assemble_windows(maps, torch.zeros_like(positions[:, 0]), positions).float()
    to_image = torch.tensor([*windows.image_scale, *windows.image_scale], device=positions.device)
    boxes = window_boxes(positions, maps.stride, maps.m)
    masks = WindowMasks.of(windows.scores, logits, boxes / to_image, config.threshold_logit)
    arrays = [values.cpu().numpy() for values in (masks.mask_logits, masks.window_boxes, masks.tight_boxes)]
    corners = ((positions - maps.m // 2) * maps.density).tolist()
    shown: list[ShownWindow] = []
    for corner, score, *frames in zip(corners, windows.scores.tolist(), *arrays, strict=True):
        if len(shown) == count or (shown and score < MIN_SHARE * shown[0].score):
            break
        mask_logits, window_box, tight_box = frames
        if tight_box[2] <= tight_box[0]:
            continue
        (rle,) = paste(mask_logits[None], window_box[None], tight_box[None], config.threshold_logit, height, width)
        if rle is not None and largest_iou(rle, [other.rle for other in shown]) <= max_iou:
            shown.append(
                ShownWindow(score, (corner[0], corner[1]), window_box, mask_logits, config.threshold_logit, rle)
            )
    return shown

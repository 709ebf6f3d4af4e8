"""Which of the candidate masks survive, and in which order.

Windows differ in size, so two masks meet as unions of rectangles in the image's frame, where their intersection has an
exact area. Nothing is pasted at image size.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from instancefcn.compiled import compiled
from instancefcn.geometry.boxes import ious_with
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.window_masks import WindowMasks, add_resampled

CROP_SIDE = 28  # samples along each side of a mask's tight box; with 56, IoU above 0.6 differs by 0.013 on average

# Masks are compared only where the IoU of their tight boxes is above this share of the threshold (0.8: above 0.5).
# Shifted or scaled copies of a square have equal IoU of masks and boxes, and those of rounder shapes less of masks than
# of boxes, so near-duplicates pass with room to spare. It is no bound: a whisker moves a tight box far and a mask's IoU
# little, and two such masks both survive. Of the pairs of one photograph with boxes above 0.3 and masks above 0.8, 1 in
# 100 had boxes below 0.5.
COMPARED_FROM = 0.625


def suppress(
    masks: WindowMasks, height: int, width: int, config: InferenceConfig, wanted: int | None = None
) -> tuple[Int[np.ndarray, "kept"], Float[np.ndarray, "kept"]]:
    """Non-maximum suppression by score: indices of what survives, best first, and its scores.

    The overlap is that of tight boxes, or of masks where ``config.nms_overlap`` says so. Where
    ``config.soft_nms_threshold`` says so, what survives falls in rank by how much better ones overlap it.

    Args:
        height: of the image, in pixels, as ``width``.
        wanted: how many survivors must be in order; those behind may stand higher than they should. None for all.
    """
    order = (-masks.scores).argsort(kind="stable")  # from here on the better of two has the lower index
    boxes = masks.tight_boxes[order].clip(0, [width, height, width, height])
    if config.nms_overlap == "mask":
        crops, crop_boxes = mask_crops(masks[order], height, width, config.threshold_logit)
        kept = mask_nms(boxes, crops, crop_boxes, config.nms_threshold)
    else:
        kept = box_nms(boxes, config.nms_threshold)
    scores = masks.scores[order[kept]]
    if config.soft_nms_threshold:
        soft_order, scores = soft_nms(boxes[kept], scores, config.soft_nms_threshold, wanted)
        kept = kept[soft_order]
    return order[kept], scores


def box_nms(boxes: Float[np.ndarray, "n 4"], threshold: float) -> Int[np.ndarray, "kept"]:
    """Greedy suppression by IoU of boxes that come best first: indices of what survives.

    The rule of torchvision's ``nms``, in less than a third of its time where a thousand boxes survive.
    """
    return np.flatnonzero(_kept_by_boxes(np.ascontiguousarray(boxes.T), threshold))


def mask_nms(
    boxes: Float[np.ndarray, "n 4"],
    crops: Bool[np.ndarray, "n side side"],
    crop_boxes: Float[np.ndarray, "n 4"],
    threshold: float,
) -> Int[np.ndarray, "kept"]:
    """Greedy suppression by IoU of masks that come best first: indices of what survives.

    Args:
        boxes: tight around the masks; only near pairs are compared, see ``COMPARED_FROM``.
        crops: the masks, each sampled in its own box of ``crop_boxes``.
    """
    columns = np.ascontiguousarray(boxes.T)
    return np.flatnonzero(_kept_by_masks(columns, COMPARED_FROM * threshold, crops, crop_boxes, threshold))


def soft_nms(
    boxes: Float[np.ndarray, "n 4"], scores: Float[np.ndarray, "n"], threshold: float, wanted: int | None = None
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Best first, where each box falls in score for every better one before it that it overlaps.

    The linear rule of soft-NMS (Bodla et al., ICCV 2017): a factor of 1 - IoU where the IoU is above ``threshold``. A
    near-duplicate costs a better object its place among the first ten; among the last of a thousand it may be the
    better outline.

    Args:
        wanted: how many must be in order; those behind have paid for these alone. None for all.

    Returns:
        Indices, and the scores in their order.
    """
    taken = len(scores) if wanted is None else min(wanted, len(scores))
    order, softened = np.empty(taken, dtype=np.int64), scores.copy()
    waiting = np.flatnonzero(_soft_nms(np.ascontiguousarray(boxes.T), threshold, softened, order))
    order = np.concatenate([order, waiting[(-softened[waiting]).argsort(kind="stable")]])
    return order, softened[order]


def mask_crops(
    masks: WindowMasks, height: int, width: int, threshold_logit: float
) -> tuple[Bool[np.ndarray, "n side side"], Float[np.ndarray, "n 4"]]:
    """Each mask sampled evenly in a box around its foreground, by the rule of ``pasting``; and the boxes, xyxy.

    The boxes lie in the image's frame, and within the image.
    """
    windows = masks.window_boxes
    cell = (windows[:, 2:] - windows[:, :2]) / masks.sides[:, None]
    # The interpolated border lies between the centres of two cells: at most half a cell beyond the tight box.
    corners = np.maximum(masks.tight_boxes[:, :2] - cell / 2, windows[:, :2])
    opposite = np.minimum(masks.tight_boxes[:, 2:] + cell / 2, windows[:, 2:])
    boxes = np.concatenate([corners, opposite], axis=1).clip(0, [width, height, width, height])
    samples = np.zeros((len(masks), CROP_SIDE, CROP_SIDE), dtype=np.float32)
    steps = (boxes[:, 2:] - boxes[:, :2]) / CROP_SIDE
    for index, (box, (step_x, step_y)) in enumerate(zip(boxes, steps, strict=True)):
        window = windows[index]
        add_resampled(masks.logits(index), window, box[0], box[1], step_x, step_y, np.float32(1), samples[index])
    return samples > threshold_logit, boxes


@compiled
def shared_area(
    a: Bool[np.ndarray, "side side"],
    a_box: Float64[np.ndarray, "4"],
    b: Bool[np.ndarray, "side side"],
    b_box: Float64[np.ndarray, "4"],
) -> float:
    """Area that two masks share, in square pixels, where every sample stands for its rectangle of the mask's box.

    Args:
        a: samples, as ``b``.
        a_box: what they are evenly spread over, xyxy in the image's frame, as ``b_box``.
    """
    side = len(a)
    widths, heights = np.empty((side, side)), np.empty((side, side))  # that columns and rows i of a and j of b share
    first, end = np.full(side, side), np.zeros(side, dtype=np.int64)  # of the columns of b that column i of a meets
    for i in range(side):
        for j in range(side):
            widths[i, j] = _shared_length(a_box[0], a_box[2], i, b_box[0], b_box[2], j, side)
            heights[i, j] = _shared_length(a_box[1], a_box[3], i, b_box[1], b_box[3], j, side)
            if widths[i, j] > 0:
                first[i], end[i] = min(first[i], j), j + 1
    area = 0.0
    for a_row in range(side):
        for b_row in range(side):
            if heights[a_row, b_row] > 0:
                length = 0.0
                for i in range(side):
                    for j in range(first[i], end[i]):
                        length += widths[i, j] * a[a_row, i] * b[b_row, j]
                area += heights[a_row, b_row] * length
    return area


@compiled
def _shared_length(a_start, a_stop, i, b_start, b_stop, j, side):
    """Of two intervals in ``side`` equal parts each, the length that part i of one shares with part j of the other."""
    a_step, b_step = (a_stop - a_start) / side, (b_stop - b_start) / side
    start = max(a_start + i * a_step, b_start + j * b_step)
    return max(min(a_start + (i + 1) * a_step, b_start + (j + 1) * b_step) - start, 0.0)


@compiled
def _kept_by_boxes(boxes, threshold):
    """Whether each of the boxes [4, n] survives those before it that do."""
    count = boxes.shape[1]
    kept, ious = np.ones(count, dtype=np.bool_), np.empty(count)
    for best in range(count):
        if kept[best]:
            ious_with(boxes, best, ious)
            for other in range(best + 1, count):
                if ious[other] > threshold:
                    kept[other] = False
    return kept


@compiled
def _kept_by_masks(boxes, compared_from, crops, crop_boxes, threshold):
    """Whether each mask survives those before it that do; masks of distant boxes [4, n] are not compared."""
    count, side, _ = crops.shape
    kept, ious, areas = np.ones(count, dtype=np.bool_), np.empty(count), np.empty(count)
    for index in range(count):
        box = crop_boxes[index]
        areas[index] = crops[index].sum() * (box[2] - box[0]) * (box[3] - box[1]) / side**2
    for best in range(count):
        if kept[best]:
            ious_with(boxes, best, ious)
            for other in range(best + 1, count):
                small, large = min(areas[best], areas[other]), max(areas[best], areas[other])
                # No two masks have a higher IoU than the smaller area over the larger.
                if kept[other] and ious[other] > compared_from and small > threshold * large:
                    shared = shared_area(crops[best], crop_boxes[best], crops[other], crop_boxes[other])
                    if shared > threshold * (small + large - shared):
                        kept[other] = False
    return kept


@compiled
def _soft_nms(boxes, threshold, scores, order):
    """Take the best of the boxes [4, n], as many as there is room for in ``order``; each lowers the scores of others.

    Returns:
        Whether each box was not taken.
    """
    count = len(scores)
    waiting, ious = np.ones(count, dtype=np.bool_), np.empty(count)
    for rank in range(len(order)):
        best = -1
        for index in range(count):
            if waiting[index] and (best < 0 or scores[index] > scores[best]):
                best = index
        order[rank], waiting[best] = best, False
        ious_with(boxes, best, ious)
        for other in range(count):
            if waiting[other] and ious[other] > threshold:
                scores[other] *= 1 - ious[other]
    return waiting

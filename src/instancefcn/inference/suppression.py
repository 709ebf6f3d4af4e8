"""Which candidate masks survive, and in which order, by the overlap of their tight boxes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from instancefcn.compiled import compiled
from instancefcn.geometry.boxes import ious_with
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.window_masks import WindowMasks


def suppress(
    masks: WindowMasks, height: int, width: int, config: InferenceConfig, wanted: int | None = None
) -> tuple[Int[np.ndarray, "kept"], Float[np.ndarray, "kept"]]:
    """Non-maximum suppression by score (paper 3.3), then soft-NMS where ``config.soft_nms_threshold`` is not 0.

    Args:
        height: of the image, in pixels, as ``width``.
        wanted: how many survivors must be ranked; only these lower the scores of others, so that those behind may have
            too high ones. None for all.

    Returns:
        Indices of the survivors, best first, and their scores.
    """
    order = (-masks.scores).argsort(kind="stable")  # from here on the better of two has the lower index
    boxes = masks.tight_boxes[order].clip(0, [width, height, width, height])
    kept = np.flatnonzero(_kept_by_boxes(np.ascontiguousarray(boxes.T), config.nms_threshold))
    scores = masks.scores[order[kept]]
    if config.soft_nms_threshold:
        soft_order, scores = soft_nms(boxes[kept], scores, config.soft_nms_threshold, wanted)
        kept = kept[soft_order]
    return order[kept], scores


def soft_nms(
    boxes: Float[np.ndarray, "n 4"], scores: Float[np.ndarray, "n"], threshold: float, wanted: int | None = None
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Soft-NMS (Bodla et al., ICCV 2017): each taken box lowers the scores of boxes it overlaps.

    The factor falls linearly, from 1 at an IoU of ``threshold`` to 0 at an IoU of 1 (theirs, 1 - IoU, has a step at the
    threshold). A near-duplicate costs a better object its place among the first ten; among the last of a thousand it
    may be the better outline.

    Args:
        wanted: how many must be ranked; only these lower the scores of others. None for all.

    Returns:
        Indices, best first, and the scores in their order.
    """
    taken = len(scores) if wanted is None else min(wanted, len(scores))
    order, softened = np.empty(taken, dtype=np.int64), scores.copy()
    waiting = np.flatnonzero(_soft_nms(np.ascontiguousarray(boxes.T), threshold, softened, order))
    order = np.concatenate([order, waiting[(-softened[waiting]).argsort(kind="stable")]])
    return order, softened[order]


@compiled
def _kept_by_boxes(boxes, threshold):
    """Whether each of the boxes [4, n] survives the survivors before it, by the rule of torchvision's ``nms``.

    It takes less than a third of that one's time where a thousand boxes survive.
    """
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
def _soft_nms(boxes, threshold, scores, order):
    """Write the best of the boxes [4, n] into ``order`` until it is full, lower ``scores``, and return who is left."""
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
                scores[other] *= (1 - ious[other]) / (1 - threshold)
    return waiting

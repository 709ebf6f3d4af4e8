"""Mask voting: suppressed candidates are averaged into the survivors that they overlap."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int

from instancefcn.compiled import compiled
from instancefcn.geometry.boxes import ious_with
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.window_masks import WindowMasks, add_resampled, first_of_each
from instancefcn.threads import in_threads, parts


def vote(
    masks: WindowMasks, survivors: Int[np.ndarray, "s"], height: int, width: int, config: InferenceConfig
) -> WindowMasks:
    """Replace the mask of each survivor by a weighted average, on the cells of its window.

    The voters are the survivor and every candidate whose tight box has an IoU of ``config.vote_threshold`` or more with
    the survivor's. Each votes with its probabilities, weighted by its score; outside its window it votes for
    background. With threshold 0 the masks stay as they are.

    Args:
        masks: all candidates; each has foreground.
        survivors: indices into ``masks``.
        height: of the image, in pixels, as ``width``.

    Returns:
        The masks of the survivors, in their order.
    """
    chosen = masks[survivors]
    if not config.vote_threshold:
        return chosen
    starts = first_of_each(chosen.sides)
    average = np.zeros((chosen.sides**2).sum(), dtype=np.float32)
    probabilities = torch.from_numpy(masks.mask_logits).sigmoid().numpy()
    columns = np.ascontiguousarray(masks.tight_boxes.T)
    weights = masks.scores.clip(min=1e-12)  # a score may be 0, and a survivor without other voters keeps its mask

    def average_some(some: slice) -> None:
        _average(
            probabilities, masks.starts, masks.sides, masks.window_boxes, weights, columns, config.vote_threshold,
            survivors[some], starts[some], height, width, average,
        )  # fmt: skip

    in_threads(average_some, parts(len(survivors)))
    logits = torch.from_numpy(average).logit(eps=1e-6).numpy()
    # Where the average is nowhere foreground, the tight box is empty and nothing will be pasted.
    return WindowMasks.of(chosen.scores, logits, chosen.sides, chosen.window_boxes, masks.threshold_logit)


@compiled
def _average(
    probabilities, starts, sides, windows, weights, boxes, threshold, survivors, average_starts, height, width, average
):
    """Write the average of each survivor's voters into ``average``, from its ``average_starts`` on."""
    ious = np.empty(len(weights))
    for rank in range(len(survivors)):
        survivor, place = survivors[rank], average_starts[rank]
        m, window = sides[survivor], windows[survivor]
        sums = average[place : place + m * m].reshape(m, m)
        cell_x, cell_y = (window[2] - window[0]) / m, (window[3] - window[1]) / m
        ious_with(boxes, survivor, ious)
        total = 0.0
        for voter in range(len(weights)):
            if ious[voter] >= threshold:
                side, weight = sides[voter], np.float32(weights[voter])
                values = probabilities[starts[voter] : starts[voter] + side * side].reshape(side, side)
                add_resampled(values, windows[voter], window[0], window[1], cell_x, cell_y, weight, height, width, sums)
                total += weights[voter]
        for cell in range(place, place + m * m):
            average[cell] /= np.float32(total)

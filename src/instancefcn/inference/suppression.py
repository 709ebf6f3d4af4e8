"""Which of the candidate masks survive, and in which order.

Windows differ in size, so two masks meet as unions of rectangles in the image's frame, where their intersection has an
exact area. Nothing is pasted at image size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instancefcn.geometry.boxes import box_iou, near_pairs
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.window_masks import CHUNK, WindowMasks, locate, resample

CROP_SIDE = 28  # samples along each side of a mask's tight box; with 56, IoU above 0.6 differs by 0.013 on average
BLOCK = 256  # candidates that greedy suppression decides on at a time

# Masks are compared only where the IoU of their tight boxes is above this share of the threshold (0.8: above 0.5).
# Shifted or scaled copies of a square have equal IoU of masks and boxes, and those of rounder shapes less of masks than
# of boxes, so near-duplicates pass with room to spare. It is no bound: a whisker moves a tight box far and a mask's IoU
# little, and two such masks both survive. Of the pairs of one photograph with boxes above 0.3 and masks above 0.8, 1 in
# 100 had boxes below 0.5.
COMPARED_FROM = 0.625


@dataclass(frozen=True)
class Survivor:
    """A window that suppression left."""

    group: int
    index: int  # in the group
    score: float


def suppress(
    groups: Sequence[WindowMasks], height: int, width: int, config: InferenceConfig, wanted: int | None = None
) -> list[Survivor]:
    """Non-maximum suppression by score; best first.

    The overlap is that of tight boxes, or of masks where ``config.nms_overlap`` says so. Where
    ``config.soft_nms_threshold`` says so, what survives falls in rank by how much better ones overlap it.

    Args:
        wanted: how many survivors must be in order; those behind may stand higher than they should. None for all.
    """
    scores = torch.cat([group.scores for group in groups])
    image_box = torch.tensor([width, height, width, height], device=scores.device)
    boxes = torch.cat([group.tight_boxes for group in groups]).clamp(min=0).minimum(image_box)
    if config.nms_overlap == "mask":
        masks = [mask_crops(group, height, width, config.threshold_logit) for group in groups]
        crops, crop_boxes = (torch.cat(parts) for parts in zip(*masks, strict=True))
        kept = mask_nms(boxes, crops, crop_boxes, scores, config.nms_threshold)
    else:
        kept = box_nms(boxes, scores, config.nms_threshold)
    scores = scores[kept]
    if config.soft_nms_threshold:
        order, scores = soft_nms(boxes[kept], scores, config.soft_nms_threshold, wanted)
        kept = kept[order]
    group, index = locate(kept, [len(group.scores) for group in groups])
    return [Survivor(*of_one) for of_one in zip(group.tolist(), index.tolist(), scores.tolist(), strict=True)]


def box_nms(boxes: Float[Tensor, "n 4"], scores: Float[Tensor, "n"], threshold: float) -> Int[Tensor, "kept"]:
    """Greedy suppression by IoU of boxes: indices of what survives, best first.

    The rule of torchvision's ``nms``, in half of its time on a CPU where a thousand boxes survive.
    """
    order = scores.argsort(descending=True, stable=True)  # from here on the better of two has the lower index
    boxes = boxes[order]

    def suppressing(first: Int[Tensor, "a"], second: Int[Tensor, "b"]) -> Bool[Tensor, "a b"]:
        return (box_iou(boxes[first], boxes[second]) > threshold) & (first[:, None] < second)

    return order[_by_blocks(len(order), suppressing, order.device)]


def soft_nms(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, "n"], threshold: float, wanted: int | None = None
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
    """Best first, where each box falls in score for every better one before it that it overlaps.

    The linear rule of soft-NMS (Bodla et al., ICCV 2017): a factor of 1 - IoU where the IoU is above ``threshold``. A
    near-duplicate costs a better object its place among the first ten; among the last of a thousand it may be the
    better outline.

    Args:
        wanted: how many must be in order; those behind have paid for these alone. None for all.

    Returns:
        Indices, and the scores in their order.
    """
    pairs, ious = near_pairs(boxes, boxes, threshold)
    above = ious > threshold
    pairs, ious = pairs[above].cpu(), ious[above].cpu()
    by_box = pairs[:, 0].argsort()
    overlapped = pairs[by_box, 1].numpy()
    factors = (1 - ious[by_box]).clamp(min=1e-9).numpy()  # above 0, so that minus infinity stays what it is
    ends = np.bincount(pairs[:, 0].numpy(), minlength=len(boxes)).cumsum().tolist()
    starts = [0, *ends]
    left = scores.double().cpu().numpy().copy()
    order, softened = np.empty(len(left), dtype=np.int64), np.empty(len(left))
    taken = len(left) if wanted is None else min(wanted, len(left))
    for rank in range(taken):
        best = int(left.argmax())
        order[rank], softened[rank] = best, left[best]
        of_best = slice(starts[best], ends[best])
        left[overlapped[of_best]] *= factors[of_best]
        left[best] = -np.inf
    order[taken:] = (-left).argsort(kind="stable")[: len(left) - taken]
    softened[taken:] = left[order[taken:]]
    return torch.from_numpy(order).to(scores.device), torch.from_numpy(softened).to(scores)


def mask_crops(
    masks: WindowMasks, height: int, width: int, threshold_logit: float
) -> tuple[Bool[Tensor, "n side side"], Float[Tensor, "n 4"]]:
    """Each mask sampled evenly in a box around its foreground, by the rule of ``pasting``; and the boxes, xyxy.

    The boxes lie in the image's frame, and within the image.
    """
    windows = masks.window_boxes
    image_box = torch.tensor([width, height, width, height], device=windows.device)
    cell = (windows[:, 2:] - windows[:, :2]) / masks.mask_logits.shape[-1]
    # The interpolated border lies between the centres of two cells: at most half a cell beyond the tight box.
    corners = torch.maximum(masks.tight_boxes[:, :2] - cell / 2, windows[:, :2])
    opposite = torch.minimum(masks.tight_boxes[:, 2:] + cell / 2, windows[:, 2:])
    boxes = torch.cat([corners, opposite], dim=1).clamp(min=0).minimum(image_box)
    steps = (torch.arange(CROP_SIDE, device=windows.device) + 0.5) / CROP_SIDE
    points = boxes[:, :2, None] + (boxes[:, 2:] - boxes[:, :2])[:, :, None] * steps
    return resample(masks.mask_logits, windows, points) > threshold_logit, boxes


def mask_nms(
    boxes: Float[Tensor, "n 4"],
    crops: Bool[Tensor, "n side side"],
    crop_boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    threshold: float,
) -> Int[Tensor, "kept"]:
    """Greedy suppression by IoU of masks: indices of what survives, best first.

    Args:
        boxes: tight around the masks; only near pairs are compared, see ``COMPARED_FROM``.
        crops: the masks, each sampled in its own box of ``crop_boxes``.
    """
    order = scores.argsort(descending=True, stable=True)  # from here on the better of two has the lower index
    boxes, crops, crop_boxes = boxes[order], crops[order].float(), crop_boxes[order]
    cell_areas = (crop_boxes[:, 2:] - crop_boxes[:, :2]).prod(1) / CROP_SIDE**2
    areas = crops.sum((1, 2)) * cell_areas

    def suppressing(first: Int[Tensor, "a"], second: Int[Tensor, "b"]) -> Bool[Tensor, "a b"]:
        near = (box_iou(boxes[first], boxes[second]) > threshold * COMPARED_FROM) & (first[:, None] < second)
        # No two masks have a higher IoU than the smaller area over the larger.
        small, large = areas[first, None].minimum(areas[second]), areas[first, None].maximum(areas[second])
        over = torch.zeros_like(near)
        for chunk in (near & (small > threshold * large)).nonzero().split(CHUNK):
            i, j = first[chunk[:, 0]], second[chunk[:, 1]]
            intersection = intersection_areas(crops[i], crop_boxes[i], crops[j], crop_boxes[j])
            iou = intersection / (areas[i] + areas[j] - intersection)
            over[chunk[:, 0], chunk[:, 1]] = iou > threshold
        return over

    return order[_by_blocks(len(order), suppressing, order.device)]


def intersection_areas(
    a: Float[Tensor, "pairs side side"],
    a_boxes: Float[Tensor, "pairs 4"],
    b: Float[Tensor, "pairs side side"],
    b_boxes: Float[Tensor, "pairs 4"],
) -> Float[Tensor, "pairs"]:
    """Area that two masks share, in square pixels, where every sample stands for its rectangle of the mask's box.

    Exact: two rectangles share the product of what their sides share, so that one matrix for the rows and one for the
    columns tell it of all rectangles of a pair.
    """
    columns = _shared_lengths(a_boxes[:, 0], a_boxes[:, 2], b_boxes[:, 0], b_boxes[:, 2], a.shape[-1])
    rows = _shared_lengths(a_boxes[:, 1], a_boxes[:, 3], b_boxes[:, 1], b_boxes[:, 3], a.shape[-1])
    return (a * (rows @ b @ columns.mT)).sum((1, 2))


def _by_blocks(
    count: int,
    suppressing: Callable[[Int[Tensor, "a"], Int[Tensor, "b"]], Bool[Tensor, "a b"]],
    device: torch.device,
) -> Int[Tensor, "kept"]:
    """Greedy suppression of things in order: what survives, where ``suppressing`` says which of some suppress others.

    What survives of a block is compared with what is behind it, and only with what is still there. Most is gone before
    it would have to be compared with one another.
    """
    left = torch.arange(count, device=device)
    kept = [left[:0]]
    while len(left):
        block, left = left[:BLOCK], left[BLOCK:]
        survivors = block[_greedy(suppressing(block, block))]
        kept.append(survivors)
        left = left[~suppressing(survivors, left).any(0)]
    return torch.cat(kept)


def _greedy(over: Bool[Tensor, "n n"]) -> Int[Tensor, "kept"]:
    """Indices that survive, in order, where row i says which of those behind i suppresses."""
    rows = over.cpu().numpy()
    kept: list[int] = []
    gone = np.zeros(len(rows), dtype=bool)
    for index, row in enumerate(rows):
        if not gone[index]:
            kept.append(index)
            gone |= row
    return torch.tensor(kept, dtype=torch.long, device=over.device)


def _shared_lengths(
    a_start: Float[Tensor, "n"],
    a_stop: Float[Tensor, "n"],
    b_start: Float[Tensor, "n"],
    b_stop: Float[Tensor, "n"],
    side: int,
) -> Float[Tensor, "n side side"]:
    """Two intervals cut into ``side`` equal parts each: the length that part i of a shares with part j of b."""
    edges = torch.arange(side + 1, device=a_start.device) / side
    a = a_start[:, None] + (a_stop - a_start)[:, None] * edges
    b = b_start[:, None] + (b_stop - b_start)[:, None] * edges
    stop = torch.minimum(a[:, 1:, None], b[:, None, 1:])
    return (stop - torch.maximum(a[:, :-1, None], b[:, None, :-1])).clamp(min=0)

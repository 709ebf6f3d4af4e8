"""Which of the candidate masks survive, and how those that do not still count: suppression and voting.

Windows differ in size, so two masks meet either as unions of rectangles in the image's frame (suppression), where their
intersection has an exact area, or on the cells of one of the two windows (voting). Nothing is pasted at image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import box_area, box_iou, nms

from instancefcn.geometry.masks import tight_boxes as mask_boxes
from instancefcn.inference.config import InferenceConfig

CROP_SIDE = 28  # samples along each side of a mask's tight box; with 56, IoU above 0.6 differs by 0.013 on average
BLOCK = 128  # boxes at a time
CHUNK = 512  # pairs of masks at a time: what a processor's cache holds

# Masks are compared only where the IoU of their tight boxes is above this share of the threshold (0.8: above 0.5).
# Shifted or scaled copies of a square have equal IoU of masks and boxes, and those of rounder shapes less of masks than
# of boxes, so near-duplicates pass with room to spare. It is no bound: a whisker moves a tight box far and a mask's IoU
# little, and two such masks both survive. Of the pairs of one photograph with boxes above 0.3 and masks above 0.8, 1 in
# 100 had boxes below 0.5.
COMPARED_FROM = 0.625


@dataclass(frozen=True)
class WindowMasks:
    """Assembled masks of windows that share a size in cells; boxes in the image's frame."""

    scores: Float[Tensor, "n"]
    mask_logits: Float[Tensor, "n m m"]
    window_boxes: Float[Tensor, "n 4"]
    tight_boxes: Float[Tensor, "n 4"]


def merge(groups: Sequence[WindowMasks]) -> list[WindowMasks]:
    """One group for each size in cells: what follows does few large steps instead of many small ones."""
    by_side: dict[int, list[WindowMasks]] = {}
    for group in groups:
        by_side.setdefault(group.mask_logits.shape[-1], []).append(group)
    return [
        WindowMasks(*(torch.cat([getattr(group, field.name) for group in of_side]) for field in fields(WindowMasks)))
        for of_side in by_side.values()
    ]


def suppress(
    groups: Sequence[WindowMasks],
    height: int,
    width: int,
    config: InferenceConfig,
    best: int | None = None,
) -> list[tuple[int, int]]:
    """Non-maximum suppression by score: (group, index in the group) of what survives, best first.

    The overlap is that of tight boxes, or of masks where ``config.nms_overlap`` says so.

    Args:
        best: look only at so many candidates, those with the highest scores: the first survivors of all.
    """
    scores = torch.cat([group.scores for group in groups])
    image_box = torch.tensor([width, height, width, height], device=scores.device)
    boxes = torch.cat([group.tight_boxes for group in groups]).clamp(min=0).minimum(image_box)
    looked_at = scores.argsort(descending=True, stable=True)[:best]
    if config.nms_overlap == "mask":
        masks = [mask_crops(group, height, width, config.threshold_logit) for group in groups]
        crops, crop_boxes = (torch.cat(parts) for parts in zip(*masks, strict=True))
        kept = mask_nms(
            boxes[looked_at], crops[looked_at], crop_boxes[looked_at], scores[looked_at], config.nms_threshold
        )
    else:
        kept = nms(boxes[looked_at], scores[looked_at], config.nms_threshold)
    owner = [(number, index) for number, group in enumerate(groups) for index in range(len(group.scores))]
    return [owner[index] for index in looked_at[kept].tolist()]


def refill(
    groups: Sequence[WindowMasks],
    survivors: Sequence[tuple[int, int]],
    height: int,
    width: int,
    max_proposals: int,
    config: InferenceConfig,
) -> tuple[list[WindowMasks], list[tuple[int, int]]]:
    """The survivors, and behind all of them what a suppression by ``config.refill_threshold`` leaves beside them.

    A near-duplicate costs a better object its place among the first ten; among the last of a thousand it may be the
    better outline.

    Args:
        max_proposals: nothing is added where there are so many survivors.

    Returns:
        The groups, with the scores of what was added times the lowest of a survivor; and all survivors, best first.
    """
    if not config.refill_threshold or not 0 < len(survivors) < max_proposals:
        return list(groups), list(survivors)
    looser = replace(config, nms_threshold=config.refill_threshold, refill_threshold=0.0)
    known = set(survivors)
    # Survivors come first, so that they suppress and are not suppressed: a score is at most 1.
    first = _rescored(groups, survivors, 1.0, 1.0)
    added: list[tuple[int, int]] = []
    for best in (2 * max_proposals, None):  # looking at all takes several times as long, and few images need it
        added = [window for window in suppress(first, height, width, looser, best) if window not in known]
        if len(survivors) + len(added) >= max_proposals:
            break
    owner, index = survivors[-1]
    lowest = float(groups[owner].scores[index])
    return _rescored(groups, added, lowest, 0.0), [*survivors, *added]


def _rescored(
    groups: Sequence[WindowMasks], windows: Sequence[tuple[int, int]], factor: float, summand: float
) -> list[WindowMasks]:
    """The groups with the scores of some windows changed."""
    changed = []
    for number, group in enumerate(groups):
        scores = group.scores.clone()
        chosen = [index for owner, index in windows if owner == number]
        scores[chosen] = scores[chosen] * factor + summand
        changed.append(replace(group, scores=scores))
    return changed


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
    return _resample(masks.mask_logits, windows, points) > threshold_logit, boxes


def mask_nms(
    boxes: Float[Tensor, "n 4"],
    crops: Bool[Tensor, "n side side"],
    crop_boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    threshold: float,
) -> Int[Tensor, "kept"]:
    """Greedy suppression by IoU of masks: indices of what survives, best first.

    Block by block in order of score: what survives of a block is compared with the candidates behind it, and only with
    those that are still there. Most candidates are gone before they would have to be compared with one another.

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

    left = torch.arange(len(order), device=order.device)
    kept = [left[:0]]
    while len(left):
        block, left = left[:BLOCK], left[BLOCK:]
        survivors = block[_greedy(suppressing(block, block))]
        kept.append(survivors)
        left = left[~suppressing(survivors, left).any(0)]
    return order[torch.cat(kept)]


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


def vote(
    groups: Sequence[WindowMasks], survivors: Sequence[tuple[int, int]], config: InferenceConfig
) -> list[WindowMasks]:
    """The groups with the masks of survivors replaced by averages over the candidates around them.

    Every candidate whose tight box has IoU ``config.vote_threshold`` or more with that of the survivor votes, the
    survivor included, each with its probabilities weighted by its score; outside its window a candidate votes for
    background. The mask keeps the survivor's window, rank and score. With threshold 0 nobody votes.
    """
    if not config.vote_threshold:
        return list(groups)
    weighted = [group.mask_logits.sigmoid() * group.scores[:, None, None] for group in groups]
    voted: list[WindowMasks] = []
    for number, group in enumerate(groups):
        chosen = torch.tensor(
            [index for owner, index in survivors if owner == number], dtype=torch.long, device=group.scores.device
        )
        voted.append(_vote_in_group(group, chosen, groups, weighted, config))
    return voted


def _vote_in_group(
    group: WindowMasks,
    chosen: Int[Tensor, "s"],
    voters: Sequence[WindowMasks],
    weighted: Sequence[Float[Tensor, "_ _ _"]],
    config: InferenceConfig,
) -> WindowMasks:
    """The votes for one group's survivors, whose indices are ``chosen``; ``weighted`` is probabilities times score."""
    windows, m = group.window_boxes[chosen], group.mask_logits.shape[-1]
    cell = (windows[:, 2:] - windows[:, :2]) / m
    steps = torch.arange(m, device=windows.device) + 0.5
    centres = windows[:, :2, None] + cell[:, :, None] * steps  # [s, 2, m]
    sums = group.mask_logits.new_zeros(len(chosen), m, m)
    weights = group.scores.new_zeros(len(chosen))
    for voter, votes in zip(voters, weighted, strict=True):
        near = near_pairs(group.tight_boxes[chosen], voter.tight_boxes, config.vote_threshold)
        for chunk in near.split(CHUNK):
            survivor, candidate = chunk.unbind(1)
            cast = _resample(votes[candidate], voter.window_boxes[candidate], centres[survivor])
            sums.index_add_(0, survivor, cast)
            weights.index_add_(0, survivor, voter.scores[candidate])
    heard = weights > 0  # a score may be 0
    chosen, windows, cell = chosen[heard], windows[heard], cell[heard]
    logits = (sums[heard] / weights[heard, None, None]).logit(eps=1e-6)
    # Where the average is nowhere foreground, the tight box is empty and nothing will be pasted.
    cell_boxes = mask_boxes(logits > config.threshold_logit)
    tight = windows[:, [0, 1, 0, 1]] + cell_boxes * cell[:, [0, 1, 0, 1]]
    return replace(
        group,
        mask_logits=group.mask_logits.index_copy(0, chosen, logits),
        tight_boxes=group.tight_boxes.index_copy(0, chosen, tight),
    )


def near_pairs(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"], threshold: float) -> Int[Tensor, "pairs 2"]:
    """Indices into ``a`` and ``b`` of the boxes whose IoU is ``threshold`` or more.

    No two boxes have a higher IoU than the smaller area over the larger: block by block of similar areas in ``a``, most
    of ``b`` need not be looked at.
    """
    a_areas, b_areas = box_area(a), box_area(b)
    ascending, order = b_areas.sort()
    pairs = [torch.zeros(0, 2, dtype=torch.long, device=a.device)]
    for block in a_areas.argsort().split(BLOCK) if len(a) else ():
        # A little wider, for the rounding of areas.
        ends = torch.stack([a_areas[block].amin() * threshold * 0.999, a_areas[block].amax() / threshold * 1.001])
        first, last = torch.searchsorted(ascending, ends).tolist()
        alike = order[first:last]
        i, j = (box_iou(a[block], b[alike]) >= threshold).nonzero().unbind(1)
        pairs.append(torch.stack([block[i], alike[j]], dim=1))
    return torch.cat(pairs)


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


def _resample(
    values: Float[Tensor, "n m m"], window_boxes: Float[Tensor, "n 4"], points: Float[Tensor, "n 2 side"]
) -> Float[Tensor, "n side side"]:
    """Values of windows, bilinearly, on the grid of points x = ``points[:, 0]``, y = ``points[:, 1]`` of the image.

    The rule of ``pasting``: the first cell inside the image is extended to its border. Outside a window they are 0.
    """
    m = values.shape[-1]
    start, stop = window_boxes[:, :2, None], window_boxes[:, 2:, None]
    cell = (stop - start) / m
    first = (-start / cell).clamp(min=0)
    place = ((points - start) / cell - 0.5).maximum(first).clamp(max=m - 1)
    x, y = ((2 * place + 1) / m - 1).unbind(1)  # as grid_sample has them: from -1 to 1 over the window
    side = points.shape[-1]
    grid = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=-1)
    sampled = F.grid_sample(values[:, None], grid, align_corners=False, padding_mode="border")[:, 0]
    inside = (points >= start) & (points < stop)
    return sampled.masked_fill(~(inside[:, 1, :, None] & inside[:, 0, None]), 0)

"""From scored proposals to segments: suppression within each category, and mask voting (MNC, section on inference)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torchvision.ops import nms

from instancefcn.classifier.config import NamingConfig
from instancefcn.geometry.boxes import ious_with
from instancefcn.geometry.rle import Rle, encode_in_box, tight_boxes
from instancefcn.geometry.runs import Edges
from instancefcn.proposals import Proposals, Segments

MASK_THRESHOLD = 0.4  # on the average of masks


def name_proposals(
    proposals: Proposals,
    edges: Edges,
    scores: Float[np.ndarray, "n c"],
    categories: Mapping[int, str],
    config: NamingConfig,
    *,
    max_segments: int = 100,
    min_score: float = 0.0,
) -> Segments:
    """Segments of one image, best first.

    Suppression by boxes within a category keeps the best proposals. The mask of each becomes the average, weighted by
    score, of all masks whose boxes have IoU ``config.vote_threshold`` or more with its own.

    Args:
        edges: of the proposals' masks.
        scores: of each proposal for each category, without background.
        categories: names by the data set's ids, in the order of the columns.
        max_segments: at most this many, of all categories together.
        min_score: none below it.
    """
    boxes = torch.from_numpy(proposals.boxes_xyxy)
    found: list[tuple[float, int, int]] = []  # score, proposal, category
    for category in range(scores.shape[1]):
        own = torch.from_numpy(scores[:, category])
        likely = torch.nonzero(own >= max(min_score, 1e-12))[:, 0]  # weights of 0 would have no average
        kept = likely[nms(boxes[likely], own[likely].double(), config.nms_threshold)]
        found += [(float(own[index]), int(index), category) for index in kept]
    found.sort(key=lambda segment: -segment[0])
    coordinates, overlaps = np.ascontiguousarray(proposals.boxes_xyxy.T, np.float64), np.empty(len(proposals))
    segments: list[tuple[Rle, float, int]] = []
    for score, index, category in found[:max_segments]:
        rle: Rle | None = proposals.rles[index]
        if config.vote_threshold:
            ious_with(coordinates, index, overlaps)
            voters = np.flatnonzero(overlaps >= config.vote_threshold)
            rle = average_masks(edges, proposals.boxes_xyxy, voters, scores[voters, category])
        if rle is not None:
            segments.append((rle, score, category))
    rles, kept_scores, columns = (list(column) for column in zip(*segments, strict=True)) if segments else ([], [], [])
    return Segments(
        rles,
        tight_boxes(rles),
        np.array(kept_scores, dtype=np.float64),
        proposals.height,
        proposals.width,
        np.array(list(categories), dtype=np.int64)[np.array(columns, dtype=np.int64)],
        categories,
    )


def average_masks(
    edges: Edges,
    boxes_xyxy: Float[np.ndarray, "n 4"],
    voters: Int[np.ndarray, "v"],
    weights: Float[np.ndarray, "v"],
) -> Rle | None:
    """The pixels where the weighted average of the voters' masks is ``MASK_THRESHOLD`` or more; None where none is."""
    left, top = boxes_xyxy[voters, :2].min(0).astype(int).tolist()
    right, bottom = boxes_xyxy[voters, 2:].max(0).astype(int).tolist()
    weights = weights.astype(np.float64) / weights.sum(dtype=np.float64)
    average = edges.weighted_sum(voters, weights, left, right)[top:bottom]
    mask = average >= MASK_THRESHOLD - 1e-9  # sums of parts may miss by as much
    return encode_in_box(mask, top, left, edges.height, edges.width) if mask.any() else None

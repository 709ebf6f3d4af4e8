"""From scored proposals to segments: suppression within each category, and mask voting (MNC, section on inference)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torchvision.ops import batched_nms, box_iou

from instancefcn.classifier.config import NamingConfig
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
    rows, columns = np.nonzero(scores >= max(min_score, 1e-12))  # weights of 0 would have no average
    boxes, likely = torch.from_numpy(proposals.boxes_xyxy), torch.from_numpy(scores[rows, columns]).double()
    kept = batched_nms(boxes[rows], likely, torch.from_numpy(columns), config.nms_threshold)[:max_segments].numpy()
    rows, columns = rows[kept], columns[kept]
    rles = [proposals.rles[row] for row in rows]
    if config.vote_threshold:
        voting = (box_iou(boxes[rows], boxes) >= config.vote_threshold).numpy()
        rles = [
            _average(edges, proposals.boxes_xyxy, voters, scores[voters, column])
            for voters, column in zip(map(np.flatnonzero, voting), columns, strict=True)
        ]
    category_ids = np.array(list(categories), dtype=np.int64)[columns]
    own_scores = scores[rows, columns].astype(np.float64)
    segments = Segments(
        rles, tight_boxes(rles), own_scores, proposals.height, proposals.width, category_ids, categories
    )
    return segments[segments.areas > 0]


def _average(
    edges: Edges, boxes_xyxy: Float[np.ndarray, "n 4"], voters: Int[np.ndarray, "v"], weights: Float[np.ndarray, "v"]
) -> Rle:
    """The pixels, perhaps none, where the weighted average of the voters' masks is ``MASK_THRESHOLD`` or more."""
    left, top = boxes_xyxy[voters, :2].min(0).astype(int).tolist()
    right, bottom = boxes_xyxy[voters, 2:].max(0).astype(int).tolist()
    weights = weights.astype(np.float64) / weights.sum(dtype=np.float64)
    average = edges.weighted_sum(voters, weights, left, right)[top:bottom]
    mask = average >= MASK_THRESHOLD - 1e-9  # sums of parts may miss by as much
    return encode_in_box(mask, top, left, edges.height, edges.width)

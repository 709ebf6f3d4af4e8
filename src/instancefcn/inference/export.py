"""From proposals to what other tools read: COCO results and label maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt16

from instancefcn.geometry.boxes import xyxy_to_xywh
from instancefcn.geometry.rle import decode, to_json
from instancefcn.structures import Proposals, Segments

CATEGORY_ID = 1  # proposals have no class; COCO results need a category
MAX_LABEL = np.iinfo(np.uint16).max


def to_coco_results(proposals: Proposals, image_id: int) -> list[dict[str, Any]]:
    """COCO results of one image, best first: what ``json.dump`` writes and pycocotools' ``loadRes`` reads.

    Each is ``{"image_id", "category_id": 1, "segmentation": {"size": [h, w], "counts": text}, "bbox": [x, y, w, h],
    "score"}``; boxes are tight around the masks, in pixels. Segments have a category of their own.
    """
    named = isinstance(proposals, Segments)
    category_ids = proposals.category_ids.tolist() if named else [CATEGORY_ID] * len(proposals)
    boxes_xywh = xyxy_to_xywh(proposals.boxes_xyxy).tolist()
    return [
        {
            "image_id": image_id,
            "category_id": category_id,
            "segmentation": to_json(rle),
            "bbox": box_xywh,
            "score": score,
        }
        for rle, box_xywh, score, category_id in zip(
            proposals.rles, boxes_xywh, proposals.scores.tolist(), category_ids, strict=True
        )
    ]


def to_label_map(proposals: Proposals) -> UInt16[np.ndarray, "h w"]:
    """One label a pixel: the rank, from 1, of the best proposal that covers it; 0 where none does.

    One mask is decoded at a time, so memory does not grow with their number.

    Raises:
        ValueError: more proposals than 16 bits can number.
    """
    if len(proposals) > MAX_LABEL:
        raise ValueError(f"a 16-bit label map holds {MAX_LABEL} proposals, not {len(proposals)}; ask for fewer")
    labels = np.zeros((proposals.height, proposals.width), dtype=np.uint16, order="F")  # as masks are decoded
    for index in reversed(range(len(proposals))):  # so that better ones are written over worse ones
        left, top, right, bottom = proposals.boxes_xyxy[index].astype(int)
        box = np.s_[top:bottom, left:right]
        labels[box][decode(proposals.rles[index])[box]] = index + 1
    return labels

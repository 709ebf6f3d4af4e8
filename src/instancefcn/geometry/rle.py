"""COCO run-length codes: column-major runs that start with background, compressed to bytes (pycocotools' format)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from pycocotools import mask as coco_mask

from instancefcn.geometry.boxes import xywh_to_xyxy
from instancefcn.structures import Rle


def encode(mask: Shaped[np.ndarray, "h w"]) -> Rle:
    """RLE of a full-size mask; every non-zero pixel is foreground."""
    return coco_mask.encode(np.asfortranarray(mask != 0).view(np.uint8))  # pyright: ignore[reportReturnType]


def decode(rle: Rle) -> Bool[np.ndarray, "h w"]:
    """Full-size mask of an RLE.

    Raises:
        ValueError: the runs do not fill the size.
    """
    return coco_mask.decode(rle).astype(bool)  # pyright: ignore[reportArgumentType]


def encode_in_box(crop: Bool[np.ndarray, "ch cw"], top: int, left: int, height: int, width: int) -> Rle:
    """RLE of a mask of which only a crop is given: what lies outside is background.

    Costs the crop's area, not the image's: a thousand full-size masks never exist at once. ``top`` and ``left`` are the
    crop's corner in the image, and the crop must lie inside it.
    """
    ch, cw = crop.shape
    assert 0 <= top <= height - ch
    assert 0 <= left <= width - cw
    columns = np.zeros((cw, ch + 2), dtype=np.int8)
    columns[:, 1:-1] = crop.T
    column, row = np.nonzero(
        np.diff(columns, axis=1)
    )  # in reading order: a run's start, then its end, column by column
    edges = (left + column) * height + top + row
    if ch == height:  # a run may go on from one column's foot to the next one's head: there its end is a start
        runs = edges.reshape(-1, 2)
        joined = runs[1:, 0] == runs[:-1, 1]
        edges = np.concatenate([edges[:1], np.delete(edges[1:-1].reshape(-1, 2), joined, axis=0).ravel(), edges[-1:]])
    counts = np.diff(edges, prepend=0, append=height * width)
    return from_counts(counts if counts[-1] else counts[:-1], height, width)  # no empty run at the end


def tight_boxes(rles: Sequence[Rle]) -> Float[np.ndarray, "n 4"]:
    """Smallest boxes around masks, xyxy, half-open; of an empty mask the empty box 0 0 0 0."""
    if not rles:
        return np.zeros((0, 4))
    return xywh_to_xyxy(coco_mask.toBbox(list(rles)))  # pyright: ignore[reportArgumentType]


def area(rle: Rle) -> float:
    """Foreground pixels."""
    return float(coco_mask.area(rle))  # pyright: ignore[reportArgumentType]


def from_counts(counts: Sequence[int] | np.ndarray, height: int, width: int) -> Rle:
    """Compress uncompressed run lengths (``{"counts": [0, 3, ...]}`` of a COCO file)."""
    uncompressed: Any = {"size": [height, width], "counts": np.asarray(counts).tolist()}
    return coco_mask.frPyObjects(uncompressed, height, width)  # pyright: ignore[reportReturnType]


def to_json(rle: Rle) -> dict[str, Any]:
    """The RLE with ``counts`` as text, as COCO results have it."""
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def from_json(segmentation: dict[str, Any]) -> Rle:
    """RLE of a JSON segmentation: compressed (text) or not (a list of run lengths).

    Raises:
        ValueError: the sizes and the runs do not agree, or a run is negative.
    """
    height, width = (int(side) for side in segmentation["size"])
    counts = segmentation["counts"]
    if isinstance(counts, (str, bytes)):
        return {"size": [height, width], "counts": counts.encode("ascii") if isinstance(counts, str) else counts}
    if min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ValueError(f"runs sum to {sum(counts)}, but {height} x {width} pixels need {height * width}")
    return from_counts(counts, height, width)

"""Segmentations of annotation files, checked and turned into run-length codes.

A ValueError, with the reason and without the place, refuses all that pycocotools would crash on, read beyond its memory
for, or misread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from instancefcn.data.polygons import Note, as_numbers, check_inside, polygons_to_rle, say_nothing
from instancefcn.geometry.rle import Rle, area, encode_edges, encode_in_box, from_counts, run_ends, tight_boxes
from instancefcn.structures import Instances
from instancefcn.values import shown, whole_or_none

NO_PIXEL = "zero area: the mask covers no pixel"


def to_instances(
    ids: Sequence[int],
    rles: Sequence[Rle],
    category_ids: Sequence[int],
    crowd: Sequence[bool] | None = None,
    ignore: Sequence[bool] | None = None,
) -> Instances:
    """Instances with tight boxes; no crowds, and none ignored, unless given."""
    none = np.zeros(len(rles), dtype=bool)
    return Instances(
        ids=np.asarray(ids, dtype=np.int64),
        rles=list(rles),
        boxes_xyxy=tight_boxes(rles),
        category_ids=np.asarray(category_ids, dtype=np.int64),
        crowd=none if crowd is None else np.asarray(crowd, dtype=bool),
        ignore=none if ignore is None else np.asarray(ignore, dtype=bool),
    )


def segmentation_to_rle(segmentation: Any, height: int, width: int, note: Note = say_nothing) -> Rle:
    """RLE of a COCO ``segmentation``, whole and not empty: of polygons, or of run lengths, compressed or not.

    Args:
        note: is told of what had to be mended, see ``polygons_to_rle``.
    """
    rle = read_segmentation(segmentation, height, width, note)
    ends, _ = run_ends([rle["counts"]])
    if not len(ends) or ends[-1] != height * width:
        raise ValueError(damage(rle))
    # Written anew, as pycocotools finds wrong boxes where runs are empty.
    rle = encode_edges(ends[:-1], height, width)
    if not area(rle):
        raise ValueError(NO_PIXEL)
    return rle


def read_segmentation(segmentation: Any, height: int, width: int, note: Note = say_nothing) -> Rle:
    """RLE of a COCO ``segmentation``, which may be empty, and damaged if it is a compressed code (``rle.damaged``).

    Polygons are ``[[x, y, x, y, ...], ...]``; a single one may stand without the outer brackets, and points may be
    pairs, ``[[[x, y], [x, y], ...]]``.
    """
    if segmentation is None:
        raise ValueError("segmentation is missing")
    if isinstance(segmentation, list):
        return polygons_to_rle(_flat_polygons(segmentation), height, width, note)
    if not isinstance(segmentation, dict):
        raise ValueError(
            f"segmentation must be polygons, [[x, y, x, y, ...], ...], or an RLE, {{size, counts}}, not "
            f"{shown(segmentation)}"
        )
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or [whole_or_none(side) for side in size] != [height, width]:
        raise ValueError(f"bad RLE: size {shown(size)} is not that of its image, [{height}, {width}] (height, width)")
    if isinstance(counts, str) and counts.isascii():
        counts = counts.encode("ascii")
    if isinstance(counts, bytes):
        return {"size": [height, width], "counts": counts}
    runs = as_numbers(counts, "RLE counts")
    if len(runs) and (runs.min() < 0 or (runs % 1).any()):
        raise ValueError("bad RLE: counts must be whole numbers from 0 on")
    if runs.sum() != height * width:
        raise ValueError(f"bad RLE: counts sum to {runs.sum():.0f}, not to {height} x {width} = {height * width}")
    return from_counts(runs, height, width)


def _flat_polygons(segmentation: list[Any]) -> list[Any]:
    """Polygons ``[x, y, x, y, ...]`` of any of the forms of ``read_segmentation``."""
    if segmentation and not any(isinstance(part, list) for part in segmentation):
        return [segmentation]
    if len(segmentation) > 2 and all(_is_point(part) for part in segmentation):
        return [[number for point in segmentation for number in point]]
    return [
        [number for point in part for number in point] if isinstance(part, list) and all(map(_is_point, part)) else part
        for part in segmentation
    ]


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and not any(isinstance(number, list) for number in value)


def damage(rle: Rle) -> str:
    """Error message for a damaged code."""
    height, width = rle["size"]
    return (
        f"bad RLE: its counts are damaged: they do not fill {height} x {width} pixels; write them again with "
        "pycocotools.mask.encode"
    )


def pixels_of_box(box_xyxy: Sequence[Any] | None, height: int, width: int) -> tuple[int, int, int, int] | None:
    """The pixels that a box touches, xyxy half-open.

    None where there is no box, or it holds no pixel, or most of it is outside: then nobody knows where it lies.
    """
    if box_xyxy is None:
        return None
    try:
        corners = as_numbers(list(box_xyxy), "box").reshape(2, 2)
        check_inside([corners], height, width, "box")
    except ValueError:
        return None
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    x0, x1 = max(math.floor(left), 0), min(math.ceil(right), width)
    y0, y1 = max(math.floor(top), 0), min(math.ceil(bottom), height)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def region_of_box(box_xyxy: Sequence[Any] | None, height: int, width: int) -> Rle | None:
    """Where an instance lies whose mask can't be read: all pixels of its box, xyxy; None where ``pixels_of_box`` is."""
    pixels = pixels_of_box(box_xyxy, height, width)
    if pixels is None:
        return None
    x0, y0, x1, y1 = pixels
    return encode_in_box(np.ones((y1 - y0, x1 - x0), dtype=bool), y0, x0, height, width)

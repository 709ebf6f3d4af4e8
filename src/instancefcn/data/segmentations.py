"""Segmentations of annotation files, checked and turned into run-length codes.

A ValueError, with the reason and without the place, refuses all that pycocotools would crash on, read beyond its memory
for, or misread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from instancefcn.geometry.rle import (
    Rle,
    area,
    difference,
    encode_edges,
    encode_in_box,
    from_counts,
    from_polygons,
    run_ends,
    tight_boxes,
    union,
)
from instancefcn.structures import Instances

MAX_PERIMETER = 1_000_000  # pixels; rasterising takes about 100 bytes for each
OUTSIDE_TOLERANCE = 1.0  # pixels; points this far beyond the border are taken for rounding


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


def segmentation_to_rle(segmentation: Any, height: int, width: int) -> Rle:
    """RLE of a COCO ``segmentation``, whole and not empty: of polygons, or of run lengths, compressed or not."""
    rle = read_segmentation(segmentation, height, width)
    ends, _ = run_ends([rle["counts"]])
    if not len(ends) or ends[-1] != height * width:
        raise ValueError(damage(rle))
    # Written anew, as pycocotools finds wrong boxes where runs are empty.
    return not_empty(encode_edges(ends[:-1], height, width))


def read_segmentation(segmentation: Any, height: int, width: int) -> Rle:
    """RLE of a COCO ``segmentation``, which may be empty, and damaged if it is a compressed code (``rle.damaged``)."""
    if isinstance(segmentation, list):
        flat = bool(segmentation) and all(isinstance(number, (int, float)) for number in segmentation)
        return polygons_to_rle([segmentation] if flat else segmentation, height, width)
    if not isinstance(segmentation, dict):
        raise ValueError(f"segmentation must be polygons or an RLE, not {type(segmentation).__name__}")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(f"bad RLE: size {size} is not that of its image, [{height}, {width}] (height, width)")
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


def damage(rle: Rle) -> str:
    """Error message for a damaged code."""
    height, width = rle["size"]
    return (
        f"bad RLE: its counts are damaged: they do not fill {height} x {width} pixels; write them again with "
        "pycocotools.mask.encode"
    )


def polygons_to_rle(polygons: Sequence[Any], height: int, width: int) -> Rle:
    """RLE of the union of polygons, each ``[x, y, x, y, ...]`` in pixels; it may be empty."""
    if not polygons:
        raise ValueError("segmentation is empty: there is no polygon (a box is no mask)")
    for polygon in polygons:
        points = as_numbers(polygon, "polygon")
        if len(points) < 6:
            raise ValueError(f"polygon of {len(points) // 2} points: it takes 3 at least")
        if len(points) % 2:
            raise ValueError(f"polygon of {len(points)} numbers: x and y do not pair")
        points_xy = points.reshape(-1, 2)
        check_inside(points_xy, height, width, "polygon")
        if np.abs(np.diff(points_xy, axis=0)).sum() > MAX_PERIMETER:
            raise ValueError(f"polygon is longer than {MAX_PERIMETER} pixels")
    return from_polygons(polygons, height, width)


def parts_to_rle(parts: Sequence[Sequence[Any]], height: int, width: int) -> Rle:
    """RLE of polygons with holes; it may be empty.

    Args:
        parts: of each polygon its outer ring, then its holes; a ring is ``[x, y, x, y, ...]`` in pixels.
    """
    if not all(parts):
        raise ValueError("polygon without a ring")
    rles = [[polygons_to_rle([ring], height, width) for ring in part] for part in parts]
    return union([difference(outer, holes) for outer, *holes in rles])


def ellipse_to_rle(center_xy: Sequence[Any], radii_xy: Sequence[Any], degrees: Any, height: int, width: int) -> Rle:
    """RLE of the pixels with their centres in an ellipse, which may reach beyond the image; it may be empty.

    Args:
        center_xy: in pixels.
        radii_xy: along its own axes, in pixels.
        degrees: by which it is turned clockwise about its centre.
    """
    x, y, radius_x, radius_y, degrees = as_numbers([*center_xy, *radii_xy, degrees], "ellipse").tolist()
    reach = np.hypot(radius_x, radius_y)
    left, right = (int(np.clip(np.floor(x + side), 0, width)) for side in (-reach, reach + 1))
    top, bottom = (int(np.clip(np.floor(y + side), 0, height)) for side in (-reach, reach + 1))
    right, bottom = max(left, right), max(top, bottom)
    dy, dx = np.arange(top, bottom)[:, None] + 0.5 - y, np.arange(left, right) + 0.5 - x
    turn = np.deg2rad(degrees)
    along, across = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    inside = (along * radius_y) ** 2 + (across * radius_x) ** 2 <= (radius_x * radius_y) ** 2
    return encode_in_box(inside & (radius_x * radius_y > 0), top, left, height, width)


def check_inside(points_xy: Float[np.ndarray, "n 2"], height: int, width: int, what: str) -> None:
    """Check that points are in the image, up to ``OUTSIDE_TOLERANCE``."""
    low, high = points_xy.min(0), points_xy.max(0)
    if (low < -OUTSIDE_TOLERANCE).any() or (high > np.array([width, height]) + OUTSIDE_TOLERANCE).any():
        x, y = (f"{start:g}..{end:g}" for start, end in zip(low, high, strict=True))
        raise ValueError(f"{what} spans x {x}, y {y}: outside the image of {width} x {height}")


def flatten_points(points: Any) -> list[float]:
    """``[x, y, x, y, ...]`` of a JSON list of ``[x, y]``."""
    if not isinstance(points, list):
        raise ValueError("points must be a list")
    numbers = [as_numbers(point, "point") for point in points]
    for point in numbers:
        if len(point) != 2:
            raise ValueError(f"point of {len(point)} numbers: it takes x and y")
    return [float(number) for point in numbers for number in point]


def as_numbers(values: Any, what: str) -> Float[np.ndarray, "n"]:
    """Convert a flat JSON list of finite numbers."""
    if not isinstance(values, list) or not all(isinstance(value, (int, float)) for value in values):
        raise ValueError(f"{what} must be a flat list of numbers")
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        numbers = np.array([np.inf])
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what} holds NaN or an infinite number")
    return numbers


def not_empty(rle: Rle) -> Rle:
    """The mask, which has to cover a pixel."""
    if not area(rle):
        raise ValueError("zero area: the mask covers no pixel")
    return rle

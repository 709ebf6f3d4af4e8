"""Segmentations as annotation files have them, checked and turned into run-length codes.

All that pycocotools would crash on, read beyond its memory for, or silently misread is refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from pycocotools import mask as coco_mask

from instancefcn.geometry.rle import Rle, area, decode, encode, from_counts, tight_boxes
from instancefcn.structures import Instances

MAX_PERIMETER = 1_000_000  # pixels; pycocotools takes about 100 bytes for each
OUTSIDE_TOLERANCE = 1.0  # pixels beyond the border that are put down to rounding


def to_instances(
    ids: Sequence[int],
    rles: Sequence[Rle],
    category_ids: Sequence[int],
    crowd: Sequence[bool] | None = None,
    ignore: Sequence[bool] | None = None,
) -> Instances:
    """Instances with boxes tight around their masks; neither crowd nor to be ignored unless said."""
    return Instances(
        ids=np.asarray(ids, dtype=np.int64),
        rles=list(rles),
        boxes_xyxy=tight_boxes(rles),
        category_ids=np.asarray(category_ids, dtype=np.int64),
        crowd=np.asarray(crowd if crowd is not None else [False] * len(rles), dtype=bool),
        ignore=np.asarray(ignore if ignore is not None else [False] * len(rles), dtype=bool),
    )


def segmentation_to_rle(segmentation: Any, height: int, width: int) -> Rle:
    """RLE of a COCO ``segmentation``: polygons, or run lengths, compressed or not.

    Raises:
        ValueError: with the reason, without the place.
    """
    if isinstance(segmentation, list):
        return polygons_to_rle(segmentation, height, width)
    if isinstance(segmentation, dict):
        return runs_to_rle(segmentation, height, width)
    raise ValueError(f"segmentation must be polygons or an RLE, not {type(segmentation).__name__}")


def polygons_to_rle(polygons: Sequence[Any], height: int, width: int) -> Rle:
    """RLE of the union of polygons, each ``[x, y, x, y, ...]`` in pixels.

    Raises:
        ValueError: with the reason, without the place.
    """
    if not polygons:
        raise ValueError("segmentation is empty: there is no polygon")
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
    rles: Any = coco_mask.frPyObjects(list(polygons), height, width)
    return _not_empty(union(rles))


def union(rles: Sequence[Rle]) -> Rle:
    """RLE of what any of the masks covers."""
    return coco_mask.merge(list(rles))  # pyright: ignore[reportReturnType, reportArgumentType]


def runs_to_rle(segmentation: dict[str, Any], height: int, width: int) -> Rle:
    """RLE of a JSON ``{"size": [h, w], "counts": text or list}``.

    Raises:
        ValueError: with the reason, without the place.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(f"bad RLE: size {size} is not the image's [{height}, {width}]")
    runs = parse_counts(counts) if isinstance(counts, (str, bytes)) else as_numbers(counts, "RLE counts")
    if len(runs) and (runs.min() < 0 or (runs % 1).any()):
        raise ValueError("bad RLE: counts must be whole numbers from 0 on")
    if runs.sum() != height * width:
        raise ValueError(f"bad RLE: counts sum to {runs.sum():.0f}, not to {height} x {width} = {height * width}")
    rle = from_counts(runs.astype(np.int64), height, width)
    if (runs[1:] == 0).any():  # pycocotools finds boxes wrong where runs are empty
        rle = encode(decode(rle))
    return _not_empty(rle)


def parse_counts(text: str | bytes) -> Int64[np.ndarray, "runs"]:
    """Run lengths of COCO's compressed ``counts``.

    A number is a chain of characters (code - 48): 5 bits each, least first, bit 5 says that more follow, bit 4 of the
    last one is the sign. From the fourth number on it is the difference to the run before the last.

    Raises:
        ValueError: the text is none that could have been written.
    """
    characters = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    codes = np.frombuffer(characters, dtype=np.uint8).astype(np.int64) - 48
    if len(codes) == 0:
        return codes
    if codes.min() < 0 or codes.max() > 63:
        raise ValueError("bad RLE: counts hold a character that compressed counts cannot have")
    if codes[-1] & 32:
        raise ValueError("bad RLE: counts are cut off")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > 7:  # 35 bits: more than any image has pixels
        raise ValueError("bad RLE: a count is too large")
    place = np.arange(len(codes)) - np.repeat(first, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * place), first)
    numbers -= np.where(codes[last] & 16, 1 << (5 * lengths), 0)
    runs = numbers.copy()
    runs[1::2] = np.cumsum(numbers[1::2])
    runs[2::2] = np.cumsum(numbers[2::2])
    return runs


def check_box(box_xywh: Any, height: int, width: int) -> None:
    """Check a COCO ``bbox``; none at all passes, as boxes are taken from the masks.

    Raises:
        ValueError: with the reason, without the place.
    """
    if box_xywh is None or box_xywh == []:
        return
    numbers = as_numbers(box_xywh, "bbox")
    if len(numbers) != 4:
        raise ValueError(f"bbox of {len(numbers)} numbers: it takes x, y, width, height")
    if (numbers[2:] <= 0).any():
        raise ValueError(f"bbox of zero area: width {numbers[2]:g}, height {numbers[3]:g}")
    check_inside(np.stack([numbers[:2], numbers[:2] + numbers[2:]]), height, width, "bbox")


def check_inside(points_xy: Float[np.ndarray, "n 2"], height: int, width: int, what: str) -> None:
    """Check that points are in the image, rounding apart.

    Raises:
        ValueError: with the reason, without the place.
    """
    low, high = points_xy.min(0), points_xy.max(0)
    if (low < -OUTSIDE_TOLERANCE).any() or (high > np.array([width, height]) + OUTSIDE_TOLERANCE).any():
        x, y = (f"{start:g}..{end:g}" for start, end in zip(low, high, strict=True))
        raise ValueError(f"{what} spans x {x}, y {y}: outside the image of {width} x {height}")


def as_numbers(values: Any, what: str) -> Float[np.ndarray, "n"]:
    """A JSON list as numbers.

    Raises:
        ValueError: not a flat list of finite numbers.
    """
    if not isinstance(values, list) or not all(isinstance(value, (int, float)) for value in values):
        raise ValueError(f"{what} must be a flat list of numbers")
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        numbers = np.array([np.inf])
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what} holds NaN or an infinite number")
    return numbers


def _not_empty(rle: Rle) -> Rle:
    if not area(rle):
        raise ValueError("zero area: the mask covers no pixel")
    return rle

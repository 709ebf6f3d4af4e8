"""Polygons and ellipses of annotation files, checked and turned into run-length codes.

A ValueError, with the reason and without the place, refuses what pycocotools would misread, or take hours for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from instancefcn.geometry.rle import Rle, difference, encode_in_box, from_polygons, union
from instancefcn.values import shown

MAX_PERIMETER = 1_000_000  # pixels; rasterising takes about 100 bytes for each
OUTSIDE_TOLERANCE = 1.0  # pixels; points this far beyond the border are taken for rounding
MIN_INSIDE = 0.5  # of the boxes of a shape; with less of it inside, its coordinates are taken for another image's

Note = Callable[[str], object]  # is told what of an instance had to be mended, or was not used


class NoAreaError(ValueError):
    """A shape, such as a line, that has no pixel: no loss beside others of its instance."""


def say_nothing(reason: str) -> None:
    """Take no note."""


def polygons_to_rle(polygons: Sequence[Any], height: int, width: int, note: Note = say_nothing) -> Rle:
    """RLE of the union of polygons, each ``[x, y, x, y, ...]`` in pixels; it may be empty.

    Beside other polygons, one of fewer than 3 points is left out. What reaches beyond the image is cut off, unless that
    is most of it.

    Args:
        note: is told of what was left out or cut off.
    """
    if not polygons:
        raise ValueError("segmentation is empty: there is no polygon (a box is no mask)")
    every = [as_numbers(polygon, "polygon") for polygon in polygons]
    parts = [numbers for numbers in every if len(numbers) >= 6]
    for numbers in every:
        if len(numbers) < 6:
            if not parts:
                raise NoAreaError(f"polygon of {len(numbers) // 2} points: it takes 3 at least")
            note(f"a part of {len(numbers) // 2} points is left out: a polygon takes 3 at least")
        elif len(numbers) % 2:
            raise ValueError(f"polygon of {len(numbers)} numbers: x and y do not pair")
    points_xy = [numbers.reshape(-1, 2) for numbers in parts]
    check_inside(points_xy, height, width, "polygon", note)
    if sum(np.abs(np.diff(points, axis=0)).sum() for points in points_xy) > MAX_PERIMETER:
        raise ValueError(f"polygon is longer than {MAX_PERIMETER} pixels")
    return from_polygons([numbers.tolist() for numbers in parts], height, width)


def parts_to_rle(parts: Sequence[Sequence[Any]], height: int, width: int, note: Note = say_nothing) -> Rle:
    """RLE of polygons with holes; it may be empty.

    Args:
        parts: of each polygon its outer ring, then its holes; a ring is ``[x, y, x, y, ...]`` in pixels.
        note: as of ``polygons_to_rle``.
    """
    sound = [part for part in parts if part and len(part[0]) >= 6]
    if not sound:
        points = len(parts[0][0]) // 2 if parts and parts[0] else 0
        raise NoAreaError(f"polygon of {points} points: it takes 3 at least")
    if len(sound) < len(parts):
        note(f"{len(parts) - len(sound)} parts of fewer than 3 points are left out")
    rles = [[polygons_to_rle([ring], height, width, note) for ring in part if len(ring) >= 6] for part in sound]
    return union([difference(outer, holes) for outer, *holes in rles])


def box_of_points(numbers: Any) -> list[float] | None:
    """Box, xyxy, of 3 points or more, ``[x, y, x, y, ...]``; None of anything else."""
    try:
        points = as_numbers(numbers, "polygon")
    except ValueError:
        return None
    if len(points) < 6 or len(points) % 2:
        return None
    points_xy = points.reshape(-1, 2)
    return [*points_xy.min(0).tolist(), *points_xy.max(0).tolist()]


def ellipse_to_rle(
    center_xy: Sequence[Any],
    radii_xy: Sequence[Any],
    degrees: Any,
    height: int,
    width: int,
    note: Note = say_nothing,
    *,
    what: str = "ellipse",
    least: float = MIN_INSIDE,
) -> Rle:
    """RLE of the pixels with their centres in an ellipse; it may be empty. What reaches beyond the image is cut off.

    Args:
        center_xy: in pixels.
        radii_xy: along its own axes, in pixels.
        degrees: by which it is turned clockwise about its centre.
        note: as of ``polygons_to_rle``.
        what: it is called in messages.
        least: share of its box that has to be inside.
    """
    x, y, radius_x, radius_y, degrees = as_numbers([*center_xy, *radii_xy, degrees], "ellipse").tolist()
    if max(abs(radius_x), abs(radius_y)) > MAX_PERIMETER:
        raise ValueError(f"ellipse is longer than {MAX_PERIMETER} pixels")
    turn = np.deg2rad(degrees)
    if radius_x * radius_y > 0:
        half_x = np.hypot(radius_x * np.cos(turn), radius_y * np.sin(turn))
        half_y = np.hypot(radius_x * np.sin(turn), radius_y * np.cos(turn))
        box = np.array([[x - half_x, y - half_y], [x + half_x, y + half_y]])
        check_inside([box], height, width, what, note, least)
    reach = np.hypot(radius_x, radius_y)
    left, right = (int(np.clip(np.floor(x + side), 0, width)) for side in (-reach, reach + 1))
    top, bottom = (int(np.clip(np.floor(y + side), 0, height)) for side in (-reach, reach + 1))
    right, bottom = max(left, right), max(top, bottom)
    dy, dx = np.arange(top, bottom)[:, None] + 0.5 - y, np.arange(left, right) + 0.5 - x
    along, across = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    inside = (along * radius_y) ** 2 + (across * radius_x) ** 2 <= (radius_x * radius_y) ** 2
    return encode_in_box(inside & (radius_x * radius_y > 0), top, left, height, width)


def check_inside(
    shapes_xy: Sequence[Float[np.ndarray, "_ 2"]],
    height: int,
    width: int,
    what: str,
    note: Note = say_nothing,
    least: float = MIN_INSIDE,
) -> None:
    """Check that the parts of a shape lie in the image, up to ``OUTSIDE_TOLERANCE``, or enough of their boxes.

    Args:
        shapes_xy: the points of each part.
        note: is told where a part does not lie inside.
        least: share of their boxes.

    Raises:
        ValueError: most of the shape is outside.
    """
    size = np.array([width, height])
    low = np.array([points.min(0) for points in shapes_xy])
    high = np.array([points.max(0) for points in shapes_xy])
    outside = ((low < -OUTSIDE_TOLERANCE) | (high > size + OUTSIDE_TOLERANCE)).any(1)
    if not outside.any():
        return
    whole = np.maximum(high - low, 1)  # a line has a box, too
    shares = (np.clip(np.minimum(high, size) - np.maximum(low, 0), 0, None) / whole).prod(1)
    first = int(np.flatnonzero(outside)[0])
    x, y = (f"{start:g}..{end:g}" for start, end in zip(low[first], high[first], strict=True))
    spans = f"{what} spans x {x}, y {y}"
    with np.errstate(over="ignore"):  # of numbers as 1e300, whose area is infinite
        weights = whole.prod(1)
    if not np.isfinite(weights).all() or (shares * weights).sum() < least * weights.sum():
        raise ValueError(f"{spans}: outside the image of {width} x {height}")
    note(f"{spans}: cut off at the border of the image of {width} x {height}")


def flatten_points(points: Any) -> list[float]:
    """``[x, y, x, y, ...]`` of a JSON list of ``[x, y]``."""
    if not isinstance(points, list):
        raise ValueError(f"points must be a list of [x, y], not {shown(points)}")
    numbers = [as_numbers(point, "point") for point in points]
    for point in numbers:
        if len(point) != 2:
            raise ValueError(f"point of {len(point)} numbers: it takes x and y")
    return [float(number) for point in numbers for number in point]


def as_numbers(values: Any, what: str) -> Float[np.ndarray, "n"]:
    """Convert a flat JSON list of finite numbers, which may be text."""
    if not isinstance(values, list):
        raise ValueError(f"{what} must be a flat list of numbers, not {shown(values)}")
    try:
        quick = set(map(type, values)) <= {int, float}
        numbers = np.array(values if quick else [number_or_nan(value) for value in values], dtype=np.float64)
    except OverflowError:  # 10^400
        numbers = np.array([number_or_nan(value) for value in values])
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ValueError(f"{what}[{bad[0]}] is {shown(values[int(bad[0])])}, not a finite number")
    return numbers


def number_or_nan(value: Any) -> float:
    """Float of a JSON number, or of text that is one; NaN of anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", value):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf

"""Regions, masks or boxes, as COCO files write them: parsed, checked, and overlapped with each other."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from pycocotools import mask as coco_mask

from instancefcn.geometry import rle as rle_codec
from instancefcn.geometry.rle import Rle

IouType = Literal["segm", "bbox"]
Regions = list[Rle] | Float[np.ndarray, "_ 4"]  # masks, or boxes as COCO has them: xywh


def parse_mask(segmentation: Any, height: int, width: int) -> Rle:
    """RLE of a COCO ``segmentation``: compressed or uncompressed run lengths, or polygons.

    The runs of a compressed one are not looked at: ``broken_rle`` does that for many at once.

    Raises:
        ValueError: it is none of these, or not of the image's size.
    """
    if isinstance(segmentation, list):
        return _parse_polygons(segmentation, height, width)
    if not isinstance(segmentation, dict):
        raise ValueError("segmentation is neither an RLE {size, counts} nor a list of polygons")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        raise ValueError(
            f"RLE size is {size!r}, but the image is [{height}, {width}] (height, width): "
            "write masks at the size of the image that was labelled"
        )
    if isinstance(counts, list):
        if not all(isinstance(run, Integral) for run in counts):
            raise ValueError("RLE counts are neither ASCII text nor a list of whole numbers")
    elif not isinstance(counts, bytes) and not (isinstance(counts, str) and counts.isascii()):
        raise ValueError("RLE counts are neither ASCII text nor a list of whole numbers")
    return rle_codec.from_json(segmentation)


def _parse_polygons(polygons: list[Any], height: int, width: int) -> Rle:
    if not polygons:
        raise ValueError("segmentation is empty: give polygons or an RLE, or evaluate with iou='bbox'")
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon needs three points or more, as [x1, y1, x2, y2, x3, y3, ...]")
        if not all(isinstance(coordinate, Real) for coordinate in polygon):
            raise ValueError("a polygon's coordinates are not all numbers")
        points = np.asarray(polygon, dtype=float).reshape(-1, 2)
        size = np.array([width, height])
        # Rasterising costs time and memory by an edge's length, so a stray 1e9 must not get that far. NaN fails too.
        if not np.all((points >= -size) & (points <= 2 * size)):
            raise ValueError(f"a polygon leaves the image, {width} x {height}, by more than its size")
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))  # pyright: ignore[reportArgumentType, reportReturnType, reportCallIssue]


def parse_box(bbox: Any) -> Float[np.ndarray, "4"]:
    """Box, xywh, of a COCO ``bbox``.

    Raises:
        ValueError: it isn't four finite numbers, or its size is negative.
    """
    try:
        box_xywh = np.asarray(bbox, dtype=float)
    except (TypeError, ValueError):
        box_xywh = np.zeros(0)
    if box_xywh.shape != (4,) or not np.isfinite(box_xywh).all() or box_xywh[2:].min() < 0:
        raise ValueError(f"bbox {bbox!r} is not [x, y, width, height], finite and with width and height >= 0")
    return box_xywh


def areas(regions: Regions) -> Float[np.ndarray, "n"]:
    """Pixels of each region."""
    if isinstance(regions, np.ndarray):
        return regions[:, 2] * regions[:, 3]
    # One at a time: given a list of more than 255, pycocotools 2.0.11 overflows under numpy 2.
    return np.array([coco_mask.area(rle) for rle in regions], dtype=float)  # pyright: ignore[reportArgumentType]


def pairwise_iou(proposals: Regions, gt: Regions) -> Float[np.ndarray, "n g"]:
    """IoU of every proposal with every ground-truth region; both are masks of one image, or both are boxes."""
    if len(proposals) == 0 or len(gt) == 0:
        return np.zeros((len(proposals), len(gt)))
    none_is_crowd = np.zeros(len(gt), dtype=np.uint8)
    return np.asarray(coco_mask.iou(proposals, gt, none_is_crowd))  # pyright: ignore[reportArgumentType]


def broken_rle(rles: Sequence[Rle]) -> int | None:
    """Index of the first RLE whose code is damaged or whose runs do not fill its size; None where all are whole.

    pycocotools never returns from the IoU of a mask whose runs are too short, and reads beyond others, so a file from
    elsewhere is checked first. All codes are checked together, as decoding them one by one would take longer than the
    evaluation.
    """
    if not rles:
        return None
    codes = [rle["counts"] for rle in rles]
    lengths = np.array([len(code) for code in codes])
    text = np.frombuffer(b"".join(codes), dtype=np.uint8).astype(np.int64) - 48
    owner = np.repeat(np.arange(len(rles)), lengths)  # the RLE of each character
    more = text & 32 != 0
    broken = lengths == 0
    broken[owner[(text < 0) | (text > 63)]] = True
    ends = np.cumsum(lengths)
    broken[~broken] = more[ends[~broken] - 1]  # the code stops within a number
    whole = ~broken[owner]
    totals = _run_totals(text[whole], more[whole], owner[whole], len(rles))
    expected = np.array([rle["size"][0] * rle["size"][1] for rle in rles])
    broken |= totals != expected
    return int(broken.argmax()) if broken.any() else None


def _run_totals(
    text: Int[np.ndarray, "c"], more: np.ndarray, owner: Int[np.ndarray, "c"], n: int
) -> Int[np.ndarray, "n"]:
    """Sum of the runs of each code, or -1 where a run is negative or longer than 2^32.

    A code is a chain of numbers of little-endian 5-bit digits with sign; the fourth number and later ones are
    differences to the run before the last (maskApi.c, ``rleToString``).
    """
    if len(text) == 0:
        return np.full(n, -1)
    last = np.flatnonzero(~more)
    first = np.concatenate([[0], last[:-1] + 1])
    digits = last - first + 1
    too_long = digits > 7
    place = np.minimum(np.arange(len(text)) - np.repeat(first, digits), 7)
    numbers = np.add.reduceat((text & 31) << (5 * place), first)
    numbers -= np.where(text[last] & 16 != 0, 1 << (5 * np.minimum(digits, 7)), 0)

    number_owner = owner[last]
    starts = np.flatnonzero(np.diff(number_owner, prepend=-1))
    index = np.arange(len(numbers)) - np.repeat(starts, np.diff(starts, append=len(numbers)))
    # Three chains in each code: the first number alone, then those at odd and at even places, each a running sum.
    chain = 3 * number_owner + np.where(index == 0, 0, 1 + index % 2)
    order = np.argsort(chain, kind="stable")
    running = np.cumsum(numbers[order])
    chain_starts = np.flatnonzero(np.diff(chain[order], prepend=-1))
    before = np.repeat(running[chain_starts] - numbers[order][chain_starts], np.diff(chain_starts, append=len(order)))
    runs = running - before
    totals = np.zeros(n, dtype=np.int64)
    np.add.at(totals, number_owner[order], runs)
    totals[number_owner[order][(runs < 0) | too_long[order]]] = -1
    return totals

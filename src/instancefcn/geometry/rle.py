"""COCO run-length codes: column-major runs that start with background, compressed to bytes (pycocotools' format)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, Shaped, UInt8
from pycocotools import mask as coco_mask

from instancefcn.compiled import compiled


class Rle(TypedDict):
    """COCO run-length code of one mask; ``counts`` is bytes in memory and text in JSON."""

    size: list[int]
    counts: bytes


def encode(mask: Shaped[np.ndarray, "h w"]) -> Rle:
    """RLE of a full-size mask; every non-zero pixel is foreground."""
    return coco_mask.encode(np.asfortranarray(mask != 0).view(np.uint8))  # pyright: ignore[reportReturnType]


def decode(rle: Rle) -> Bool[np.ndarray, "h w"]:
    """Full-size mask of an RLE.

    Runs that end early leave pixels unset: codes from elsewhere are checked first (``damaged``).

    Raises:
        ValueError: the runs go beyond the size.
    """
    return coco_mask.decode(rle).view(bool)  # pyright: ignore[reportArgumentType]


def encode_in_box(crop: Bool[np.ndarray, "ch cw"], top: int, left: int, height: int, width: int) -> Rle:
    """RLE of a mask that is given as a crop: everything outside the crop is background.

    Takes time by the crop's area, not the image's. ``top`` and ``left`` are the crop's corner in the image; the crop
    must lie inside the image.
    """
    ch, cw = crop.shape
    assert 0 <= top <= height - ch
    assert 0 <= left <= width - cw
    columns = np.zeros((cw, ch + 2), dtype=np.int8)
    columns[:, 1:-1] = crop.T
    column, row = np.nonzero(np.diff(columns, axis=1))  # a run's start, then its end, column by column
    return encode_edges((left + column) * height + top + row, height, width)


def encode_edges(places: Int[np.ndarray, "e"], height: int, width: int) -> Rle:
    """RLE of a mask from the places at which it changes.

    Args:
        places: column-major index of the first pixel of each run, in order, starting with the first foreground run; two
            equal places enclose nothing.
    """
    text = np.empty(code_bound(len(places)), dtype=np.uint8)
    end = write_code(places.astype(np.int64), len(places), height * width, text, 0)  # astype copies
    return {"size": [height, width], "counts": text[:end].tobytes()}


@compiled
def write_code(places: Int64[np.ndarray, "_"], count: int, area: int, text: UInt8[np.ndarray, "_"], start: int) -> int:
    """Write the code of a mask of ``area`` pixels that changes at the first ``count`` of some places into ``text``.

    Lengths of runs, from the fourth on as differences to the last but one, in signed 5-bit digits (maskApi.c).

    Args:
        places: as in ``encode_edges``; changed where two are equal.
        text: has ``code_bound(count)`` bytes from ``start`` on.

    Returns:
        Where the code ends.
    """
    edges = 0
    for index in range(count):  # drop pairs of equal places
        if edges and places[edges - 1] == places[index]:
            edges -= 1
        else:
            places[edges] = places[index]
            edges += 1
    end, before, one_before, last = start, 0, 0, 0  # lengths of the two runs before
    for index in range(edges + 1):
        stop = places[index] if index < edges else area
        run = stop - last
        if index == edges and run == 0 and edges:
            break  # no empty run at the end
        number = run - one_before if index > 2 else run
        one_before, before, last = before, run, stop
        more = True
        while more:
            digit = number & 31
            number >>= 5
            more = number != (-1 if digit & 16 else 0)
            text[end] = digit + (32 if more else 0) + 48
            end += 1
    return end


@compiled
def code_bound(count: int) -> int:
    """Most bytes that the code of a mask with ``count`` changes can have: 13 digits for each run of 64 bits."""
    return 13 * (count + 1)


@compiled
def read_codes(
    text: UInt8[np.ndarray, "c"],
    starts: Int64[np.ndarray, "_"],
    places: Int64[np.ndarray, "c"],
    bounds: Int64[np.ndarray, "_"],
) -> None:
    """Decode many codes: write the places at which their runs end. The inverse of ``write_code``.

    Args:
        text: the codes, one after the other.
        starts: code i is ``text[starts[i] : starts[i + 1]]``.
        places: for the ends of all runs, code after code; the last end of a whole code is the area of its mask.
        bounds: written; code i's ends are ``places[bounds[i] : bounds[i + 1]]``, none where the code is damaged: it
            stops within a number, has a character or a run that no code has, or is empty.
    """
    bounds[0] = 0
    for code in range(len(starts) - 1):
        first = bounds[code]
        count, place, before, one_before = 0, 0, 0, 0  # lengths of the two runs before
        number, shift = 0, 0
        for index in range(starts[code], starts[code + 1]):
            digit = int(text[index]) - 48
            if digit < 0 or digit > 63 or shift > 30:  # seven digits hold more than any image has pixels
                count, shift = 0, 1
                break
            number |= (digit & 31) << shift
            shift += 5
            if digit & 32:
                continue
            if digit & 16:
                number -= 1 << shift
            run = number + one_before if count > 2 else number
            if run < 0:
                count, shift = 0, 1
                break
            one_before, before = before, run
            place += run
            places[first + count] = place
            count += 1
            number, shift = 0, 0
        bounds[code + 1] = first + (count if shift == 0 else 0)


def run_ends(codes: Sequence[bytes]) -> tuple[Int64[np.ndarray, "_"], Int64[np.ndarray, "_"]]:
    """Decode many codes at once; returns ``places`` and ``bounds`` of ``read_codes``."""
    text = np.frombuffer(b"".join(codes), dtype=np.uint8)
    starts = np.concatenate([[0], np.cumsum([len(code) for code in codes])]).astype(np.int64)
    places, bounds = np.empty(len(text), dtype=np.int64), np.empty(len(starts), dtype=np.int64)
    read_codes(text, starts, places, bounds)
    return places[: bounds[-1]], bounds


def damaged(rles: Sequence[Rle]) -> Bool[np.ndarray, "n"]:
    """Whether each code is damaged, or does not fill its size.

    Check codes from elsewhere first: pycocotools never returns from the IoU of a mask whose runs are too short, and
    reads beyond its memory on others.
    """
    places, bounds = run_ends([rle["counts"] for rle in rles])
    filled = np.where(np.diff(bounds) > 0, np.append(places, 0)[bounds[1:] - 1], -1)
    return filled != np.array([rle["size"][0] * rle["size"][1] for rle in rles], dtype=np.int64)


def tight_boxes(rles: Sequence[Rle]) -> Float[np.ndarray, "n 4"]:
    """Smallest box around each mask, xyxy, half-open; 0 0 0 0 for an empty mask."""
    boxes = coco_mask.toBbox(list(rles)).reshape(-1, 4)  # pyright: ignore[reportArgumentType]
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def area(rle: Rle) -> float:
    """Number of foreground pixels."""
    return float(coco_mask.area(rle))  # pyright: ignore[reportArgumentType]


def areas(rles: Sequence[Rle]) -> Float[np.ndarray, "n"]:
    """Number of foreground pixels of each mask."""
    # One at a time: given a list of more than 255, pycocotools 2.0.11 overflows under numpy 2.
    return np.array([area(rle) for rle in rles], dtype=float)


def ious(
    first: Sequence[Rle] | Float[np.ndarray, "n 4"],
    second: Sequence[Rle] | Float[np.ndarray, "m 4"],
    *,
    crowd: bool = False,
) -> Float[np.ndarray, "n m"]:
    """Pairwise IoU of masks of one image, or of boxes, xywh.

    Args:
        crowd: ``second`` are crowd regions: divide by the area of the first region alone, as COCO does.
    """
    if len(first) == 0 or len(second) == 0:
        return np.zeros((len(first), len(second)))
    of_first, of_second = (regions if isinstance(regions, np.ndarray) else list(regions) for regions in (first, second))
    is_crowd = np.full(len(second), crowd, dtype=np.uint8)
    return np.asarray(coco_mask.iou(of_first, of_second, is_crowd))  # pyright: ignore[reportArgumentType]


def union(rles: Sequence[Rle]) -> Rle:
    """RLE of the pixels that any of the masks covers."""
    return coco_mask.merge(list(rles))  # pyright: ignore[reportReturnType, reportArgumentType]


def difference(rle: Rle, others: Sequence[Rle]) -> Rle:
    """RLE of the pixels of a mask that none of the others covers; all are whole codes of one size."""
    if not others:
        return rle
    height, width = rle["size"]
    places, _ = run_ends([union(others)["counts"]])
    # A change at the start, and none at the end, turns foreground into background.
    outside = encode_edges(np.concatenate([[0], places[:-1]]), height, width)
    return coco_mask.merge([rle, outside], intersect=True)  # pyright: ignore[reportReturnType, reportArgumentType]


def from_polygons(polygons: Sequence[Sequence[int | float]], height: int, width: int) -> Rle:
    """RLE of the union of polygons, each ``[x, y, x, y, ...]`` in pixels; takes about 100 bytes a pixel of outline."""
    return union(coco_mask.frPyObjects(list(polygons), height, width))  # pyright: ignore


def from_counts(counts: Sequence[int] | np.ndarray, height: int, width: int) -> Rle:
    """RLE of uncompressed run lengths (``{"counts": [0, 3, ...]}`` of a COCO file), which fill the size."""
    return encode_edges(np.cumsum(counts)[:-1].astype(np.int64), height, width)


def to_json(rle: Rle) -> dict[str, Any]:
    """The RLE with ``counts`` as text, as COCO results have it."""
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def from_json(segmentation: dict[str, Any]) -> Rle:
    """The RLE that ``to_json`` wrote."""
    return {"size": segmentation["size"], "counts": segmentation["counts"].encode("ascii")}

"""COCO run-length codes: column-major runs that start with background, compressed to bytes (pycocotools' format)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, Shaped, UInt8
from pycocotools import mask as coco_mask

from instancefcn.compiled import compiled
from instancefcn.geometry.boxes import xywh_to_xyxy


class Rle(TypedDict):
    """COCO run-length code of one mask; ``counts`` is bytes in memory and text in JSON."""

    size: list[int]
    counts: bytes


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
    column, row = np.nonzero(np.diff(columns, axis=1))  # a run's start, then its end, column by column
    return encode_edges((left + column) * height + top + row, height, width)


def encode_edges(places: Int[np.ndarray, "e"], height: int, width: int) -> Rle:
    """RLE of a mask from where it changes.

    Args:
        places: column-major index of the first pixel of a run, foreground and background in turn, in order; two that
            are equal enclose nothing.
    """
    text = np.empty(code_bound(len(places)), dtype=np.uint8)
    end = write_code(places.astype(np.int64), len(places), height * width, text, 0)  # of a copy
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
    for index in range(count):  # what encloses nothing is no run
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
    """Bytes that the code of a mask with so many changes has at most: 13 digits a run of 64 bits."""
    return 13 * (count + 1)


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

"""COCO run-length codes: column-major runs that start with background, compressed to bytes (pycocotools' format)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from pycocotools import mask as coco_mask

from instancefcn.geometry.boxes import xywh_to_xyxy
from instancefcn.structures import Rle

_DIGITS = 7  # of 5 bits: what a run of an image of 2^32 pixels, or a difference of two, may need


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
    return encode_edges((left + column) * height + top + row, np.zeros_like(row), 1, height, width)[0]


def encode_edges(
    places: Int[np.ndarray, "e"], owner: Int[np.ndarray, "e"], masks: int, height: int, width: int
) -> list[Rle]:
    """RLEs of many masks of one image, from where each of them changes.

    Args:
        places: column-major index of the first pixel of a run, foreground and background in turn, in order, mask
            after mask; two that are equal enclose nothing and are dropped.
        owner: the mask of each place, 0 to ``masks`` - 1; one without places is empty.
    """
    starts = np.flatnonzero((np.diff(places, prepend=-1) != 0) | (np.diff(owner, prepend=-1) != 0))
    odd = starts[np.diff(starts, append=len(places)) % 2 == 1]
    places, owner = places[odd], owner[odd]
    ends = np.cumsum(np.bincount(owner, minlength=masks))
    places, owner = np.insert(places, ends, height * width), np.insert(owner, ends, np.arange(masks))
    first = np.diff(owner, prepend=-1) != 0
    runs = places - np.where(first, 0, np.roll(places, 1))
    kept = ~((runs == 0) & np.append(first[1:], True))  # no empty run at the end
    return _compress(runs[kept], owner[kept], masks, height, width)


def _compress(
    runs: Int[np.ndarray, "r"], owner: Int[np.ndarray, "r"], masks: int, height: int, width: int
) -> list[Rle]:
    """Runs as text: from the fourth on their difference to the last but one, in signed 5-bit digits (maskApi.c)."""
    of_mask = np.bincount(owner, minlength=masks)
    index = np.arange(len(runs)) - np.repeat(np.cumsum(of_mask) - of_mask, of_mask)
    # Short numbers are shifted and compared in half the time.
    runs = runs.astype(np.int32 if height * width < 2**30 else np.int64, copy=False)
    numbers = runs - np.where(index > 2, np.roll(runs, 2), 0)
    magnitude = np.where(numbers < 0, ~numbers, numbers)
    digits = np.ones(len(runs), dtype=np.int64)
    for longer in range(1, _DIGITS):
        digits += magnitude >> (5 * longer - 1) > 0
    ends = np.cumsum(digits)
    text = np.empty(ends[-1] if len(ends) else 0, dtype=np.uint8)
    for place in range(_DIGITS):  # few runs are long
        has = np.flatnonzero(digits > place)
        more = digits[has] > place + 1
        text[ends[has] - digits[has] + place] = ((numbers[has] >> (5 * place)) & 31) + 48 + 32 * more
    code = text.tobytes()
    stops = np.cumsum(np.bincount(owner, weights=digits, minlength=masks)).astype(int).tolist()
    return [{"size": [height, width], "counts": code[start:stop]} for start, stop in pairwise([0, *stops])]


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

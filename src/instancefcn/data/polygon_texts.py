"""Masks of very many polygons, from the JSON they are written in, on all cores.

What is as it should be becomes a mask here; all else is left to ``segmentations``, which says what is wrong with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Int64

from instancefcn.data.polygons import MAX_PERIMETER, OUTSIDE_TOLERANCE
from instancefcn.geometry.polygon_codes import polygon_codes

AT_ONCE = 2048  # masks
_POLYGONS = msgspec.json.Decoder(list[list[float]])


def masks_of_texts(texts: Sequence[Any], sizes: Int64[np.ndarray, "n 2"]) -> Iterator[bytes]:
    """The code of each mask, in order; none (no bytes) of one that is not plainly sound.

    The work starts at once, on threads that leave Python to others while they make codes.

    Args:
        texts: bytes-like: COCO's ``segmentation`` as JSON.
        sizes: height and width of its image.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    slices = [slice(start, start + AT_ONCE) for start in range(0, len(texts), AT_ONCE)]
    found = [pool.submit(_codes, texts[part], sizes[part]) for part in slices]
    pool.shutdown(wait=False)  # when all is done
    return chain.from_iterable(future.result() for future in found)


def _codes(texts: Sequence[Any], sizes: Int64[np.ndarray, "n 2"]) -> list[bytes]:
    every = [_read_polygons(text) for text in texts]
    polygons = list(chain.from_iterable(every))
    parts, ends = (np.cumsum([0, *map(len, lists)], dtype=np.int64) for lists in (every, polygons))
    numbers = np.fromiter(chain.from_iterable(polygons), dtype=np.float64, count=ends[-1])
    codes = np.empty(4 * len(numbers) + 1024, dtype=np.uint8)
    found: list[bytes] = []
    while len(found) < len(texts):
        first = len(found)
        bounds = np.zeros(len(texts) - first + 1, dtype=np.int64)
        some = (ends, parts[first:], sizes[first:])
        count = polygon_codes(numbers, *some, OUTSIDE_TOLERANCE, float(MAX_PERIMETER), codes, bounds)
        stops = bounds[: count + 1].tolist()
        written = codes[: stops[-1]].tobytes()
        found += [written[start:stop] for start, stop in pairwise(stops)]
        if not count:
            codes = np.empty(2 * len(codes), dtype=np.uint8)
    return found


def _read_polygons(text: Any) -> list[list[float]]:
    """The polygons of a segmentation, ``[[x, y, ...], ...]``; none of one of another form."""
    try:
        return _POLYGONS.decode(text)
    except msgspec.DecodeError:
        return []

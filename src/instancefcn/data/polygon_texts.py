"""Masks of very many polygons, from the JSON they are written in, on all cores.

What is as it should be becomes a mask here; all else is left to ``segmentations``, which says what is wrong with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from instancefcn.compiled import compiled
from instancefcn.data.polygons import MAX_PERIMETER, OUTSIDE_TOLERANCE
from instancefcn.geometry.polygon_codes import polygon_codes

AT_ONCE = 2048  # masks
EXACT_DIGITS = 15  # of a number: as many are exact in a double, and so is its quotient by a power of ten

_SPACE, _OPEN, _CLOSE, _COMMA, _MINUS, _POINT, _ZERO = (ord(sign) for sign in " [],-.0")


def masks_of_texts(texts: Sequence[Any], sizes: Int64[np.ndarray, "n 2"]) -> Iterator[bytes]:
    """The code of each mask, in order; none (no bytes) of one that is not plainly sound.

    The work starts at once, on threads that leave Python to others.

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
    content = b"".join(texts)
    text = np.frombuffer(content, dtype=np.uint8)
    starts = np.concatenate([[0], np.cumsum([memoryview(one).nbytes for one in texts])]).astype(np.int64)
    numbers = np.empty(len(text) // 2 + 1, dtype=np.float64)
    ends, parts = np.empty(len(text) // 2 + 2, dtype=np.int64), np.empty(len(starts), dtype=np.int64)
    long = np.empty((len(text) // EXACT_DIGITS + 1, 3), dtype=np.int64)
    polygons, long_count = read_polygons(text, starts, numbers, ends, parts, long)
    for index, start, end in long[:long_count].tolist():
        numbers[index] = float(content[start:end])
    codes = np.empty(len(text) + 1024, dtype=np.uint8)
    found: list[bytes] = []
    while len(found) < len(texts):
        first = len(found)
        bounds = np.zeros(len(texts) - first + 1, dtype=np.int64)
        some = (ends[: polygons + 1], parts[first:], sizes[first:])
        count = polygon_codes(numbers, *some, OUTSIDE_TOLERANCE, float(MAX_PERIMETER), codes, bounds)
        stops = bounds[: count + 1].tolist()
        written = codes[: stops[-1]].tobytes()
        found += [written[start:stop] for start, stop in pairwise(stops)]
        if not count:
            codes = np.empty(2 * len(codes), dtype=np.uint8)
    return found


@compiled
def read_polygons(
    text: UInt8[np.ndarray, "c"],
    starts: Int64[np.ndarray, "_"],
    numbers: Float64[np.ndarray, "_"],
    ends: Int64[np.ndarray, "_"],
    parts: Int64[np.ndarray, "_"],
    long: Int64[np.ndarray, "l 3"],
) -> tuple[int, int]:
    """Read lists of polygons, ``[[x, y, ...], ...]``; one of another form gets no polygon.

    Args:
        starts: list j is ``text[starts[j] : starts[j + 1]]``.
        numbers, ends, parts: written, as ``polygon_codes`` takes them.
        long: written; index of a number that is not read, since it has more than EXACT_DIGITS, and where it stands.

    Returns:
        How many polygons, and how many long numbers.
    """
    ends[0], parts[0] = 0, 0
    polygons, count, longs = 0, 0, 0
    for one in range(len(starts) - 1):
        place, stop = starts[one], starts[one + 1]
        first_polygon, first_count, first_long = polygons, count, longs
        depth, sound, wanted = 0, True, True  # wanted: a value may come, not a comma
        while place < stop:
            sign = text[place]
            if sign in (_SPACE, 9, 10, 13):
                place += 1
            elif sign == _OPEN and wanted and depth < 2:
                depth += 1
                place += 1
            elif sign == _CLOSE and not wanted and depth == 2:
                polygons += 1
                ends[polygons] = count
                depth = 1
                place += 1
            elif sign == _CLOSE and not wanted and depth == 1:
                depth = 0
                place += 1
                break
            elif sign == _COMMA and not wanted:
                wanted = True
                place += 1
            elif depth == 2 and wanted:
                start = place
                negative = sign == _MINUS
                if negative:
                    place += 1
                digits_from = place
                mantissa, digits, behind = 0, 0, 0
                point = False
                while place < stop:
                    sign = text[place]
                    if sign >= _ZERO and sign <= _ZERO + 9:
                        digits += 1
                        if digits <= EXACT_DIGITS:
                            mantissa = 10 * mantissa + int(sign) - _ZERO
                            behind += point
                    elif sign == _POINT and not point and place > digits_from:
                        point = True
                    else:
                        break
                    place += 1
                if digits == 0 or text[place - 1] == _POINT:
                    sound = False
                    break
                if text[digits_from] == _ZERO and place - digits_from > 1 and text[digits_from + 1] != _POINT:
                    sound = False
                    break
                if place < stop and text[place] != _COMMA and text[place] != _CLOSE and text[place] > _SPACE:
                    sound = False  # an exponent, or no number
                    break
                if digits > EXACT_DIGITS:
                    long[longs, 0], long[longs, 1], long[longs, 2] = count, start, place
                    longs += 1
                numbers[count] = (-mantissa if negative else mantissa) / 10.0**behind
                count += 1
                wanted = False
            else:
                sound = False
                break
        while sound and place < stop:
            sound = text[place] in (_SPACE, 9, 10, 13)
            place += 1
        if not sound or depth:
            polygons, count, longs = first_polygon, first_count, first_long
        parts[one + 1] = polygons
    return polygons, longs

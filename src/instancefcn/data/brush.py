"""Label Studio's run-length code of brush masks, decoded.

It is thi.ng's "rle-pack" of RGBA pixels, row by row: a stream of bits with the count of values (32 bits), the bits of a
value less 1 (5), the bits of four lengths less 1 (4 each), then runs. A run is a bit that says whether it repeats one
value, which of the four lengths it has (2 bits), its length less 1, and the value, or a value for each of its places.
https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt8

from instancefcn.compiled import compiled
from instancefcn.data.polygons import as_numbers
from instancefcn.geometry.rle import Rle, encode

CHANNELS, ALPHA = 4, 3


def brush_to_rle(code: Any, height: int, width: int) -> Rle:
    """RLE of a brush mask, given as a list of bytes; it may be empty. Pixels that are not transparent are foreground.

    Raises:
        ValueError: the code is damaged, or of an image of another size.
    """
    numbers = as_numbers(code, "brush rle")
    if ((numbers < 0) | (numbers > 255) | (numbers % 1 != 0)).any():
        raise ValueError("brush rle must be bytes, whole numbers from 0 to 255")
    data = numbers.astype(np.uint8)
    count = int.from_bytes(data[:4].tobytes())
    if len(data) > 4 and count != height * width * CHANNELS:
        raise ValueError(f"brush rle has {count} values, not the {height} x {width} x {CHANNELS} of its image")
    alpha = np.zeros(height * width, dtype=np.uint8)
    if not read_alpha(data, alpha):
        raise ValueError("brush rle is damaged: it ends too early, or a run leads beyond the image")
    return encode(alpha.reshape(height, width))


@compiled
def read_alpha(code: UInt8[np.ndarray, "_"], alpha: UInt8[np.ndarray, "_"]) -> bool:
    """Write 1 where a pixel's last channel is not 0, and say whether the code is sound. ``alpha`` is 0 before."""
    end, values = 8 * len(code), CHANNELS * len(alpha)
    place = 32 + 5 + 4 * 4
    if end < place:
        return False
    value_bits = read_bits(code, 32, 5) + 1
    index = 0
    while index < values:
        if place + 3 > end:
            return False
        repeated = read_bits(code, place, 1)
        length_bits = read_bits(code, 37 + 4 * read_bits(code, place + 1, 2), 4) + 1
        place += 3
        if place + length_bits > end:
            return False
        length = read_bits(code, place, length_bits) + 1
        place += length_bits
        if index + length > values or place + value_bits * (1 if repeated else length) > end:
            return False
        first = index + (ALPHA - index) % CHANNELS  # alpha of the first pixel
        for channel in range(first, index + length, CHANNELS):
            start = place if repeated else place + (channel - index) * value_bits
            alpha[channel // CHANNELS] = read_bits(code, start, value_bits) != 0
        place += value_bits * (1 if repeated else length)
        index += length
    return True


@compiled
def read_bits(code: UInt8[np.ndarray, "_"], place: int, count: int) -> int:
    """The number of some bits, the highest first."""
    number = 0
    for bit in range(place, place + count):
        number = number << 1 | (code[bit >> 3] >> (7 - (bit & 7))) & 1
    return number

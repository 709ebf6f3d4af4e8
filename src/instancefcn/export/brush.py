"""Label Studio's run-length code of brush masks.

It is thi.ng's "rle-pack" of the mask as RGBA pixels, row by row: a stream of bits with the count of values (32 bits),
the bits of a value less 1 (5), the bits of four lengths of run less 1 (4 each), then the runs. A run is 1, which of the
four lengths (2 bits), its length less 1, and the value (8 bits). A mask has the same value, 0 or 255, in all channels.
https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

CHANNELS, FULL = 4, 255
LENGTH_BITS = np.array([3, 4, 8, 16])  # as Label Studio writes them
VALUE_BITS = 8
LONGEST = 1 << 16  # values in one run


def to_brush_code(crop: Bool[np.ndarray, "ch cw"], top: int, left: int, height: int, width: int) -> list[int]:
    """Bytes of the code of a mask that is given as a crop: everything outside the crop is background.

    Args:
        top, left: corner of the crop in the image, in pixels.
        height, width: of the image.

    Example:
        >>> to_brush_code(np.ones((1, 1), dtype=bool), 0, 0, 1, 2)
        [0, 0, 0, 8, 57, 27, 252, 127, 241, 128, 0]
    """
    padded = np.pad(crop, ((0, 0), (1, 1))).astype(np.int8)
    row, column = np.nonzero(np.diff(padded, axis=1))  # a run's start, then its end, row by row
    places = np.concatenate([[0], (top + row) * width + left + column, [height * width]])
    lengths = np.diff(places) * CHANNELS
    values = np.arange(len(lengths)) % 2 * FULL
    pieces = -(-lengths // LONGEST)  # 0 of a run of no length
    last = np.cumsum(pieces) - 1
    split = np.full(pieces.sum(), LONGEST)
    split[last[pieces > 0]] = (lengths - (pieces - 1) * LONGEST)[pieces > 0]
    head = [(height * width * CHANNELS, 32), (VALUE_BITS - 1, 5), *((bits - 1, 4) for bits in LENGTH_BITS.tolist())]
    kind = np.searchsorted(1 << LENGTH_BITS, split)
    bits = LENGTH_BITS[kind]
    runs = ((4 | kind) << bits | (split - 1)) << VALUE_BITS | np.repeat(values, pieces)
    codes = np.concatenate([[number for number, _ in head], runs])
    return _pack(codes, np.concatenate([[count for _, count in head], 3 + bits + VALUE_BITS]))


def _pack(codes: Int[np.ndarray, "n"], widths: Int[np.ndarray, "n"]) -> list[int]:
    """Bytes of numbers written one after the other, each with its own number of bits, the highest first."""
    shifts = widths[:, None] - 1 - np.arange(widths.max())
    stream = (codes[:, None] >> np.maximum(shifts, 0) & 1)[shifts >= 0]
    return np.packbits(stream.astype(bool)).tolist()

"""Label Studio's brush masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from instancefcn.data.brush import brush_to_rle
from instancefcn.geometry.rle import decode

# Two rows of two pixels, worked out by hand: 16 values, of 8 bits; lengths of 3, 4, 8 and 16 bits. A run of 8 zeros; a
# run of 4 values that differ (9, 8, 7, 0: transparent, so background); a run of four 255s.
BITS = "".join(
    [
        f"{16:032b}" + "00111" + "0010001101111111",
        "10011100000000",
        "000011" + "".join(f"{value:08b}" for value in (9, 8, 7, 0)),
        "101001111111111",
    ]
)
# One pixel, a run of four values of its own, without the byte that its last value ends in
CUT = f"{4:032b}" + "00111" + "0010001101111111" + "000011" + "00000001" * 3 + "1" * 3
CODE = [int(BITS[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(BITS), 8)]


def test_literal() -> None:
    assert decode(brush_to_rle(CODE, 2, 2)).tolist() == [[False, False], [False, True]]


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """A sound code of runs of any kind, and the size of its image."""
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    value_bits = draw(st.integers(1, 12))
    length_bits = draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    left = height * width * 4
    bits = f"{left:032b}{value_bits - 1:05b}" + "".join(f"{count - 1:04b}" for count in length_bits)
    while left:
        kind, repeated = draw(st.integers(0, 3)), draw(st.booleans())
        length = draw(st.integers(1, min(left, 1 << length_bits[kind])))
        bits += f"{repeated:b}{kind:02b}" + f"{length - 1:0{length_bits[kind]}b}"
        values = draw(st.lists(st.integers(0, (1 << value_bits) - 1), min_size=1, max_size=1 if repeated else length))
        bits += "".join(f"{value:0{value_bits}b}" for value in ([0] * length + values)[-(1 if repeated else length) :])
        left -= length
    return [int(bits[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(bits), 8)], height, width


@settings(deadline=None)  # the first one may be compiled
@given(streams())
def test_decoding_equals_the_loop(stream: tuple[list[int], int, int]) -> None:
    code, height, width = stream
    expected = oracles.decode_brush(code, height, width)[:, :, 3] != 0
    np.testing.assert_array_equal(decode(brush_to_rle(code, height, width)), expected)


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), max_size=30))
def test_any_bytes_are_refused_or_fill_the_image(code: list[int]) -> None:
    for start in ([], CODE[:4], CODE[:8]):
        try:
            rle = brush_to_rle(start + code, 2, 2)
        except ValueError:
            continue
        assert decode(rle).shape == (2, 2)


@pytest.mark.parametrize(
    ("code", "size", "reason"),
    [
        (CODE[:-2], (2, 2), "ends too early"),
        (CODE[:7], (2, 2), "ends too early"),
        ([], (2, 2), "ends too early"),
        ([int(CUT[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(CUT), 8)], (1, 1), "ends too early"),
        (CODE, (2, 3), r"16 values, not the 2 x 3 x 4 of its image"),
        ([256], (2, 2), "bytes, whole numbers"),
        ([-1], (2, 2), "bytes, whole numbers"),
        ([0.5], (2, 2), "bytes, whole numbers"),
        ("AAAA", (2, 2), "must be a flat list of numbers"),
        (None, (2, 2), "must be a flat list of numbers"),
    ],
)
def test_refused(code: Any, size: tuple[int, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        brush_to_rle(code, *size)

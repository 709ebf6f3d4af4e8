"""Label Studio's run-length code, against a decoder written from its description."""

from __future__ import annotations

import numpy as np
import pytest

from instancefcn.export.brush import to_brush_code
from oracles import decode_brush


@pytest.mark.parametrize("share", [0.0, 0.003, 0.5, 1.0])
def test_decodes_to_the_mask_in_all_channels(share: float) -> None:
    generator = np.random.default_rng(4)
    for height, width in ((1, 1), (5, 9), (170, 210)):  # the last has runs of more than 65,536 values
        mask = generator.random((height, width)) < share
        pixels = decode_brush(to_brush_code(mask, 0, 0, height, width), height, width)
        np.testing.assert_array_equal(pixels, np.repeat(mask[..., None] * 255, 4, axis=2))


def test_a_crop_lies_at_its_corner() -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[2:5, 3:7] = True
    assert to_brush_code(mask[2:5, 3:7], 2, 3, 6, 8) == to_brush_code(mask, 0, 0, 6, 8)


def test_code_worked_out_by_hand() -> None:
    # 8 values; 8 - 1; 3 - 1, 4 - 1, 8 - 1, 16 - 1; a run of 4 times 255 and one of 4 times 0, both by 3 bits of length.
    bits = (
        f"{8:032b}" + "00111" + "0010001101111111" + "1" + "00" + "011" + "11111111" + "1" + "00" + "011" + "00000000"
    )
    expected = [int(bits.ljust(88, "0")[start : start + 8], 2) for start in range(0, 88, 8)]
    assert to_brush_code(np.ones((1, 1), dtype=bool), 0, 0, 1, 2) == expected

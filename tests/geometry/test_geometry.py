from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from instancefcn.geometry import rle
from instancefcn.geometry.windows import window_boxes, window_centers


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_encode_in_box_equals_encoding_the_full_mask(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    ch, cw = data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    density = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    crop = np.random.default_rng(data.draw(st.integers(0, 999))).random((ch, cw)) < density
    full = np.zeros((height, width), dtype=bool)
    full[top : top + ch, left : left + cw] = crop
    assert rle.encode_in_box(crop, top, left, height, width) == rle.encode(full)


def test_rle_literal_and_json() -> None:
    mask = np.array([[0, 1], [0, 1], [0, 0]], dtype=bool)
    code = rle.from_counts([3, 2, 1], 3, 2)
    assert (rle.decode(code) == mask).all()
    assert rle.from_json(rle.to_json(code)) == code


def test_iou_of_masks_is_that_of_their_pixels() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.random((5, 9, 7)) < 0.4, generator.random((3, 9, 7)) < 0.6
    codes = [rle.encode(mask) for mask in a], [rle.encode(mask) for mask in b]
    shared = np.array([[(p & q).sum() for q in b] for p in a])
    joined = np.array([[(p | q).sum() for q in b] for p in a])
    np.testing.assert_allclose(rle.ious(*codes), shared / joined, atol=1e-12)
    np.testing.assert_allclose(rle.ious(*codes, crowd=True), shared / a.sum((1, 2))[:, None], atol=1e-12)


def test_iou_of_boxes() -> None:
    found = rle.ious(np.array([[0, 0, 2, 2], [1, 0, 2, 2.0]]), np.array([[0, 0, 2, 2.0]]))
    np.testing.assert_allclose(found, [[1], [2 / 6]])


@pytest.mark.parametrize(("n", "g"), [(0, 2), (2, 0), (0, 0)])
def test_iou_of_nothing(n: int, g: int) -> None:
    assert rle.ious(np.ones((n, 4)), np.ones((g, 4))).shape == (n, g)
    code = rle.encode(np.ones((2, 2)))
    assert rle.ious([code] * n, [code] * g).shape == (n, g)


def test_areas_of_more_masks_than_a_byte_counts() -> None:
    masks = np.random.default_rng(3).random((300, 8, 9)) < 0.5
    assert rle.areas([rle.encode(mask) for mask in masks]).tolist() == masks.sum((1, 2)).tolist()


def test_union_of_masks() -> None:
    a, b = (np.random.default_rng(seed).random((6, 7)) < 0.3 for seed in (4, 5))
    assert rle.union([rle.encode(a), rle.encode(b)]) == rle.encode(a | b)


@settings(deadline=None)  # the first one may be compiled
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6), st.integers(0, 3))
def test_difference_of_masks(seed: int, height: int, width: int, others: int) -> None:
    first, *rest = np.random.default_rng(seed).random((1 + others, height, width)) < 0.5
    expected = first & ~np.any([np.zeros_like(first), *rest], axis=0)
    found = rle.difference(rle.encode(first), [rle.encode(mask) for mask in rest])
    np.testing.assert_array_equal(rle.decode(found), expected)
    assert rle.tight_boxes([found]).tolist() == rle.tight_boxes([rle.encode(expected)]).tolist()


def test_tight_boxes_of_rles() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:3, 2:6] = True
    assert rle.tight_boxes([rle.encode(mask)]).tolist() == [[2, 1, 6, 3]]
    assert rle.tight_boxes([]).shape == (0, 4)


def reference(counts: list[int], height: int, width: int) -> Any:
    """pycocotools' code of run lengths."""
    uncompressed: Any = {"size": [height, width], "counts": counts}
    return coco_mask.frPyObjects(uncompressed, height, width)


def test_a_code_of_runs_of_half_a_gigapixel() -> None:
    side = 2**15  # 2^30 pixels
    places = np.array([5, 2**29, side * side - 3, side * side])
    counts = [5, 2**29 - 5, side * side - 3 - 2**29, 3]
    assert rle.encode_edges(places, side, side) == rle.from_counts(counts, side, side) == reference(counts, side, side)
    assert rle.run_ends([reference(counts, side, side)["counts"]])[0].tolist() == places.tolist()


def test_places_that_enclose_nothing_are_no_runs() -> None:
    places = np.array([2, 4, 4, 6, 7, 7, 12, 12])  # 2 to 6 in two pieces, and nothing twice, the second at the end
    assert rle.encode_edges(places, 3, 4) == reference([2, 4, 6], 3, 4)
    assert rle.from_counts([2, 2, 0, 2, 1, 0, 5, 0], 3, 4) == reference([2, 4, 6], 3, 4)
    assert places.tolist() == [2, 4, 4, 6, 7, 7, 12, 12]
    assert rle.encode_edges(places[:0], 3, 4) == reference([12], 3, 4)


def test_window_boxes_literal() -> None:
    positions = torch.tensor([[0, 0], [10, 4]])
    assert window_boxes(positions, stride=8, m=5).tolist() == [[-16, -16, 24, 24], [16, 64, 56, 104]]


@pytest.mark.parametrize("m", [4, 5])
def test_window_centers_are_those_of_the_boxes(m: int) -> None:
    center_y, center_x = window_centers(3, 4, stride=8, m=m)
    for y in range(3):
        for x in range(4):
            box = window_boxes(torch.tensor([[y, x]]), 8, m)[0]
            assert ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) == (center_x[x], center_y[y])

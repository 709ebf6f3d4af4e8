"""Masks cut to their boxes say the same as masks at the image's size."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from instancefcn.geometry.cropped_masks import CroppedMasks


def random_masks(seed: int, count: int, height: int, width: int) -> np.ndarray:
    """None of them empty."""
    masks = (np.random.default_rng(seed).random((count, height, width)) < 0.2).astype(np.uint8)
    masks[:, 0, 0] |= ~masks.any((1, 2))
    return masks


sizes = {
    "seed": st.integers(0, 2**31),
    "count": st.integers(0, 5),
    "height": st.integers(1, 9),
    "width": st.integers(1, 9),
}


@settings(max_examples=50, deadline=None)
@given(**sizes)
def test_every_way_agrees_with_whole_masks(seed: int, count: int, height: int, width: int) -> None:
    whole = random_masks(seed, count, height, width)
    masks = CroppedMasks.of(whole)
    np.testing.assert_array_equal(masks.whole(), whole)
    assert masks.boxes_xyxy.tolist() == [oracles.tight_box(mask) for mask in torch.from_numpy(whole)]
    assert masks.areas().tolist() == [sum(sum(row) for row in mask) for mask in whole.tolist()]
    np.testing.assert_array_equal(masks.union(), whole.any(0))
    np.testing.assert_array_equal(masks.joined(masks[:1]).whole(), np.concatenate([whole, whole[:1]]))
    chosen = np.arange(count)[::-2]
    np.testing.assert_array_equal(masks[chosen].whole(), whole[chosen])
    for turned, expected in (
        (masks.flipped(), whole[:, :, ::-1]),
        *((masks.turned(turns), np.rot90(whole, turns, (1, 2))) for turns in range(5)),
    ):
        np.testing.assert_array_equal(turned.whole(), expected)
        assert turned.boxes_xyxy.tolist() == [oracles.tight_box(mask) for mask in torch.from_numpy(expected.copy())]


@settings(max_examples=50, deadline=None)
@given(**sizes)
def test_what_others_cover_is_gone(seed: int, count: int, height: int, width: int) -> None:
    whole = random_masks(seed, count, height, width)
    covered = np.random.default_rng(seed + 1).random((height, width)) < 0.7
    expected = whole * ~covered
    left, kept = CroppedMasks.of(whole).without(covered)
    assert kept.tolist() == np.flatnonzero(expected.any((1, 2))).tolist()
    np.testing.assert_array_equal(left.whole(), expected[kept])
    assert left.boxes_xyxy.tolist() == [oracles.tight_box(mask) for mask in torch.from_numpy(expected[kept])]


def test_empty_masks_are_left_out() -> None:
    masks = CroppedMasks.of(np.array([[[0, 0]], [[0, 1]]], dtype=np.uint8))
    assert masks.whole().tolist() == [[[0, 1]]]

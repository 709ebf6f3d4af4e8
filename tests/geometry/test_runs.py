from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from instancefcn.geometry.rle import encode
from instancefcn.geometry.runs import Edges


def random_masks(seed: int, n: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    masks = rng.random((n, height, width)) < rng.choice([0.02, 0.5, 0.98], (n, 1, 1))
    masks[0] = True
    masks[1] = False
    masks[2, :, 3:] = np.arange(height)[:, None] < height // 2  # long equal runs: differences of zero
    return masks


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(7, 5), (40, 33), (300, 200)]))
def test_every_pixel_is_where_the_mask_has_it(seed: int, size: tuple[int, int]) -> None:
    masks = random_masks(seed, 6, *size)
    edges = Edges.of([encode(mask) for mask in masks], *size)
    everywhere = np.tile(np.arange(size[0] * size[1]), (6, 1))
    np.testing.assert_array_equal(edges.contain(everywhere), masks.transpose(0, 2, 1).reshape(6, -1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_the_weighted_sum_is_that_of_decoded_masks(seed: int) -> None:
    masks = random_masks(seed, 6, 20, 30)
    masks[:, :, :4] = masks[:, :, 25:] = False
    edges = Edges.of([encode(mask) for mask in masks], 20, 30)
    chosen, weights = np.array([4, 0, 2, 1]), np.random.default_rng(seed).random(4)
    expected = np.einsum("v,vhw->hw", weights, masks[chosen].astype(float))[:, 4:25]
    np.testing.assert_allclose(edges.weighted_sum(chosen, weights, 4, 25), expected, atol=1e-9)


def test_literal() -> None:
    mask = np.array([[0, 1], [1, 1]])
    edges = Edges.of([encode(mask), encode(mask * 0)], 2, 2)
    assert edges.places.tolist() == [1, 4]  # down the first column, then the second
    assert edges.bounds.tolist() == [0, 2, 2]


def test_no_masks() -> None:
    edges = Edges.of([], 4, 5)
    assert edges.contain(np.zeros((0, 3), dtype=int)).shape == (0, 3)

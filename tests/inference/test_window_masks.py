from __future__ import annotations

import numpy as np
import pytest
import torch

import oracles
from instancefcn.inference.window_masks import WindowMasks, add_resampled

HEIGHT, WIDTH = 17, 21


def resampled(values: np.ndarray, window: list[float], grid: tuple[float, float, float, float], shape: tuple[int, int]):
    sums = np.zeros(shape, dtype=np.float32)
    add_resampled(values.astype(np.float32), np.array(window), *grid, np.float32(1), HEIGHT, WIDTH, sums)
    return sums


@pytest.mark.parametrize("seed", range(20))
def test_resampling_equals_the_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, rows, columns = 7, 9, 11
    values = rng.normal(size=(m, m))
    cell, corner = rng.uniform(0.5, 3.5, 2), rng.uniform(-12, 18, 2)  # many hang over the borders
    window = [*corner, *(corner + m * cell)]
    (x, y), (step_x, step_y) = rng.uniform(-15, 20, 2), rng.uniform(0.3, 4, 2)
    expected = [
        [
            oracles.value_at(
                torch.from_numpy(values), window, x + (j + 0.5) * step_x, y + (i + 0.5) * step_y, (WIDTH, HEIGHT)
            )
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    np.testing.assert_allclose(resampled(values, window, (x, y, step_x, step_y), (rows, columns)), expected, atol=1e-5)


@pytest.mark.parametrize("stretch", [1.0005, 1.00005])
def test_a_grid_that_drifts_away_is_interpolated(stretch: float) -> None:
    """Its first cells are those of the window, its last ones are not: copied, they would be off by the drift."""
    values, window, step = np.random.default_rng(0).normal(size=(7, 7)), [2.0, 3.0, 16.0, 17.0], 2 * stretch
    found = resampled(values, window, (2.0, 3.0, step, step), (7, 7))
    for i, j in ((0, 0), (2, 6), (6, 3), (6, 6)):
        x, y = 2 + (j + 0.5) * step, 3 + (i + 0.5) * step
        expected = oracles.value_at(torch.from_numpy(values), window, x, y, (WIDTH, HEIGHT))
        assert found[i, j] == pytest.approx(expected, abs=1e-5)


def test_cells_of_one_grid_are_copied() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((6, 6))
    for left in range(-5, 9):
        top = 3 - left
        sums = resampled(values, [50, 70, 62, 82], (50 + 2 * left, 70 + 2 * top, 2, 2), (4, 4))  # cells of 2 pixels
        inside = np.zeros((40, 40))
        inside[20:26, 20:26] = values
        np.testing.assert_array_equal(sums, inside[20 + top : 24 + top, 20 + left : 24 + left].astype(np.float32))


def test_what_is_added_is_weighted() -> None:
    sums = np.ones((2, 2), dtype=np.float32)
    values = np.array([[1, 2], [3, 4]], dtype=np.float32)
    for step in (1.0, 0.25):  # copied, and interpolated: the rectangles lie in the first cell's first quarter
        add_resampled(values, np.array([5.0, 5.0, 7.0, 7.0]), 5.0, 5.0, step, step, np.float32(2), HEIGHT, WIDTH, sums)
    assert sums.tolist() == [[1 + 2 + 2, 1 + 4 + 2], [1 + 6 + 2, 1 + 8 + 2]]


def test_boxes_and_stability_equal_the_loop() -> None:
    rng = np.random.default_rng(0)
    sides = rng.integers(1, 9, 60)
    masks = [rng.normal(-2, 2, (side, side)).astype(np.float32) for side in sides]
    corners, cell = rng.uniform(-20, 20, (60, 2)), rng.uniform(0.5, 3, (60, 2))
    windows = np.concatenate([corners, corners + cell * sides[:, None]], axis=1)
    together = WindowMasks.of(np.ones(60), np.concatenate([mask.ravel() for mask in masks]), sides, windows, 0.3)
    assert len(together) == 60
    empty = 0
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(together.logits(index), mask)
        in_cells = np.array(oracles.tight_box(torch.from_numpy(mask > np.float32(0.3))))
        expected = corners[index, [0, 1, 0, 1]] + in_cells * cell[index, [0, 1, 0, 1]]
        np.testing.assert_allclose(together.tight_boxes[index], expected)
        surely, maybe = (mask > 1.3).sum(), (mask > -0.7).sum()
        assert together.stability[index] == (surely / maybe if maybe else 0)
        empty += not in_cells.any()
    assert 5 < empty < 55


def test_an_outline_that_is_not_known_is_not_stable() -> None:
    masks = np.array([[9, 3, -9, -3], [3, 0.5, -0.5, -3], [-9, -9, -9, -9]], dtype=np.float32)
    windows = WindowMasks.of(np.ones(3), masks.ravel(), np.full(3, 2), np.zeros((3, 4)), 0.0)
    assert windows.stability.tolist() == pytest.approx([1, 1 / 3, 0])


def test_some_of_them_keep_their_masks() -> None:
    logits = np.arange(4 + 9 + 1, dtype=np.float32)
    masks = WindowMasks.of(np.arange(3.0), logits, np.array([2, 3, 1]), np.zeros((3, 4)), 0.5)
    some = masks[np.array([2, 0])]
    assert some.scores.tolist() == [2, 0]
    assert [some.logits(index).ravel().tolist() for index in (0, 1)] == [[13], [0, 1, 2, 3]]
    assert masks[np.array([False, True, False])].logits(0).ravel().tolist() == list(range(4, 13))


def test_no_windows() -> None:
    nothing = WindowMasks.of(np.zeros(0), np.zeros(0, np.float32), np.zeros(0, int), np.zeros((0, 4)), 0.0)
    assert len(nothing) == 0
    assert nothing.tight_boxes.shape == (0, 4)

from __future__ import annotations

import numpy as np
import torch

import oracles
from instancefcn.classifier.pooling import GRID, mask_grids, pool, warp
from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.geometry.runs import Edges


def random_boxes(n: int, width: float, height: float) -> torch.Tensor:
    corners = torch.rand(n, 2, 2).sort(dim=1).values * torch.tensor([width, height])
    return corners.flatten(1)


def test_warping_equals_the_loop() -> None:
    features, boxes = torch.randn(1, 3, 7, 9), random_boxes(5, 72, 56)
    warped = warp(features, boxes, 8)
    for box, found in zip(boxes.tolist(), warped, strict=True):
        torch.testing.assert_close(found, oracles.roi_warp(features[0], box, 8, GRID), atol=1e-4, rtol=0)


def test_pooling_is_warping_times_weights() -> None:
    features, boxes = torch.randn(1, 3, 7, 9), random_boxes(5, 72, 56)
    cells = torch.rand(5, 2, GRID, GRID)
    expected = torch.einsum("ncij,nkij->nkc", warp(features, boxes, 8), cells)
    torch.testing.assert_close(pool(features, boxes, 8, cells), expected, atol=1e-3, rtol=1e-4)


def test_no_boxes() -> None:
    features, boxes = torch.randn(1, 3, 7, 9), torch.zeros(0, 4)
    assert warp(features, boxes, 8).shape == (0, 3, GRID, GRID)
    assert pool(features, boxes, 8, torch.zeros(0, 6, GRID, GRID)).shape == (0, 6, 3)


def test_a_mask_on_the_grid_of_its_box() -> None:
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:38, 20:76] = True
    mask[10:24, 48:76] = False  # upper right quarter
    dot = np.zeros_like(mask)
    dot[59, 79] = True
    rles = [encode(mask), encode(dot)]
    grids = mask_grids(Edges.of(rles, 60, 80), tight_boxes(rles))
    expected = np.full((GRID, GRID), 255)
    expected[: GRID // 2, GRID // 2 :] = 0
    np.testing.assert_array_equal(grids[0], expected)
    np.testing.assert_array_equal(grids[1], 255)


def test_a_cell_half_covered_is_half() -> None:
    mask = np.zeros((GRID * 4, GRID * 4), dtype=bool)
    mask[:, ::4] = mask[:, 1::4] = True  # the left half of every cell
    mask[:, -1] = True  # so that the tight box is the image
    rle = encode(mask)
    grid = mask_grids(Edges.of([rle], *mask.shape), tight_boxes([rle]))[0]
    np.testing.assert_array_equal(grid[:, :-1], 128)

from __future__ import annotations

import numpy as np
import torch

import oracles
from instancefcn.classifier.config import load_classifier_recipe
from instancefcn.classifier.heads import GRID, LiteHead, PaperHead, mask_grids, pool, warp
from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.geometry.runs import Edges


def inputs() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    maps = [torch.randn(1, 5, 8, 10), torch.randn(1, 7, 4, 5)]
    boxes = torch.tensor([[8.0, 16, 100, 90], [0, 0, 150, 120]])
    return maps, boxes, (torch.rand(2, GRID, GRID) > 0.5).float()


def test_the_papers_head_is_as_wide_as_vgg16s() -> None:
    config = load_classifier_recipe("paper").classifier
    with torch.device("meta"):
        head = PaperHead(512, 8, 20, config.width)
    one_path = 512 * 7 * 7 * 4096 + 4096 + 4096 * 4096 + 4096
    assert sum(p.numel() for p in head.box.parameters()) == one_path
    assert sum(p.numel() for p in head.parameters()) == 2 * one_path + 2 * 4096 * 21 + 21


def test_both_heads_look_inside_the_mask() -> None:
    """What lies outside the mask reaches the masked path of neither; the box path sees it."""
    maps, boxes, masks = inputs()
    for head in (PaperHead(5, 16, 3, width=8), LiteHead([5, 7], [16, 32], 3, width=8)):
        head.eval()
        own = maps[:1] if isinstance(head, PaperHead) else maps
        seen: list[torch.Tensor] = []
        head.masked.register_forward_hook(lambda module, given, made, seen=seen: seen.append(given[0]))
        logits = head(own, boxes, masks)
        assert logits.shape == (2, 4)
        assert not torch.equal(logits, head(own, boxes, torch.ones_like(masks)))
        assert not torch.allclose(seen[0], seen[1])


def test_an_empty_mask_and_no_box_give_numbers() -> None:
    maps, boxes, masks = inputs()
    head = LiteHead([5, 7], [16, 32], 3, width=8).eval()
    assert head(maps, boxes, torch.zeros_like(masks)).isfinite().all()
    assert head(maps, boxes[:0], masks[:0]).shape == (0, 4)


def test_a_box_is_named_alike_whatever_stands_beside_it() -> None:
    maps, boxes, masks = inputs()
    head = LiteHead([5, 7], [16, 32], 3, width=8).eval()
    torch.testing.assert_close(head(maps, boxes[1:], masks[1:]), head(maps, boxes, masks)[1:])


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

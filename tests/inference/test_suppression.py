from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import oracles
from instancefcn.inference import suppression
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import paste_survivors
from instancefcn.inference.suppression import Survivor, intersection_areas, mask_crops, soft_nms, suppress
from instancefcn.inference.voting import vote
from instancefcn.inference.window_masks import WindowMasks

BY_MASK = InferenceConfig(nms_overlap="mask")
SIDE = 64  # of the image


def with_tight_boxes(scores: torch.Tensor, mask_logits: torch.Tensor, windows: torch.Tensor) -> WindowMasks:
    cells = torch.tensor([oracles.tight_box(mask > 0) for mask in mask_logits]).reshape(-1, 4)
    cell = (windows[:, 2:] - windows[:, :2]) / mask_logits.shape[-1]
    return WindowMasks(scores, mask_logits, windows, windows[:, [0, 1, 0, 1]] + cells * cell[:, [0, 1, 0, 1]])


def ellipses(rng: np.random.Generator, count: int, m: int) -> WindowMasks:
    """Slanted ellipses around the same few places, in windows that may hang over the image's border."""
    centres = np.array([[20.0, 24.0], [44.0, 40.0], [4.0, 60.0]])[rng.integers(0, 3, count)]
    sides = rng.uniform(38, 46, count)
    corners = centres - sides[:, None] / 2 + rng.uniform(-4, 4, (count, 2))
    windows = torch.from_numpy(np.concatenate([corners, corners + sides[:, None]], axis=1)).float()
    places = (np.arange(m) + 0.5) / m - 0.5
    x, y = places[None, None, :], places[None, :, None]
    slant, a, b = (rng.uniform(low, high, (count, 1, 1)) for low, high in ((-0.3, 0.3), (0.3, 0.4), (0.25, 0.35)))
    logits = 10 * (1 - ((x + slant * y) / a) ** 2 - (y / b) ** 2)
    scores = torch.from_numpy(rng.uniform(0.1, 0.9, count)).float()
    return with_tight_boxes(scores, torch.from_numpy(logits).float(), windows)


def one_square(column: int, score: float = 0.5) -> WindowMasks:
    """Foreground in the left three of four columns of cells of 10 px; the window starts at a column of pixels."""
    logits = torch.full((1, 4, 4), 20.0)
    logits[:, :, 3] = -20.0
    return with_tight_boxes(torch.tensor([score]), logits, torch.tensor([[column, 10.0, column + 40.0, 50.0]]))


def places(survivors: list[Survivor]) -> list[tuple[int, int]]:
    return [(survivor.group, survivor.index) for survivor in survivors]


def test_suppression_by_boxes_equals_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "BLOCK", 7)  # so that there are several
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(60, 2, generator=generator) * 20
    boxes = torch.cat([corner, corner + 20 + torch.rand(60, 2, generator=generator) * 6], dim=1)
    scores = torch.rand(60, generator=generator)
    group = WindowMasks(scores, torch.ones(60, 5, 5), boxes, boxes)
    survivors = suppress([group], 60, 60, InferenceConfig())
    proposals = paste_survivors([group], survivors, 60, 60, 1000, InferenceConfig())
    kept = oracles.non_maximum_suppression(boxes.tolist(), scores.tolist(), 0.8)
    assert proposals.scores.tolist() == pytest.approx([float(scores[i]) for i in kept])
    assert 1 < len(kept) < 60


@pytest.mark.parametrize("seed", [0, 1])
def test_suppression_by_masks_equals_the_loop_over_pasted_masks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "BLOCK", 5)  # so that there are several
    monkeypatch.setattr(suppression, "CHUNK", 7)
    rng = np.random.default_rng(seed)
    groups = [ellipses(rng, 12, 12), ellipses(rng, 10, 17)]
    pasted = [
        oracles.paste(logits, window.tolist(), 0.0, SIDE, SIDE)
        for group in groups
        for logits, window in zip(group.mask_logits, group.window_boxes, strict=True)
    ]
    expected = np.array([[oracles.mask_iou(a, b) for b in pasted] for a in pasted])

    crops, boxes = zip(*(mask_crops(group, SIDE, SIDE, 0.0) for group in groups), strict=True)
    crop, box = torch.cat(crops).float(), torch.cat(boxes)
    areas = intersection_areas(crop, box, crop, box)
    i, j = (torch.from_numpy(index.ravel()) for index in np.indices(expected.shape))
    shared = intersection_areas(crop[i], box[i], crop[j], box[j])
    ious = (shared / (areas[i] + areas[j] - shared)).reshape(expected.shape).numpy()
    # The loop counts pixels and the fast way samples of 28 x 28: both are off by a part of the outline.
    assert np.abs(ious - expected).max() < 0.03

    # A threshold in a gap, with every pair on the same side of it in both ways.
    candidates = np.sort(expected[(expected > 0.55) & (expected < 0.95)])
    widest = int(np.diff(candidates).argmax())
    threshold = float(candidates[widest : widest + 2].mean())
    assert ((ious > threshold) == (expected > threshold)).all()
    scores = torch.cat([group.scores for group in groups]).tolist()
    survivors = suppress(groups, SIDE, SIDE, replace(BY_MASK, nms_threshold=threshold))
    kept = oracles.greedy_suppression(expected.tolist(), scores, threshold)
    assert [survivor.index + 12 * survivor.group for survivor in survivors] == kept
    assert 3 < len(kept) < 22


def test_the_shared_area_of_two_rectangles_by_hand() -> None:
    full = torch.ones(1, 2, 2)
    left = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    a, b = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[1.0, 3.0, 7.0, 9.0]])
    assert intersection_areas(full, a, full, b).tolist() == [3.0]  # x 1 to 4, y 3 to 4
    assert intersection_areas(left, a, full, b).tolist() == [1.0]  # x 1 to 2
    assert intersection_areas(full, a, full, b + 4).tolist() == [0.0]


def test_identical_masks_are_suppressed_and_disjoint_kept() -> None:
    groups = [one_square(0, 0.3), one_square(0, 0.9), one_square(100, 0.6)]
    assert places(suppress(groups, 200, 200, BY_MASK)) == [(1, 0), (2, 0)]


def test_masks_that_share_a_box_but_not_a_shape_are_both_kept() -> None:
    upper, lower = torch.full((2, 12, 12), -9.0).unbind()
    for i in range(12):
        upper[i, : 12 - i], lower[i, i:] = 9.0, 9.0  # triangles with opposite corners
    lower = lower.flip(1)
    upper[:, 0], upper[0], lower[:, 0], lower[0] = 9.0, 9.0, 9.0, 9.0
    group = with_tight_boxes(
        torch.tensor([0.9, 0.8]), torch.stack([upper, lower.flip(1)]), torch.tensor([[0.0, 0.0, 24.0, 24.0]] * 2)
    )
    assert places(suppress([group], 24, 24, InferenceConfig())) == [(0, 0)]
    assert places(suppress([group], 24, 24, BY_MASK)) == [(0, 0), (0, 1)]


def test_no_candidates() -> None:
    nothing = WindowMasks(torch.zeros(0), torch.zeros(0, 5, 5), torch.zeros(0, 4), torch.zeros(0, 4))
    for config in (InferenceConfig(), BY_MASK, InferenceConfig(soft_nms_threshold=0.5)):
        assert suppress([nothing, nothing], 10, 10, config) == []
    voted = vote([nothing, one_square(0)], [Survivor(1, 0, 0.5)], InferenceConfig(vote_threshold=0.5))
    assert [len(group.scores) for group in voted] == [0, 1]


def test_by_default_boxes_are_compared_and_nobody_votes() -> None:
    config = InferenceConfig()
    assert (config.nms_overlap, config.vote_threshold) == ("box", 0.0)
    groups = [ellipses(np.random.default_rng(0), 6, 9)]
    assert vote(groups, [Survivor(0, 0, 0.5), Survivor(0, 1, 0.5)], config)[0] is groups[0]


@pytest.mark.parametrize("column", [10, -20])
def test_identical_masks_vote_for_themselves(column: int) -> None:
    config = InferenceConfig(vote_threshold=0.5)
    groups = [one_square(column, 0.9), one_square(column, 0.4)]
    voted = vote(groups, [Survivor(0, 0, 0.5)], config)
    pasted, unchanged = (paste_survivors(masks, [Survivor(0, 0, 0.5)], 60, 60, 1, config) for masks in (voted, groups))
    assert pasted.rles == unchanged.rles
    assert pasted.scores.tolist() == [0.5]  # as it survived
    inside = voted[0].mask_logits[..., 2:]  # cells that lie outside the image have no say
    torch.testing.assert_close(inside.sigmoid(), groups[0].mask_logits[..., 2:].sigmoid(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("own", "other", "tight"), [(0.75, 0.25, [10, 10, 40, 50]), (0.25, 0.75, [20, 10, 50, 50])])
def test_two_shifted_squares_by_hand(own: float, other: float, tight: list[float]) -> None:
    # x 10 to 40 and x 20 to 50: IoU 0.5. The other's window has no say left of 20.
    groups = [one_square(10, own), one_square(20, other)]
    voted, bystander = vote(groups, [Survivor(0, 0, 0.5)], InferenceConfig(vote_threshold=0.5))
    for row in voted.mask_logits[0].sigmoid():
        assert row.tolist() == pytest.approx([own, 1.0, 1.0, other], abs=1e-5)
    assert voted.tight_boxes.tolist() == [tight]
    assert torch.equal(bystander.mask_logits, groups[1].mask_logits)  # it did not survive
    alone, _ = vote(groups, [Survivor(0, 0, 0.5)], InferenceConfig(vote_threshold=0.51))
    assert alone.tight_boxes.tolist() == [[10, 10, 40, 50]]


def test_a_vote_from_further_than_the_margin_by_hand() -> None:
    # x 10 to 40 and x 30 to 60: IoU 0.2, two cells apart, where the margin of four cells is one.
    groups = [one_square(10, 0.75), one_square(30, 0.25)]
    voted, _ = vote(groups, [Survivor(0, 0, 0.5)], InferenceConfig(vote_threshold=0.19))
    for row in voted.mask_logits[0].sigmoid():
        assert row.tolist() == pytest.approx([0.75, 0.75, 1.0, 0.25], abs=1e-5)


def test_a_window_without_score_keeps_its_mask() -> None:
    group = one_square(10, 0.0)
    (voted,) = vote([group], [Survivor(0, 0, 0.5)], InferenceConfig(vote_threshold=0.5))
    assert torch.equal(voted.mask_logits, group.mask_logits)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 1.0])
def test_soft_suppression_equals_the_loop(threshold: float) -> None:
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(40, 2, generator=generator) * 30
    boxes = torch.cat([corner, corner + 20 + torch.rand(40, 2, generator=generator) * 6], dim=1)
    boxes = torch.cat([boxes, boxes[:1], torch.zeros(2, 4)])  # two equal boxes, and two empty ones
    scores = torch.rand(43, generator=generator)
    order, softened = soft_nms(boxes, scores, threshold)
    expected = oracles.soft_suppression(boxes.tolist(), scores.tolist(), threshold)
    assert order.tolist() == [index for index, _ in expected]
    assert softened.tolist() == pytest.approx([score for _, score in expected], abs=1e-6)
    assert (order.tolist() == scores.argsort(descending=True).tolist()) == (threshold == 1.0)


@pytest.mark.parametrize("wanted", [0, 10, 99])
def test_what_is_wanted_is_in_order_and_the_rest_behind_it(wanted: int) -> None:
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(40, 2, generator=generator) * 30
    boxes = torch.cat([corner, corner + 20], dim=1)
    scores = torch.rand(40, generator=generator)
    whole, part = soft_nms(boxes, scores, 0.5), soft_nms(boxes, scores, 0.5, wanted)
    for of_whole, of_part in zip(whole, part, strict=True):
        assert of_part[:wanted].tolist() == of_whole[:wanted].tolist()
    assert sorted(part[0].tolist()) == list(range(40))
    assert (part[1].diff() <= 0).all()


def test_soft_suppression_puts_another_object_before_a_near_duplicate() -> None:
    groups = [one_square(0, 0.9), one_square(8, 0.8), one_square(100, 0.6)]
    config = InferenceConfig(nms_threshold=0.8)
    assert places(suppress(groups, 200, 200, config)) == [(0, 0), (1, 0), (2, 0)]
    survivors = suppress(groups, 200, 200, replace(config, soft_nms_threshold=0.5))
    assert places(survivors) == [(0, 0), (2, 0), (1, 0)]
    iou = 22 / 38  # of two boxes 30 wide, 8 apart
    assert [survivor.score for survivor in survivors] == pytest.approx([0.9, 0.6, 0.8 * (1 - iou)])
    pasted = paste_survivors(groups, survivors, 200, 200, 10, config)
    assert pasted.scores.tolist() == [survivor.score for survivor in survivors]

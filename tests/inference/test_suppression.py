from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import oracles
from inference.scenes import squares
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.suppression import box_nms, mask_crops, shared_area, soft_nms, suppress
from instancefcn.inference.window_masks import WindowMasks

BY_MASK = InferenceConfig(nms_overlap="mask")
SIDE = 64  # of the image


def ellipses(rng: np.random.Generator, sides: list[int]) -> WindowMasks:
    """Slanted ellipses around the same few places, in windows that may hang over the image's border."""
    count = len(sides)
    centres = np.array([[20.0, 24.0], [44.0, 40.0], [4.0, 60.0]])[rng.integers(0, 3, count)]
    extents = rng.uniform(38, 46, (count, 1))
    corners = centres - extents / 2 + rng.uniform(-4, 4, (count, 2))
    logits = []
    for m in sides:
        places = (np.arange(m) + 0.5) / m - 0.5
        slant, a, b = (rng.uniform(low, high) for low, high in ((-0.3, 0.3), (0.3, 0.4), (0.25, 0.35)))
        logits.append(10 * (1 - ((places + slant * places[:, None]) / a) ** 2 - (places[:, None] / b) ** 2))
    together = np.concatenate([mask.ravel() for mask in logits]).astype(np.float32)
    windows = np.concatenate([corners, corners + extents], axis=1)
    return WindowMasks.of(rng.uniform(0.1, 0.9, count), together, np.array(sides), windows, 0.0)


def survivors(masks: WindowMasks, config: InferenceConfig, side: int = 200) -> list[int]:
    return suppress(masks, side, side, config)[0].tolist()


def random_boxes(count: int) -> np.ndarray:
    corner = np.random.default_rng(1).uniform(0, 20, (count, 2))
    return np.concatenate([corner, corner + np.random.default_rng(2).uniform(20, 26, (count, 2))], axis=1)


def test_suppression_by_boxes_equals_the_loop() -> None:
    boxes, scores = random_boxes(60), np.random.default_rng(0).random(60)
    masks = WindowMasks.of(scores, np.ones(60, dtype=np.float32), np.ones(60, dtype=int), boxes, 0.0)
    kept, kept_scores = suppress(masks, 60, 60, InferenceConfig())
    assert kept.tolist() == oracles.non_maximum_suppression(boxes.tolist(), scores.tolist(), 0.8)
    assert kept_scores.tolist() == scores[kept].tolist()
    assert 1 < len(kept) < 60


def test_boxes_are_compared_within_the_image() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 20.0, 10.0]])
    masks = WindowMasks.of(np.array([0.9, 0.8]), np.ones(2, dtype=np.float32), np.ones(2, dtype=int), boxes, 0.0)
    assert suppress(masks, 10, 20, InferenceConfig())[0].tolist() == [0, 1]
    assert suppress(masks, 10, 11, InferenceConfig())[0].tolist() == [0]


def test_equal_boxes_leave_the_first() -> None:
    assert box_nms(np.array([[0.0, 0.0, 4.0, 4.0]] * 3 + [[9.0, 9.0, 10.0, 10.0]]), 0.99).tolist() == [0, 3]


@pytest.mark.parametrize("seed", [0, 1])
def test_suppression_by_masks_equals_the_loop_over_pasted_masks(seed: int) -> None:
    masks = ellipses(np.random.default_rng(seed), [12] * 12 + [17] * 10)
    pasted = [
        oracles.paste(torch.from_numpy(masks.logits(index)), window, 0.0, SIDE, SIDE)
        for index, window in enumerate(masks.window_boxes.tolist())
    ]
    expected = np.array([[oracles.mask_iou(a, b) for b in pasted] for a in pasted])

    crops, boxes = mask_crops(masks, SIDE, SIDE, 0.0)
    both = list(zip(crops, boxes, strict=True))
    shared = np.array([[shared_area(*a, *b) for b in both] for a in both])
    ious = shared / (shared.diagonal()[:, None] + shared.diagonal() - shared)
    # The loop counts pixels and the fast way samples of 28 x 28: both are off by a part of the outline.
    assert np.abs(ious - expected).max() < 0.03

    # A threshold in a gap, with every pair on the same side of it in both ways.
    candidates = np.sort(expected[(expected > 0.55) & (expected < 0.95)])
    widest = int(np.diff(candidates).argmax())
    threshold = float(candidates[widest : widest + 2].mean())
    assert ((ious > threshold) == (expected > threshold)).all()
    kept = oracles.greedy_suppression(expected.tolist(), masks.scores.tolist(), threshold)
    assert survivors(masks, replace(BY_MASK, nms_threshold=threshold), SIDE) == kept
    assert 3 < len(kept) < 22


def test_the_shared_area_of_two_rectangles_by_hand() -> None:
    full, left = np.ones((2, 2), dtype=bool), np.array([[True, False], [True, False]])
    a, b = np.array([0.0, 0.0, 4.0, 4.0]), np.array([1.0, 3.0, 7.0, 9.0])
    assert shared_area(full, a, full, b) == 3  # x 1 to 4, y 3 to 4
    assert shared_area(left, a, full, b) == 1  # x 1 to 2
    assert shared_area(full, b, left, a) == 1
    assert shared_area(full, a, full, b + 4) == 0


def test_identical_masks_are_suppressed_and_disjoint_kept() -> None:
    assert survivors(squares((0, 0.3), (0, 0.9), (100, 0.6)), BY_MASK) == [1, 2]


def test_masks_that_share_a_box_but_not_a_shape_are_both_kept() -> None:
    upper, lower = np.full((2, 12, 12), -9, dtype=np.float32)
    for i in range(12):
        upper[i, : 12 - i], lower[i, 11 - i :] = 9, 9  # triangles with opposite corners
    upper[:, 0], upper[0], lower[:, 11], lower[11] = 9, 9, 9, 9
    windows = np.array([[0.0, 0.0, 24.0, 24.0]] * 2)
    masks = WindowMasks.of(np.array([0.9, 0.8]), np.stack([upper, lower]).ravel(), np.full(2, 12), windows, 0.0)
    assert survivors(masks, InferenceConfig(), 24) == [0]
    assert survivors(masks, BY_MASK, 24) == [0, 1]


def test_no_candidates() -> None:
    nothing = squares((0, 0.5))[:0]
    for config in (InferenceConfig(), BY_MASK, InferenceConfig(soft_nms_threshold=0.5)):
        kept, scores = suppress(nothing, 10, 10, config, 5)
        assert len(kept) == len(scores) == 0


def test_by_default_boxes_are_compared() -> None:
    assert InferenceConfig().nms_overlap == "box"


@pytest.mark.parametrize("threshold", [0.3, 0.5, 1.0])
def test_soft_suppression_equals_the_loop(threshold: float) -> None:
    boxes = random_boxes(40)
    boxes = np.concatenate([boxes, boxes[:1], np.zeros((2, 4))])  # two equal boxes, and two empty ones
    scores = np.random.default_rng(3).random(43)
    order, softened = soft_nms(boxes, scores, threshold)
    expected = oracles.soft_suppression(boxes.tolist(), scores.tolist(), threshold)
    assert order.tolist() == [index for index, _ in expected]
    assert softened.tolist() == pytest.approx([score for _, score in expected], abs=1e-8)
    assert (order.tolist() == (-scores).argsort().tolist()) == (threshold == 1.0)


@pytest.mark.parametrize("wanted", [0, 10, 99])
def test_what_is_wanted_is_in_order_and_the_rest_behind_it(wanted: int) -> None:
    boxes, scores = random_boxes(40), np.random.default_rng(3).random(40)
    whole, part = soft_nms(boxes, scores, 0.5), soft_nms(boxes, scores, 0.5, wanted)
    for of_whole, of_part in zip(whole, part, strict=True):
        assert of_part[:wanted].tolist() == of_whole[:wanted].tolist()
    assert sorted(part[0].tolist()) == list(range(40))
    assert (np.diff(part[1]) <= 0).all()


def test_soft_suppression_puts_another_object_before_a_near_duplicate() -> None:
    masks = squares((0, 0.9), (8, 0.8), (100, 0.6))
    assert survivors(masks, InferenceConfig()) == [0, 1, 2]
    kept, scores = suppress(masks, 200, 200, InferenceConfig(soft_nms_threshold=0.5))
    assert kept.tolist() == [0, 2, 1]
    iou = 22 / 38  # of two boxes 30 wide, 8 apart
    assert scores.tolist() == pytest.approx([0.9, 0.6, 0.8 * (1 - iou)])

from __future__ import annotations

import numpy as np
import pytest

import oracles
from inference.scenes import plain, squares
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.suppression import soft_nms, suppress
from instancefcn.inference.window_masks import WindowMasks


def survivors(masks: WindowMasks, config: InferenceConfig, side: int = 200) -> list[int]:
    return suppress(masks, side, side, config)[0].tolist()


def random_boxes(count: int) -> np.ndarray:
    corner = np.random.default_rng(1).uniform(0, 20, (count, 2))
    return np.concatenate([corner, corner + np.random.default_rng(2).uniform(20, 26, (count, 2))], axis=1)


def test_suppression_by_boxes_equals_the_loop() -> None:
    boxes, scores = random_boxes(60), np.random.default_rng(0).random(60)
    masks = WindowMasks.of(scores, np.ones(60, dtype=np.float32), np.ones(60, dtype=int), boxes, 0.0)
    kept, kept_scores = suppress(masks, 60, 60, plain())
    assert kept.tolist() == oracles.non_maximum_suppression(boxes.tolist(), scores.tolist(), 0.8)
    assert kept_scores.tolist() == scores[kept].tolist()
    assert 1 < len(kept) < 60


def test_boxes_are_compared_within_the_image() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 20.0, 10.0]])
    masks = WindowMasks.of(np.array([0.9, 0.8]), np.ones(2, dtype=np.float32), np.ones(2, dtype=int), boxes, 0.0)
    assert suppress(masks, 10, 20, plain())[0].tolist() == [0, 1]
    assert suppress(masks, 10, 11, plain())[0].tolist() == [0]


def test_equal_boxes_leave_the_first() -> None:
    boxes = np.array([[0.0, 0.0, 4.0, 4.0]] * 3 + [[9.0, 9.0, 10.0, 10.0]])
    masks = WindowMasks.of(np.ones(4), np.ones(4, dtype=np.float32), np.ones(4, dtype=int), boxes, 0.0)
    assert survivors(masks, plain(nms_threshold=0.99)) == [0, 3]


def test_no_candidates() -> None:
    nothing = squares((0, 0.5))[:0]
    for config in (plain(), plain(soft_nms_threshold=0.5)):
        kept, scores = suppress(nothing, 10, 10, config, 5)
        assert len(kept) == len(scores) == 0


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
    masks = squares((0, 0.9), (8, 0.8), (100, 0.7))
    assert survivors(masks, plain()) == [0, 1, 2]
    kept, scores = suppress(masks, 200, 200, plain(soft_nms_threshold=0.5))
    assert kept.tolist() == [0, 2, 1]
    iou = 22 / 38  # of two boxes 30 wide, 8 apart
    assert scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * (1 - iou) / (1 - 0.5)])

"""The object rule is chosen on labels: the best F1's threshold, the limits, and chances that are right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from instancefcn.data.source import Labels
from instancefcn.evaluation.counting import calibration_error
from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.inference.config import InferenceConfig
from instancefcn.inference.proposer import Proposer
from instancefcn.objects import ANY_NUMBER, ObjectRule
from instancefcn.proposals import Proposals
from instancefcn.structures import Instances
from instancefcn.training.calibration import blend, choose_rule, fit_rule, isotonic
from synthetic import SyntheticScenes

SIZE = 60


def square(left: int, top: int, side: int = 8) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def image(
    masks: list[np.ndarray], scores: list[float], labelled: list[np.ndarray], crowd: int = 0
) -> tuple[Proposals, Instances]:
    """Candidates and instances of one image; the last ``crowd`` instances are crowds."""
    rles, wanted = [encode(mask) for mask in masks], [encode(mask) for mask in labelled]
    count = len(wanted)
    crowds = np.arange(count) >= count - crowd
    none, ids = np.zeros(count, dtype=bool), np.arange(count)
    boxes = tight_boxes(wanted) if wanted else np.zeros((0, 4))
    return (
        Proposals(rles, tight_boxes(rles) if rles else np.zeros((0, 4)), np.array(scores), SIZE, SIZE),
        Instances(ids, wanted, boxes, np.ones(count, dtype=int), crowds, none),
    )


def test_the_threshold_lies_between_the_last_right_object_and_the_first_wrong_one() -> None:
    a, b, c, d = square(0, 0), square(20, 0), square(40, 0), square(0, 20)
    rule = fit_rule([image([a, b, c, d], [0.9, 0.6, 0.4, 0.1], [a, b])])
    assert rule is not None
    assert rule.threshold == pytest.approx(0.5)
    assert rule.chance(np.array([0.9, 0.75, 0.5, 0.25, 0.1])).tolist() == [1, 1, 0.5, 0, 0]


def test_few_instances_count_little_beside_the_rule_that_training_started_from() -> None:
    chosen = ObjectRule(0.04, max_iou=0.5, smoothing=0.1, scores=(0.1, 0.5), chances=(0.0, 1.0))
    start = ObjectRule(0.16, max_iou=0.3, smoothing=0.0, scores=(0.3,), chances=(0.5,))
    half = blend(chosen, start, 0.5, 0.25)
    assert half.threshold == pytest.approx(0.08)
    assert half.scores == (0.1, 0.3, 0.5)
    assert half.chances == pytest.approx((0.375, 0.5, 0.625))
    assert (half.max_iou, half.smoothing) == (0.5, 0.1)
    assert blend(chosen, start, 0.49, 1.0).max_iou == 0.3
    assert blend(chosen, replace(start, alike=0.3), 0.1, 0.1).alike == 1
    assert blend(chosen, start, 1.0, 0.0).threshold == pytest.approx(0.04)
    assert blend(chosen, start, 0.0, 1.0).threshold == pytest.approx(0.16)


def test_the_starting_rule_counts_as_ten_images_and_ten_instances() -> None:
    masks = [square(12 * x, 12 * y) for x in range(5) for y in range(2)]
    one = image([*masks, square(0, 40)], [0.9] * 10 + [0.1], masks)
    start = ObjectRule(0.02, scores=(0.5,), chances=(0.5,))
    alone, beside = fit_rule([one]), fit_rule([one], start)
    assert alone is not None
    assert beside is not None
    assert alone.threshold == pytest.approx(0.5)
    assert beside == blend(alone, start, 1 / 11, 0.5)  # one image, ten instances
    empty = image([], [], [])
    assert fit_rule([one, empty], start) == beside
    assert fit_rule([one] * 10, start).threshold == pytest.approx(np.sqrt(0.5 * 0.02))


def test_a_duplicate_is_no_object_and_clumps_decide_the_limits() -> None:
    a, b = square(0, 0), square(8, 0)
    overlapping = square(4, 0)  # IoU of 1/3 with both
    rule = fit_rule([image([a, overlapping, b], [0.9, 0.8, 0.7], [a, b])])
    assert rule is not None
    assert rule.max_iou == 0.3
    rule = fit_rule([image([a, overlapping, b], [0.9, 0.8, 0.7], [a, overlapping])])
    assert rule is not None
    assert (rule.max_iou, rule.threshold) == (0.4, pytest.approx(0.75))


def test_wholes_of_many_parts_are_objects_where_they_are_labelled() -> None:
    parts = [square(14 * x, 14 * y, 6) for x in range(3) for y in range(3)]
    whole = square(0, 0, 40)
    rule = fit_rule([image([*parts, whole], [0.9] * 9 + [0.8], parts)])
    assert rule is not None
    assert rule.max_inside == 8
    rule = fit_rule([image([*parts, whole], [0.9] * 9 + [0.8], [*parts, whole])])
    assert rule is not None
    assert rule.max_inside == ANY_NUMBER


def test_a_candidate_on_a_crowd_says_nothing() -> None:
    a, crowd = square(0, 0), square(20, 20, 30)
    on_it = square(25, 25)
    rule = fit_rule([image([on_it, a], [0.9, 0.5], [a, crowd], crowd=1)])
    assert rule is not None
    assert rule.scores == (0.5,)
    assert rule.chances == (1.0,)


def test_without_instances_or_finds_there_is_no_rule() -> None:
    a, b = square(0, 0), square(30, 30)
    assert fit_rule([]) is None
    assert fit_rule([image([], [], [])]) is None
    assert fit_rule([image([a], [0.9], [])]) is None
    assert fit_rule([image([a], [0.9], [b])]) is None


def test_jagged_masks_of_round_things_are_smoothed() -> None:
    y, x = np.indices((SIZE, SIZE))
    distance = np.hypot(y - 30, x - 30)
    jagged = (distance < 20) ^ ((np.random.default_rng(0).random((SIZE, SIZE)) < 0.4) & (np.abs(distance - 20) < 2))
    rule = fit_rule([image([jagged], [0.9], [distance < 20])])
    assert rule is not None
    assert rule.smoothing > 0
    comb = (y < 10) | (x % 2 == 0)  # smoothing would take its teeth away
    rule = fit_rule([image([comb], [0.9], [comb])])
    assert rule is not None
    assert rule.smoothing == 0


def test_isotonic_chances_rise_and_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(4000)
    right = rng.random(4000) < scores**3  # a score of 0.5 is right in one case of eight
    knots, chances = isotonic(scores[:2000], right[:2000])
    assert list(chances) == sorted(chances)
    calibrated = np.interp(scores[2000:], knots, chances)
    before, after = (calibration_error(of, right[2000:]) for of in (scores[2000:], calibrated))
    assert after < 0.03 < 0.2 < before


def test_isotonic_is_the_definition_by_hand() -> None:
    knots, chances = isotonic(np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, True, False, True]))
    assert knots == pytest.approx((0.1, 0.25, 0.4))
    assert chances == pytest.approx((0.0, 0.5, 1.0))


def test_isotonic_does_not_depend_on_the_order_of_equal_scores() -> None:
    scores = np.array([0.1, 0.3, 0.3, 0.3, 0.5])
    for right in ([False, True, False, False, True], [False, False, False, True, True]):
        knots, chances = isotonic(scores, np.array(right))
        assert knots == pytest.approx((0.1, 0.3, 0.5))
        assert chances == pytest.approx((0.0, 1 / 3, 1.0))


CORNERS = [(x, y) for y in range(0, SIZE, 5) for x in range(0, SIZE, 5)]


class Grid(SyntheticScenes):
    """Images of 144 squares, each an instance."""

    def labels(self, index: int) -> Labels:
        _, instances = image([], [], [square(x, y, 4) for x, y in CORNERS])
        return replace(super().labels(index), instances=instances)


class Finder(Proposer):
    """Proposes the squares, as many as it may, by falling scores."""

    def __init__(self) -> None:
        self.config = InferenceConfig()

    def __call__(self, pixels: Any, max_proposals: int = 100, min_score: float = 0.0) -> Proposals:
        masks = [square(x, y, 4) for x, y in CORNERS]
        found, _ = image(masks, np.linspace(0.9, 0.3, len(masks)).tolist(), [])
        return found[:max_proposals]


def test_a_rule_is_chosen_by_all_candidates_of_complete_images() -> None:
    """Its threshold lies between the last right one and 0; the hundredth of the 144 scores 0.48."""
    source = Grid(1, height=SIZE, width=SIZE)
    rule = choose_rule(Finder(), [source])
    assert rule is not None
    assert rule.threshold == pytest.approx(0.3 / 2)
    partial = replace(source[0], partial=True)
    with pytest.MonkeyPatch.context() as patch:  # an instance of it can't be read
        patch.setattr(Grid, "__getitem__", lambda self, index: partial)
        assert choose_rule(Finder(), [source]) is None

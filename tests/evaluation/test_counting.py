"""Objects matched with instances and counted."""

from __future__ import annotations

import copy
import doctest
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import oracles
from instancefcn.evaluation import counting
from instancefcn.evaluation.counting import (
    ON_CROWD,
    WRONG,
    ScoreCurve,
    calibration_error,
    match_objects,
    score_curve,
)
from instancefcn.evaluation.regions import select
from instancefcn.evaluation.results import GroundTruth, ScoredRegions, parse_ground_truth, parse_results
from instancefcn.geometry.rle import decode, ious
from labelled import annotation, coco, random_scenes, rectangle_rle, result

THRESHOLDS = (0.5, 0.75, 0.9)
NOTHING = np.zeros((0, 0))


def read(ground_truth: Any, results: Any) -> tuple[list[GroundTruth], list[ScoredRegions]]:
    images = parse_ground_truth(ground_truth)
    return images, parse_results(results, images)


def match(labelled: GroundTruth, scored: ScoredRegions, threshold: float) -> np.ndarray:
    instances, crowds = (select(labelled.regions, np.flatnonzero(labelled.crowd == crowd)) for crowd in (False, True))
    overlaps = ious(scored.regions, instances), ious(scored.regions, crowds, crowd=True)
    return match_objects(*overlaps, threshold)


def pixels(rle: Any) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in zip(*np.nonzero(decode(rle)), strict=True)}


def as_sets(labelled: GroundTruth, scored: ScoredRegions) -> tuple[list[Any], list[Any], list[Any]]:
    masks = [pixels(rle) for rle in labelled.regions]
    instances, crowds = (
        [mask for mask, is_crowd in zip(masks, labelled.crowd, strict=True) if is_crowd == crowd]
        for crowd in (False, True)
    )
    scores = scored.scores.tolist()
    return [(score, pixels(rle)) for score, rle in zip(scores, scored.regions, strict=True)], instances, crowds


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_matches_are_those_of_a_loop_over_pixels(threshold: float) -> None:
    kinds = set()
    for labelled, scored in zip(*read(*random_scenes(np.random.default_rng(0), 20, 30)), strict=True):
        objects, instances, crowds = as_sets(labelled, scored)
        expected = oracles.match_objects([mask for _, mask in objects], instances, crowds, threshold)
        found = match(labelled, scored, threshold)
        assert [{WRONG: "wrong", ON_CROWD: "crowd"}.get(index, index) for index in found.tolist()] == expected
        kinds |= {type(index) if isinstance(index, int) else index for index in expected}
    assert kinds == {int, "wrong", "crowd"}


def test_counts_are_those_of_pycocotools() -> None:
    ground_truth, results = random_scenes(np.random.default_rng(1), 15, 40)
    labels = COCO()
    labels.dataset = copy.deepcopy(ground_truth)
    labels.createIndex()
    evaluation = COCOeval(labels, labels.loadRes(copy.deepcopy(results)), "segm")
    evaluation.params.useCats, evaluation.params.maxDets = 0, [1000]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.iouThrs = np.array(THRESHOLDS)
    evaluation.evaluate()
    of_image = {found["image_id"]: found for found in evaluation.evalImgs if found is not None}
    for labelled, scored in zip(*read(ground_truth, results), strict=True):
        for t, threshold in enumerate(THRESHOLDS):
            found = match(labelled, scored, threshold)
            expected = of_image.get(labelled.image_id)
            if expected is None:
                assert len(found) == len(labelled.crowd) == 0
                continue
            ignored, matched = expected["dtIgnore"][t].astype(bool), expected["dtMatches"][t] > 0
            np.testing.assert_array_equal(found == ON_CROWD, ignored)
            np.testing.assert_array_equal(found >= 0, matched & ~ignored)


def test_the_best_score_takes_the_instance_it_overlaps_most() -> None:
    overlaps = np.array([[0.6, 0.7], [0.55, 0.9], [0.5, 0.2]])
    assert match_objects(overlaps, np.zeros((3, 0)), 0.5).tolist() == [1, 0, WRONG]
    assert match_objects(overlaps, np.zeros((3, 0)), 0.65).tolist() == [1, WRONG, WRONG]
    assert match_objects(np.array([[0.5, 0.5]]), np.zeros((1, 0)), 0.5).tolist() == [1]  # equal: the last, as COCO


def test_what_lies_on_a_crowd_is_neither_right_nor_wrong() -> None:
    overlaps, on_crowd = np.array([[0.5], [0.5], [0.0]]), np.array([[1.0], [0.5], [0.4]])
    found = match_objects(overlaps, on_crowd, 0.5)
    assert found.tolist() == [0, ON_CROWD, WRONG]  # an instance comes before the crowd
    curve = score_curve([np.array([0.9, 0.8, 0.7])], [found], [1])
    assert (curve.right[-1], curve.wrong[-1], curve.missed[-1], curve.count_error[-1]) == (1, 1, 0, 1)
    alone = match_objects(np.zeros((2, 0)), np.ones((2, 1)), 0.5)
    assert alone.tolist() == [ON_CROWD, ON_CROWD]
    curve = score_curve([np.array([0.9, 0.8])], [alone], [0])
    assert np.isnan([curve.f1, curve.precision, curve.recall, curve.average_precision]).all()
    assert curve.count_error.tolist() == [0, 0, 0]


def test_measures_by_hand() -> None:
    curve = ScoreCurve(*(np.array([number]) for number in (0.5, 6, 2, 4, 1.0)))
    assert curve.precision == 0.75
    assert curve.recall == 0.6
    assert curve.f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))
    assert curve.average_precision == 0.5


def test_perfect_objects_are_all_right_and_none_find_nothing() -> None:
    ground_truth, _ = random_scenes(np.random.default_rng(2), 10, 0)
    real = [labelled for labelled in ground_truth["annotations"] if not labelled["iscrowd"]]
    images, perfect = read(ground_truth, [result(own["image_id"], own["segmentation"], 0.5) for own in real])
    labelled = [int((~image.crowd).sum()) for image in images]
    for threshold in (*THRESHOLDS, 1.0):
        found = [match(image, objects, threshold) for image, objects in zip(images, perfect, strict=True)]
        curve = score_curve([objects.scores for objects in perfect], found, labelled)
        measures = np.stack([curve.precision, curve.recall, curve.f1, curve.average_precision])
        np.testing.assert_array_equal(measures, [[np.nan, 1], [0, 1], [0, 1], [0, 1]])  # without any object, and all
        assert curve.count_error.tolist() == [sum(labelled) / 10, 0]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_one_pass_gives_what_matching_for_each_score_gives(threshold: float) -> None:
    ground_truth, results = random_scenes(np.random.default_rng(3), 8, 25)
    for found in results:
        found["score"] = round(found["score"], 1)  # many equal scores, in one image and among images
    images, scored = read(ground_truth, results)
    labelled = [int((~image.crowd).sum()) for image in images]
    matched = [match(image, objects, threshold) for image, objects in zip(images, scored, strict=True)]
    curve = score_curve([objects.scores for objects in scored], matched, labelled)
    assert curve.scores.tolist() == [np.inf, *sorted({found["score"] for found in results}, reverse=True)]
    sets = [as_sets(image, objects) for image, objects in zip(images, scored, strict=True)]
    f1 = []
    for score in (2.0, 0.95, *curve.scores[1:].tolist(), 0.25, -1.0):
        at = curve.index(score)
        expected = oracles.count_objects(sets, score, threshold)
        counts = {name: int(getattr(curve, name)[at]) for name in ("right", "wrong", "missed")}
        assert counts | {"count_error": pytest.approx(curve.count_error[at])} == expected, score
        right, wrong, missed = counts.values()
        f1.append(2 * right / (2 * right + wrong + missed))
    assert curve.f1[curve.best()] == pytest.approx(max(f1))
    assert max(f1) > 0


def test_best_takes_the_fewest_objects_among_equals() -> None:
    curve = score_curve([np.array([0.9, 0.8, 0.7])], [np.array([0, WRONG, 1])], [2])  # F1 2/3, 1/2, 4/5
    assert curve.scores[curve.best()] == 0.7
    curve = score_curve([np.array([0.9, 0.8, 0.7, 0.6])], [np.array([0, WRONG, WRONG, 1])], [2])  # F1 2/3 twice
    assert curve.scores[curve.best()] == 0.9


def test_curve_without_objects_or_images() -> None:
    for labelled, error in (([2, 4], 3), ([], 0)):
        empty = [np.zeros(0) for _ in labelled]
        curve = score_curve(empty, [none.astype(int) for none in empty], labelled)
        assert curve.scores.tolist() == [np.inf]
        assert curve.count_error.tolist() == [error]
        assert curve.best() == curve.index(0.0) == 0
    assert len(match_objects(NOTHING, NOTHING, 0.5)) == 0


def test_a_duplicate_is_wrong() -> None:
    whole = rectangle_rle(10, 10, 0, 0, 10, 10)
    images, scored = read(
        coco({1: (10, 10)}, [annotation(1, 1, whole)]), [result(1, whole, 0.9), result(1, whole, 0.8)]
    )
    assert match(images[0], scored[0], 0.5).tolist() == [0, WRONG]


def test_calibration_error() -> None:
    scores = np.array([0.9, 0.9, 0.5, 0.2, 1.0])
    right = np.array([True, False, True, False, True])
    # Bins of 0.9 (0.9, 0.9, 1.0: mean 14/15, of which 2/3 are right), 0.5 and 0.2.
    assert calibration_error(scores, right) == pytest.approx((3 * (2.8 / 3 - 2 / 3) + 0.5 + 0.2) / 5)
    generator = np.random.default_rng(4)
    scores = generator.random(500)
    right = generator.random(500) < scores**2
    assert calibration_error(scores, right) == pytest.approx(oracles.calibration_error(scores.tolist(), right.tolist()))
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0
    assert calibration_error(np.array([1.0, 0.9]), np.array([False, True])) == pytest.approx(
        0.45
    )  # 1 is in the last bin
    assert np.isnan(calibration_error(np.zeros(0), np.zeros(0, dtype=bool)))
    assert np.isnan(calibration_error(np.array([3.5]), np.array([True])))


def test_examples_run() -> None:
    assert doctest.testmod(counting).failed == 0

"""Average precision of named instances: the region-wise mAP^r of Table 4, and COCO's AP.

mAP^r (Hariharan et al., "Simultaneous Detection and Segmentation", ECCV 2014; the code of MNC and FCIS): all results of
a category, from all images, are taken from the highest score down. Each is matched with the instance that it overlaps
best. It is a true positive if that IoU reaches the threshold and the instance has not been found before. A second hit
is a false positive, even if another instance overlaps it enough; COCO would match it with that other one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from instancefcn.evaluation.matching import AREA_RANGES, IMAGES_AT_ONCE, IOU_THRESHOLDS, coco_evaluation
from instancefcn.evaluation.regions import IouType
from instancefcn.evaluation.results import CategoryRegions, GroundTruth, ScoredRegions
from instancefcn.geometry.rle import ious

MAP_R_THRESHOLDS = (0.5, 0.7)  # IoU thresholds of Table 4
COCO_LIMIT = 100  # results of a category in an image that COCO's AP looks at, at most
COCO_RECALLS = np.linspace(0, 1, 101)  # exactly pycocotools' numbers
Variant = Literal["area", "11-point"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


def region_precision(categories: Sequence[CategoryRegions]) -> dict[str, Any]:
    """mAP^r in percent, ``{"mAP^r@0.5": {"area": ..., "11-point": ...}, ...}``, and AP^r of each category.

    AP^r of a category without instances is NaN and is left out of the means.
    """
    per_category: dict[str, Any] = {}
    for category in categories:
        values: dict[str, Any] = {"id": category.category_id, "instances": category.instances}
        for threshold in MAP_R_THRESHOLDS:
            judged = true_and_false_positives(category.ground_truth, category.proposals, threshold)
            values[f"AP^r@{threshold}"] = {
                variant: 100 * average_precision(*judged, category.instances, variant) for variant in VARIANTS
            }
        again = category.name in per_category
        per_category[f"{category.name} ({category.category_id})" if again else category.name] = values
    known = [values for values in per_category.values() if values["instances"]]
    means = {
        f"mAP^r@{threshold}": {
            variant: float(np.mean([values[f"AP^r@{threshold}"][variant] for values in known])) if known else math.nan
            for variant in VARIANTS
        }
        for threshold in MAP_R_THRESHOLDS
    }
    return {**means, "categories": per_category}


def true_and_false_positives(
    ground_truth: Sequence[GroundTruth], proposals: Sequence[ScoredRegions], threshold: float
) -> tuple[Bool[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """True and false positives among the results of one category, best score first, equal scores by image.

    A result that a crowd covers to the threshold (as a share of the result, as in COCO) is no false positive.
    """
    best, hits, covered, labelled = [np.zeros(0, int)], [np.zeros(0, bool)], [np.zeros(0, bool)], 0
    for image, scored in zip(ground_truth, proposals, strict=True):
        instances, crowds = image.divided()
        overlaps = np.pad(ious(scored.regions, instances), ((0, 0), (0, 1)))  # with an instance that nothing overlaps
        best.append(labelled + overlaps.argmax(1))
        hits.append(overlaps.max(1) >= threshold)
        covered.append(ious(scored.regions, crowds, crowd=True).max(1, initial=0) >= threshold)
        labelled += len(instances)
    order = _ranking(proposals)
    nearest, hit, ignored = (np.concatenate(parts)[order] for parts in (best, hits, covered))
    ranks = np.flatnonzero(hit)
    right = np.zeros(len(order), dtype=bool)
    right[ranks[np.unique(nearest[ranks], return_index=True)[1]]] = True  # the first hit of each instance
    return right, ~right & (hit | ~ignored)


def average_precision(
    right: Bool[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"], instances: int, variant: Variant
) -> float:
    """Average precision, in [0, 1], of results in order of score; NaN without instances.

    Args:
        variant: ``11-point``, VOC 2007's mean over recalls 0, 0.1 ... 1 of the highest precision from there on, or
            ``area``, VOC 2010's area under that highest precision.
    """
    once = np.ones((1, len(right)), dtype=np.int64)
    return float(weighted_average_precision(right, wrong, once, np.array([instances]), variant)[0])


def weighted_average_precision(
    right: Bool[np.ndarray, "n"],
    wrong: Bool[np.ndarray, "n"],
    times: Int[np.ndarray, "d n"],
    instances: Int[np.ndarray, "d"],
    variant: Variant,
) -> Float[np.ndarray, "d"]:
    """``average_precision`` of several drawings of the images, in which an image may occur several times or not at all.

    Args:
        times: how often each drawing contains each result.
        instances: number of instances in each drawing.
    """
    if len(right) == 0:
        return np.where(instances == 0, np.nan, 0.0)
    hits, misses = np.cumsum(right * times, axis=1), np.cumsum(wrong * times, axis=1)
    precision = hits / np.maximum(hits + misses, 1)
    best_from = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    known = np.maximum(instances, 1)[:, None]
    if variant == "11-point":
        value = np.zeros(len(times))
        for tenth in range(11):  # in whole numbers: of 3 instances in 10, recall is 0.3 exactly
            reached = 10 * hits >= tenth * known
            first = reached.argmax(axis=1)[:, None]
            value += np.where(reached.any(axis=1), np.take_along_axis(best_from, first, axis=1)[:, 0], 0.0) / 11
    else:
        value = (np.diff(hits / known, axis=1, prepend=0) * best_from).sum(axis=1)
    return np.where(instances == 0, np.nan, value)


def ranked_images(proposals: Sequence[ScoredRegions]) -> Int[np.ndarray, "n"]:
    """Index of the image of each result of one category, in the order of ``true_and_false_positives``."""
    return np.repeat(np.arange(len(proposals)), [len(scored) for scored in proposals])[_ranking(proposals)]


def coco_precision(categories: Sequence[CategoryRegions], iou: IouType) -> dict[str, float]:
    """COCO's AP, AP50 and AP75 in percent; NaN without any instance.

    Images are matched by hotcoco, some at a time: it needs results as Python objects, which take many times the memory
    of their codes. What comes of them is added up here, as pycocotools' ``accumulate`` does.
    """
    judged: list[list[_Judged]] = [[] for _ in categories]
    instances = np.zeros(len(categories), dtype=int)
    for start in range(0, len(categories[0].ground_truth) if categories else 0, IMAGES_AT_ONCE):
        some = slice(start, start + IMAGES_AT_ONCE)
        evaluation = coco_evaluation(
            [replace(of, ground_truth=of.ground_truth[some], proposals=of.proposals[some]) for of in categories],
            iou,
            max_dets=[COCO_LIMIT],
            area_rng=[list(AREA_RANGES["all"])],
            area_rng_lbl=["all"],
        )
        for found in filter(None, evaluation.eval_imgs):
            index = found["category_id"] - 1
            instances[index] += np.count_nonzero(~np.array(found["gtIgnore"], dtype=bool))
            shape = len(IOU_THRESHOLDS), len(found["dtScores"])
            hits, ignored = (np.array(found[key], dtype=bool).reshape(shape) for key in ("dtMatched", "dtIgnore"))
            judged[index].append((np.array(found["dtScores"], dtype=float), hits & ~ignored, ~hits & ~ignored))
    known = [index for index in range(len(categories)) if instances[index]]
    of_categories = np.array([_precision_at_thresholds(judged[index], int(instances[index])) for index in known])
    means = of_categories.mean(0) if known else np.full(len(IOU_THRESHOLDS), math.nan)
    return {"AP": float(means.mean()), "AP50": float(means[0]), "AP75": float(means[5])}


# Scores of an image's results of one category, best first; right and wrong ones for each of ``IOU_THRESHOLDS``.
_Judged = tuple[Float[np.ndarray, "_"], Bool[np.ndarray, "t _"], Bool[np.ndarray, "t _"]]


def _precision_at_thresholds(judged: Sequence[_Judged], instances: int) -> Float[np.ndarray, "t"]:
    """COCO's average precision of one category in percent: the mean of 101 precisions at recalls of 0, 0.01, ... 1."""
    order = np.argsort(-np.concatenate([scores for scores, _, _ in judged]), kind="stable")
    right, wrong = (np.concatenate([of[which] for of in judged], axis=1)[:, order] for which in (1, 2))
    values = np.zeros(len(IOU_THRESHOLDS))
    for t, (hits, misses) in enumerate(zip(right.cumsum(1), wrong.cumsum(1), strict=True)):
        precision = hits / np.maximum(hits + misses, 1)
        best_from = np.maximum.accumulate(precision[::-1])[::-1]
        first = np.searchsorted(hits / instances, COCO_RECALLS, side="left")
        values[t] = 100 * np.append(best_from, 0)[first].mean()
    return values


def _ranking(proposals: Sequence[ScoredRegions]) -> Int[np.ndarray, "n"]:
    """Order of the results of all images: best score first, equal scores by image."""
    return np.argsort(-np.concatenate([*(scored.scores for scored in proposals), np.zeros(0)]), kind="stable")

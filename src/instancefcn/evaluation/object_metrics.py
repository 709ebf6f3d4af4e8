"""Measures of objects, over images: how many are right, how well they are outlined, how far their number is off."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from decimal import ROUND_FLOOR, Context
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from instancefcn.evaluation.boundary_iou import boundary_iou
from instancefcn.evaluation.counting import ON_CROWD, ScoreCurve, calibration_error, match_objects, score_curve
from instancefcn.evaluation.results import GroundTruth, ScoredRegions
from instancefcn.geometry.rle import ious

OBJECT_IOUS = (0.5, 0.75, 0.9)  # from which IoU on an object is right
SCORE_STEPS = np.arange(1, 20) / 20  # 0.05, 0.1, ... 0.95


def object_metrics(
    ground_truth: Sequence[GroundTruth],
    proposals: Sequence[ScoredRegions],
    *,
    min_score: float | None = None,
    by_score: bool = False,
) -> dict[str, Any]:
    """Match the objects of each image with its instances, and count; shares in percent, NaN where nothing is divided.

    Args:
        ground_truth, proposals: of the same images in the same order.
        min_score: the objects are the proposals that score this or more; None for all.
        by_score: also for other thresholds on the score.

    Returns:
        ``{"at": {"0.5": {"right", "wrong", "missed", "precision", "recall", "F1", "AP", "PQ", "SQ", "RQ",
        "boundary_iou"}, "0.75": ..., "0.9": ...}, "counts": {"labelled", "found", "error", "bias"},
        "calibration_error", "images": [{"image_id", "labelled", "found"}, ...]}``; of boxes ``boundary_iou`` is NaN.
        With ``by_score`` also ``"by_score": [{"score", "precision", "recall", "F1", "found", "count_error"}, ...]`` at
        an IoU of 0.5, and ``"best"``, such a row where F1 is highest, None where no object is right. docs/objects.md
        defines each.
    """
    least = -np.inf if min_score is None else min_score
    divided = [image.divided() for image in ground_truth]
    overlaps = [  # with each instance, and on each crowd, as ``match_objects`` needs them
        (ious(objects.regions, instances), ious(objects.regions, crowds, crowd=True))
        for objects, (instances, crowds) in zip(proposals, divided, strict=True)
    ]
    labelled = [int((~image.crowd).sum()) for image in ground_truth]
    scores = [objects.scores for objects in proposals]
    taken = [own >= least for own in scores]
    matched = {limit: [match_objects(*pair, limit) for pair in overlaps] for limit in OBJECT_IOUS}
    curves = {limit: score_curve(scores, of_images, labelled) for limit, of_images in matched.items()}

    @functools.cache  # a pair that is matched at several IoU thresholds is looked at once
    def outlines(image: int, index: int, instance: int) -> float:
        regions, instances = proposals[image].regions, divided[image][0]
        if isinstance(regions, np.ndarray) or isinstance(instances, np.ndarray):
            return float("nan")
        return boundary_iou(regions[index], instances[instance])

    at: dict[str, dict[str, Any]] = {}
    for limit, of_images in matched.items():
        pairs = [
            (image, int(index), int(found[index]))
            for image, (found, own) in enumerate(zip(of_images, taken, strict=True))
            for index in np.flatnonzero((found >= 0) & own)
        ]
        pair_ious = np.array([overlaps[image][0][index, instance] for image, index, instance in pairs])
        boundary = 100 * _mean([outlines(*pair) for pair in pairs])
        at[str(limit)] = _row(curves[limit], curves[limit].index(least), pair_ious) | {"boundary_iou": boundary}

    lowest = OBJECT_IOUS[0]
    counted = [(found != ON_CROWD) & own for found, own in zip(matched[lowest], taken, strict=True)]
    numbers = [int(own.sum()) for own in counted]
    off = np.array(numbers, dtype=int) - np.array(labelled, dtype=int)
    all_scores, found, own = (np.concatenate([*of, np.zeros(0)]) for of in (scores, matched[lowest], counted))
    counts = {"labelled": sum(labelled), "found": sum(numbers), "error": _mean(abs(off)), "bias": _mean(off)}
    measured: dict[str, Any] = {
        "at": at,
        "counts": counts,
        "calibration_error": 100 * calibration_error(all_scores[own > 0], found[own > 0] >= 0),
        "images": [
            {"image_id": image.image_id, "labelled": known, "found": number}
            for image, known, number in zip(ground_truth, labelled, numbers, strict=True)
        ],
    }
    if by_score:
        curve = curves[lowest]
        measured["by_score"] = [_score_row(curve, score) for score in _score_thresholds(curve, all_scores)]
        measured["best"] = _score_row(curve, _best_score(curve)) if curve.right.any() else None
    return measured


def _row(curve: ScoreCurve, k: int, found_ious: Float[np.ndarray, "n"]) -> dict[str, Any]:
    """The measures at one IoU threshold of the objects that are taken at index k of the curve."""
    right, wrong, missed = (int(counts[k]) for counts in (curve.right, curve.wrong, curve.missed))
    weight = right + (wrong + missed) / 2
    return {
        "right": right,
        "wrong": wrong,
        "missed": missed,
        "precision": 100 * float(curve.precision[k]),
        "recall": 100 * float(curve.recall[k]),
        "F1": 100 * float(curve.f1[k]),
        "AP": 100 * float(curve.average_precision[k]),
        "PQ": 100 * float(found_ious.sum() / weight) if weight else float("nan"),
        "SQ": 100 * _mean(found_ious),
        "RQ": 100 * float(curve.f1[k]),
    }


def _score_row(curve: ScoreCurve, score: float) -> dict[str, Any]:
    """The counts of the objects that score this or more."""
    k = curve.index(score)
    shares = {"precision": curve.precision, "recall": curve.recall, "F1": curve.f1}
    return (
        {"score": score}
        | {name: 100 * float(values[k]) for name, values in shares.items()}
        | {"found": int(curve.right[k] + curve.wrong[k]), "count_error": float(curve.count_error[k])}
    )


def _best_score(curve: ScoreCurve) -> float:
    """The threshold of the highest F1, in as few digits as take the same objects, four or more."""
    best = curve.best()
    exact = float(curve.scores[best])
    rounded = (float(Context(prec=digits, rounding=ROUND_FLOOR).create_decimal(exact)) for digits in range(4, 17))
    return next((score for score in rounded if curve.index(score) == best), exact)


def _score_thresholds(curve: ScoreCurve, scores: Float[np.ndarray, "n"]) -> list[float]:
    """Thresholds for a table: 0.05, 0.1, ... 0.95; quantiles of the scores where they do not lie in [0, 1].

    One that takes what a lower one takes is left out, and so is one that takes nothing.
    """
    inside = len(scores) == 0 or (scores.min() >= 0 and scores.max() <= 1)
    steps = SCORE_STEPS if inside else np.quantile(scores, SCORE_STEPS)
    taken = np.array([curve.index(step) for step in steps])
    first = np.append(True, taken[1:] != taken[:-1]) & (taken > 0)
    return steps[first].tolist()


def _mean(values: Sequence[float] | Float[np.ndarray, "n"] | Int[np.ndarray, "n"]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")

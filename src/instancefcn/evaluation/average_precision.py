"""Average precision of named instances: the region-wise mAP^r of Table 4, and COCO's AP.

mAP^r (Hariharan et al., "Simultaneous Detection and Segmentation", ECCV 2014; the code of MNC and FCIS): the results of
a category, of all images together, are judged from the highest score down. Each goes to the instance that it overlaps
best. It is right where that IoU reaches the threshold and the instance has not been found before; a second hit is
wrong, also where another instance would have been left for it. (COCO lets it have that other one.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from instancefcn.evaluation.categories import OfCategory
from instancefcn.evaluation.matching import IOU_THRESHOLDS, regions_as_json
from instancefcn.evaluation.regions import IouType, Regions, areas, pairwise_iou
from instancefcn.evaluation.results import GroundTruth, ScoredRegions

MAP_R_THRESHOLDS = (0.5, 0.7)  # IoU thresholds of Table 4
COCO_MAX_RESULTS = 100  # an image and category, by COCO's rules
Variant = Literal["11-point", "area"]


def region_precision(categories: Sequence[OfCategory]) -> dict[str, Any]:
    """mAP^r in percent, ``{"mAP^r@0.5": {"area": ..., "11-point": ...}, ...}``, and of each category the same.

    A category without instances has NaN, and is left out of the means; without any category they are NaN.
    """
    per_category: dict[str, Any] = {}
    for of in categories:
        values: dict[str, Any] = {"id": of.category_id, "instances": of.instances}
        for threshold in MAP_R_THRESHOLDS:
            right, wrong = judge(of.ground_truth, of.proposals, threshold)
            values[f"AP^r@{threshold}"] = {
                variant: 100 * average_precision(right, wrong, of.instances, variant)
                for variant in ("area", "11-point")
            }
        per_category[unique_key(of, per_category)] = values
    means = {
        f"mAP^r@{threshold}": {
            variant: _mean([values[f"AP^r@{threshold}"][variant] for values in per_category.values()])
            for variant in ("area", "11-point")
        }
        for threshold in MAP_R_THRESHOLDS
    }
    return {**means, "categories": per_category}


def unique_key(of: OfCategory, taken: Mapping[str, Any]) -> str:
    """A category's name; with its id where another one has the same name."""
    return of.name if of.name not in taken else f"{of.name} ({of.category_id})"


def judge(
    ground_truth: Sequence[GroundTruth], proposals: Sequence[ScoredRegions], threshold: float
) -> tuple[Bool[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Whether each result of one category is right, and whether it is wrong; best score first, equal ones by image.

    Neither is what a crowd covers to the threshold (as a share of the result, as COCO has it), unless it is right.
    """
    right: list[np.ndarray] = []
    covered: list[np.ndarray] = []
    best: list[tuple[int, int]] = []  # of each result: image, and the instance it overlaps best or -1
    for number, (labelled, scored) in enumerate(zip(ground_truth, proposals, strict=True)):
        instances, crowds = _select(labelled.regions, ~labelled.crowd), _select(labelled.regions, labelled.crowd)
        overlaps = pairwise_iou(scored.regions, instances)
        nearest = overlaps.argmax(1) if overlaps.shape[1] else np.full(len(scored), -1)
        hit = overlaps.max(1, initial=0) >= threshold
        right.append(hit)
        covered.append(~hit & (_share_in_crowds(scored.regions, crowds) >= threshold))
        best += [(number, int(index)) for index in nearest]
    hits, ignored = (np.concatenate([*parts, np.zeros(0)]) for parts in (right, covered))
    order = _ranking(proposals)
    hits, ignored = hits[order].astype(bool), ignored[order].astype(bool)
    found: set[tuple[int, int]] = set()
    for rank, index in enumerate(order.tolist()):
        if hits[rank] and best[index] in found:
            hits[rank] = False
        elif hits[rank]:
            found.add(best[index])
    return hits, ~hits & ~ignored


def average_precision(
    right: Bool[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"], instances: int, variant: Variant
) -> float:
    """Average precision, in [0, 1], of results in order of score; NaN of no instances.

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
    """``average_precision`` where each result is there so many times, which is how often its image was drawn.

    Args:
        times: of each drawing, how often each result is there; 0 for not at all.
        instances: of each drawing, how many there are to be found.
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
    """Of each result of one category the position of its image, in the order that ``judge`` has them in."""
    return np.repeat(np.arange(len(proposals)), [len(scored) for scored in proposals])[_ranking(proposals)]


def coco_precision(categories: Sequence[OfCategory], iou: IouType) -> dict[str, float]:
    """COCO's AP, AP50 and AP75 in percent, by hotcoco; NaN without any instance."""
    if not sum(of.instances for of in categories):
        return dict.fromkeys(("AP", "AP50", "AP75"), float("nan"))
    precision = _hotcoco_precision(categories, iou)  # [threshold, recall, category], -1 without instances

    def mean(of_thresholds: np.ndarray) -> float:
        return 100 * float(of_thresholds[of_thresholds > -1].mean())

    return {"AP": mean(precision), "AP50": mean(precision[0]), "AP75": mean(precision[5])}


def _hotcoco_precision(categories: Sequence[OfCategory], iou: IouType) -> Float[np.ndarray, "t r c"]:
    """Images, annotations and categories are numbered anew, from 1, so that no file's ids can upset the engine."""
    import hotcoco

    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for category, of in enumerate(categories, start=1):
        for image, (labelled, scored) in enumerate(zip(of.ground_truth, of.proposals, strict=True), start=1):
            where = {"image_id": image, "category_id": category}
            for region, area, crowd in zip(
                regions_as_json(labelled.regions), labelled.areas, labelled.crowd, strict=True
            ):
                about = {"id": len(annotations) + 1, "area": float(area), "iscrowd": int(crowd)}
                annotations.append(region | about | where)
            for region, score in zip(regions_as_json(scored.regions), scored.scores, strict=True):
                results.append(region | where | {"score": float(score)})
    images = [
        {"id": number, "height": image.height, "width": image.width}
        for number, image in enumerate(categories[0].ground_truth, start=1)
    ]
    names = [{"id": number, "name": str(number)} for number in range(1, len(categories) + 1)]
    labels = hotcoco.COCO({"images": images, "annotations": annotations, "categories": names})
    evaluation = hotcoco.COCOeval(labels, labels.load_res(results), iou)
    evaluation.params.iou_thrs = IOU_THRESHOLDS.tolist()
    evaluation.params.area_rng = [[0, 1e10]]
    evaluation.params.area_rng_lbl = ["all"]
    evaluation.params.max_dets = [COCO_MAX_RESULTS]
    evaluation.evaluate()
    evaluation.accumulate()
    assert evaluation.eval is not None
    return np.asarray(evaluation.eval["precision"])[:, :, :, 0, 0]


def _ranking(proposals: Sequence[ScoredRegions]) -> Int[np.ndarray, "n"]:
    """Order of the results of all images: best score first, equal ones by image."""
    return np.argsort(-np.concatenate([*(scored.scores for scored in proposals), np.zeros(0)]), kind="stable")


def _select(regions: Regions, chosen: Bool[np.ndarray, "g"]) -> Regions:
    indices = np.flatnonzero(chosen)
    return regions[indices] if isinstance(regions, np.ndarray) else [regions[index] for index in indices]


def _share_in_crowds(proposals: Regions, crowds: Regions) -> Float[np.ndarray, "n"]:
    """Largest share of each result that one crowd covers."""
    iou = pairwise_iou(proposals, crowds)
    own, theirs = areas(proposals)[:, None], areas(crowds)[None]
    intersection = iou * (own + theirs) / (1 + iou)
    return (intersection / np.maximum(own, 1)).max(1, initial=0)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")

"""COCO's matching of proposals with instances, by hotcoco: one-to-one, best score first, at each IoU threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from instancefcn.evaluation.regions import IouType, Regions
from instancefcn.evaluation.results import GroundTruth, ScoredRegions

MAX_PROPOSALS = (10, 100, 1000)
# 0.5 to 0.95, the very numbers of pycocotools: an IoU that equals a threshold must fall on the same side.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
# Pixels, both ends included, by the area that the annotation states.
AREA_RANGES: dict[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
# hotcoco hands its matches out as Python lists, for all of its images at once: this many keeps them small.
_IMAGES_AT_ONCE = 64


def match(
    ground_truth: Sequence[GroundTruth], proposals: Sequence[ScoredRegions], iou: IouType
) -> tuple[Int[np.ndarray, "i a"], Int[np.ndarray, "i a n t"]]:
    """Instances of each image, and how many of them are found.

    A proposal may match one instance, an instance one proposal; crowd regions and instances outside an area range are
    not counted, and what matches them is neither right nor wrong (pycocotools with useCats = 0).

    Returns:
        The number of instances per image and ``AREA_RANGES``, and of those matched per image, area range,
        ``MAX_PROPOSALS`` and ``IOU_THRESHOLDS``.
    """
    instances = np.zeros((len(ground_truth), len(AREA_RANGES)), dtype=int)
    matched = np.zeros((*instances.shape, len(MAX_PROPOSALS), len(IOU_THRESHOLDS)), dtype=int)
    for start in range(0, len(ground_truth), _IMAGES_AT_ONCE):
        chunk = slice(start, start + _IMAGES_AT_ONCE)
        for result in _hotcoco(ground_truth[chunk], proposals[chunk], iou):
            if result is None:
                continue
            image = start + result["image_id"] - 1
            area = list(AREA_RANGES.values()).index(tuple(result["aRng"]))
            instances[image, area] = np.count_nonzero(~np.array(result["gtIgnore"], dtype=bool))
            hits = np.array(result["dtMatched"], dtype=bool) & ~np.array(result["dtIgnore"], dtype=bool)
            hits = hits.reshape(len(IOU_THRESHOLDS), -1)  # best proposal first, so the top N are a prefix
            for index, n in enumerate(MAX_PROPOSALS):
                matched[image, area, index] = hits[:, :n].sum(1)
    return instances, matched


def _hotcoco(
    ground_truth: Sequence[GroundTruth], proposals: Sequence[ScoredRegions], iou: IouType
) -> list[dict[str, Any] | None]:
    """hotcoco's ``eval_imgs``. Images and annotations are numbered anew, from 1, and all are of one category.

    So no file's ids can upset the engine: pycocotools takes a match with annotation 0 for none, and leaves out
    proposals whose category the annotations do not have.
    """
    import hotcoco

    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id, (labelled, proposed) in enumerate(zip(ground_truth, proposals, strict=True), start=1):
        for region, area, crowd in zip(regions_as_json(labelled.regions), labelled.areas, labelled.crowd, strict=True):
            about = {"id": len(annotations) + 1, "area": float(area), "iscrowd": int(crowd)}
            annotations.append(region | about | {"image_id": image_id, "category_id": 1})
        best = proposed.top(MAX_PROPOSALS[-1])
        for region, score in zip(regions_as_json(best.regions), best.scores, strict=True):
            results.append(region | {"score": float(score), "image_id": image_id, "category_id": 1})
    images = [{"id": i, "height": gt.height, "width": gt.width} for i, gt in enumerate(ground_truth, start=1)]
    labels = hotcoco.COCO({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "instance"}]})
    evaluation = hotcoco.COCOeval(labels, labels.load_res(results), iou)
    evaluation.params.use_cats = False
    evaluation.params.max_dets = list(MAX_PROPOSALS)
    evaluation.params.iou_thrs = IOU_THRESHOLDS.tolist()
    evaluation.params.area_rng = [list(limits) for limits in AREA_RANGES.values()]
    evaluation.params.area_rng_lbl = list(AREA_RANGES)
    evaluation.evaluate()
    return evaluation.eval_imgs


def regions_as_json(regions: Regions) -> list[dict[str, Any]]:
    """Regions as COCO's JSON has them: a ``bbox`` or a ``segmentation`` each."""
    if isinstance(regions, np.ndarray):
        return [{"bbox": box} for box in regions.tolist()]
    return [{"segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}} for rle in regions]

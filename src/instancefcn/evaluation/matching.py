"""COCO's matching of proposals with instances, by hotcoco: one-to-one, best score first, at each IoU threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from instancefcn.evaluation.regions import IouType, to_json
from instancefcn.evaluation.results import CategoryRegions, GroundTruth, ScoredRegions

MAX_PROPOSALS = (10, 100, 1000)
# 0.5 to 0.95, exactly pycocotools' numbers: an IoU that equals a threshold must be judged alike.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
# Pixels, both ends included, by the area that the annotation states.
AREA_RANGES: dict[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
# Images that hotcoco matches at once: it returns its matches as Python lists, which get large.
IMAGES_AT_ONCE = 64


def match_one_to_one(
    ground_truth: Sequence[GroundTruth], proposals: Sequence[ScoredRegions], iou: IouType
) -> tuple[Int[np.ndarray, "i a"], Int[np.ndarray, "i a n t"]]:
    """Number of instances of each image, and of those that are found.

    A proposal matches one instance at most, and an instance one proposal. Crowd regions and instances outside an area
    range are not counted, and neither are proposals that match them (pycocotools with useCats = 0).
    Results of equal score come in the order of the file; pycocotools orders them by category first.

    Returns:
        The number of instances per image and ``AREA_RANGES``, and of those matched per image, area range,
        ``MAX_PROPOSALS`` and ``IOU_THRESHOLDS``.
    """
    instances = np.zeros((len(ground_truth), len(AREA_RANGES)), dtype=int)
    matched = np.zeros((*instances.shape, len(MAX_PROPOSALS), len(IOU_THRESHOLDS)), dtype=int)
    for start in range(0, len(ground_truth), IMAGES_AT_ONCE):
        chunk = slice(start, start + IMAGES_AT_ONCE)
        best = [scored.top(MAX_PROPOSALS[-1]) for scored in proposals[chunk]]
        evaluation = coco_evaluation(
            [CategoryRegions(1, "instance", list(ground_truth[chunk]), best)],
            iou,
            use_cats=False,
            max_dets=list(MAX_PROPOSALS),
            area_rng=[list(limits) for limits in AREA_RANGES.values()],
            area_rng_lbl=list(AREA_RANGES),
        )
        for result in filter(None, evaluation.eval_imgs):
            image = start + result["image_id"] - 1
            area = list(AREA_RANGES.values()).index(tuple(result["aRng"]))
            instances[image, area] = np.count_nonzero(~np.array(result["gtIgnore"], dtype=bool))
            hits = np.array(result["dtMatched"], dtype=bool) & ~np.array(result["dtIgnore"], dtype=bool)
            hits = hits.reshape(len(IOU_THRESHOLDS), -1)  # best proposal first, so the best N are a prefix
            for index, n in enumerate(MAX_PROPOSALS):
                matched[image, area, index] = hits[:, :n].sum(1)
    return instances, matched


def coco_evaluation(categories: Sequence[CategoryRegions], iou: IouType, **parameters: Any) -> Any:
    """hotcoco's ``COCOeval`` of the categories, evaluated.

    Categories, images and annotations are numbered anew, from 1, so that no file's ids can upset the engine:
    pycocotools takes a match with annotation 0 for none, and leaves out proposals whose category the annotations do not
    have. Each category has the same images; ``parameters`` are the engine's.
    """
    import hotcoco

    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, category in enumerate(categories, start=1):
        for image, (labelled, scored) in enumerate(
            zip(category.ground_truth, category.proposals, strict=True), start=1
        ):
            ids = {"image_id": image, "category_id": number}
            for region, area, crowd in zip(to_json(labelled.regions), labelled.areas, labelled.crowd, strict=True):
                own = {"id": len(annotations) + 1, "area": float(area), "iscrowd": int(crowd)}
                annotations.append(region | ids | own)
            for region, score in zip(to_json(scored.regions), scored.scores, strict=True):
                results.append(region | ids | {"score": float(score)})
    images = [
        {"id": number, "height": image.height, "width": image.width}
        for number, image in enumerate(categories[0].ground_truth, start=1)
    ]
    names = [{"id": number, "name": str(number)} for number in range(1, len(categories) + 1)]
    labels = hotcoco.COCO({"images": images, "annotations": annotations, "categories": names})
    evaluation = hotcoco.COCOeval(labels, labels.load_res(results), iou)
    for name, value in {"iou_thrs": IOU_THRESHOLDS.tolist(), **parameters}.items():
        setattr(evaluation.params, name, value)
    evaluation.evaluate()
    return evaluation
